#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Deploys to the hosts of the world as an operator would, then asks a node a question.
# API_REPO and API_COMMIT name another program than the stand-in; DEMO_ARGUMENTS are further ones of ansible-playbook.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

cd "$ROOT"
settings=()
# The stand-in builds with the distribution's Go; other programs need a newer one.
[ -z "${API_REPO:-}" ] || settings+=(--extra-vars "api_build_repository=$API_REPO golang_source=archive golang_minimum_version=1.20")
[ -z "${API_COMMIT:-}" ] || settings+=(--extra-vars "api_build_commit=$API_COMMIT")
# shellcheck disable=SC2206 # words are what is wanted
settings+=(${DEMO_ARGUMENTS:-})

say "ansible-playbook site.yml -i inventories/demo --vault-password-file .state/vault-password ${settings[*]}"
ansible-playbook site.yml -i inventories/demo --vault-password-file .state/vault-password "${settings[@]}"

say "The nodes:"
for node in node1 node2; do
    # shellcheck disable=SC2016 # the node expands it
    ssh -F .state/ssh/config "$node" 'printf "  %s  gateway %s  accounts: %s\n" "$(hostname)" \
        "$(systemctl is-active dcta-gateway)" \
        "$(systemctl list-units --plain --no-legend --state=active "dcta-api-a@*" | sed "s/^dcta-api-a@\([^.]*\).*/\1/" | paste -sd " ")"'
done

question='{"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Say hello"}]}'
line="curl --silent --show-error --cacert .state/ca/ca.crt -H @.state/api-key.header -H 'Content-Type: application/json' \
-d '$question' https://172.30.90.11:8443/v1/chat/completions"
say "A question to node1:"
printf '\n%s\n\n' "$line"
bash -c "$line --fail-with-body" || die "node1 did not answer; read: ssh -F .state/ssh/config node1 sudo journalctl -u 'dcta-*'"
printf '\n\n'
say "Done. make demo-down removes all of it."
