#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Brings up the world of the demo and of Molecule: two nodes and the host of the stand-ins, as systemd containers that are
# reached over SSH. What is there already is kept, except with --fresh: then the hosts are new ones.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

INOTIFY_INSTANCES=4096 # the usual 128 is not enough for some twenty systemd containers

announce() {
    local packages=() inotify
    find_python >/dev/null || packages+=("${PYTHON_PACKAGES[@]}")
    have git || packages+=(git)
    have ssh || packages+=(openssh-client)
    have curl || packages+=(curl)
    docker info >/dev/null 2>&1 || have dockerd || packages+=(docker.io)
    [ -n "${DCTA_BASE_IMAGE:-}" ] || have mmdebstrap || packages+=(mmdebstrap debian-archive-keyring)
    say "This changes on this machine (make demo-down takes back all but packages and kernel settings):"
    say "  packages    ${packages[*]:-none to install}"
    docker info >/dev/null 2>&1 || say "  engine      a container engine is started, since none answers"
    inotify=$(sysctl -n fs.inotify.max_user_instances)
    [ "$inotify" -ge $INOTIFY_INSTANCES ] || say "  kernel      fs.inotify.max_user_instances from $inotify to $INOTIFY_INSTANCES until the next boot"
    say "  containers  dcta-provider, dcta-node1, dcta-node2 in the network dcta-world, 172.30.90.0/24; images dcta-world/*"
    say "  files       .state/ (tools, keys, secrets), inventories/demo/group_vars/dcta_nodes/vault.yml"
    MISSING_PACKAGES=("${packages[@]}")
}

announce
mkdir -p "$STATE"
install_packages "${MISSING_PACKAGES[@]}"
"$ROOT/demo/world/engine.sh" start
[ "$(sysctl -n fs.inotify.max_user_instances)" -ge $INOTIFY_INSTANCES ] ||
    quietly sysctl as_root sysctl -w fs.inotify.max_user_instances=$INOTIFY_INSTANCES

"$ROOT/demo/world/images.sh" &
images=$!
trap wait EXIT # a failure beside it must not leave it running
"$ROOT/tools/install.sh"
wait "$images"

say "Preparing keys, certificates, secrets and the Git repository"
python "$ROOT/demo/world/prepare.py"
export ANSIBLE_VAULT_PASSWORD_FILE=$STATE/vault-password
if [ "${1:-}" = --fresh ]; then
    say "Removing the hosts"
    quietly destroy ansible-playbook -i "$ROOT/inventories/demo" "$ROOT/demo/world/destroy.yml"
fi
say "Starting the hosts"
quietly create ansible-playbook -i "$ROOT/inventories/demo" "$ROOT/demo/world/create.yml"
say "The world is up: ssh -F .state/ssh/config node1 (or node2, provider)"
