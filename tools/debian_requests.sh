#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs the tests of the HTTP session with the versions of requests and urllib3 that nodes have, in place of those of .state/venv.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -A packages=(
    [12]="requests==2.28.1 urllib3==1.26.12 charset-normalizer==2.0.6 idna==3.3 PySocks==1.7.1 certifi"
    [13]="requests==2.32.3 urllib3==2.3.0 charset-normalizer==3.4.2 idna==3.10 PySocks==1.7.1 certifi"
)
cd "$ROOT"
for release in 12 13; do
    libraries=$STATE/requests-of-debian-$release
    wanted=${packages[$release]}
    if [ "$(cat "$libraries/wanted" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$libraries"
        # shellcheck disable=SC2086 # a list
        quietly "requests-$release" "$STATE/bootstrap/bin/uv" pip install --system-certs --python "$VENV/bin/python" --target "$libraries" $wanted
        printf '%s\n' "$wanted" >"$libraries/wanted"
    fi
    say "requests of Debian $release"
    PYTHONPATH=$libraries quietly "pytest-requests-$release" pytest -q --numprocesses=4 --dist=worksteal "$@" \
        tests/unit/plugins/module_utils/test_*.py
done
