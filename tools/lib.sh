# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# Sourced by the scripts behind the Makefile: where things are, how progress and failure are told.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=$ROOT/.state
# shellcheck disable=SC2034 # for those who source this
VENV=$STATE/venv
# shellcheck disable=SC2034
PYTHON_PACKAGES=(python3 python3-venv) # where find_python finds none
STARTED=${DCTA_STARTED:-$(date +%s)}
export DCTA_STARTED=$STARTED # scripts called by a script count on from the same moment

say() { printf '[%3d s] %s\n' "$(($(date +%s) - STARTED))" "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command quietly; its output is shown only when it fails.
quietly() {
    local log=$STATE/log/$1.log
    shift
    mkdir -p "$STATE/log"
    "$@" >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        die "this failed: $* (whole output: $log)"
    }
}

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

# The first Python of the caller's that is new enough and can make a virtual environment.
find_python() {
    local candidate PATH=${DCTA_CALLER_PATH:-$PATH}
    for candidate in "${PYTHON:-}" python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        candidate=$(command -v "$candidate") || continue
        case $candidate in "$STATE"/*) continue ;; esac # an activated .state/venv cannot make itself
        if "$candidate" -c \
            'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# Installs Debian or Ubuntu packages that are missing: install_packages PACKAGE...
install_packages() {
    [ $# -gt 0 ] || return 0
    have apt-get || die "these programs are missing and apt-get is not here to install them; install: $*"
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
        die "these packages are missing; run: sudo apt-get install $*"
    fi
    say "Installing packages: $*"
    quietly apt as_root sh -c 'apt-get -q update && exec env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "$@"' sh "$@"
}
