#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Takes back what up.sh and the demo did: hosts, network, images, the engine if up.sh started it, generated files.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

# After a reboot nothing answers, and yet hosts and images are there.
if [ -e "$STATE/images.yml" ] && have dockerd; then
    "$ROOT/demo/world/engine.sh" start
fi
if docker info >/dev/null 2>&1; then
    say "Removing the hosts, their network and their images"
    for host in provider node1 node2; do
        docker rm --force --volumes "dcta-$host" >/dev/null 2>&1 || :
    done
    docker network rm dcta-world >/dev/null 2>&1 || :
    # The newest come first, so no image is removed before those that were built on it.
    docker image ls --format '{{.Repository}}:{{.Tag}}' --filter 'reference=dcta-world/*' |
        xargs --no-run-if-empty docker image rm --force >/dev/null
fi
"$ROOT/demo/world/engine.sh" stop
say "Removing .state and the demo's vault"
rm -rf "$STATE" "$ROOT/inventories/demo/group_vars/dcta_nodes/vault.yml"
