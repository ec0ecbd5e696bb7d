#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs all sanity tests of ansible-test on a copy of the tree. Its caches live in .state/home.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=$STATE/home
cache=$home/.ansible/test/cache
mkdir -p "$cache" "$home/.config"
[ ! -d ~/.config/pip ] || ln -sfn ~/.config/pip "$home/.config/pip"

# ansible-test would download pip's installer; Python holds one, so that only the package index has to be reached.
pip_version=$(sed -n "s/^ *pip='\([0-9.]*\)',$/\1/p" \
    "$VENV"/lib/python3.*/site-packages/ansible_test/_internal/python_requirements.py)
[ -n "$pip_version" ] || die "ansible-test no longer tells which pip it wants; correct tools/sanity.sh for this ansible-core"
printf 'import ensurepip\n\nensurepip.bootstrap()\n' >"$cache/get_pip_${pip_version//./_}.py"

# What the repository holds besides the collection has gates of its own.
"$ROOT/tools/copy_tree.sh" "$STATE/sanity" ':!demo' ':!molecule' ':!tools'
cd "$STATE/sanity/ansible_collections/dcta/fleet"
# Without a repository of its own the copy would count as ignored by the one around it.
git init --quiet
git add --all
version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
log=$STATE/log/sanity.log
mkdir -p "$STATE/log"
HOME=$home ansible-test sanity --local --color no --python "$version" "$@" >"$log" 2>&1 || {
    grep -aE '^(ERROR|FATAL|WARNING)' "$log" >&2
    tail -n 5 "$log" >&2
    die "ansible-test sanity found something (whole output: $log)"
}
say "  $(grep -ac '^Running sanity test' "$log") sanity tests passed"
