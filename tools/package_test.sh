#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Builds the collection, installs it where nothing else is, and uses it as someone does who never saw this repository.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scratch=$STATE/package
rm -rf "$scratch"
"$ROOT/tools/copy_tree.sh" "$scratch/tree"
quietly build ansible-galaxy collection build --output-path "$scratch" "$scratch/tree/ansible_collections/dcta/fleet"
export ANSIBLE_COLLECTIONS_PATH=$scratch/installed
quietly package-install ansible-galaxy collection install --no-deps --offline --pre -p "$scratch/installed" "$scratch"/dcta-fleet-*.tar.gz
quietly package-verify ansible-galaxy collection verify --offline dcta.fleet

collection=$scratch/installed/ansible_collections/dcta/fleet
allowed='CHANGELOG.md FILES.json LICENSE MANIFEST.json README.md changelogs docs meta playbooks plugins roles'
for entry in "$collection"/* "$collection"/.[!.]*; do
    [ -e "$entry" ] || continue
    case " $allowed " in
        *" ${entry##*/} "*) ;;
        *) die "the tarball holds ${entry##*/}, which is no part of a collection; add it to build_ignore in galaxy.yml" ;;
    esac
done

# A foreign inventory, in a foreign folder, with no ansible.cfg.
mkdir "$scratch/elsewhere"
cd "$scratch/elsewhere"
printf 'dcta_nodes:\n  hosts:\n    node1: {ansible_host: 192.0.2.11}\n' >hosts.yml
for playbook in "$collection"/playbooks/*.yml; do
    name=dcta.fleet.$(basename "$playbook" .yml)
    quietly package-syntax ansible-playbook -i hosts.yml --syntax-check "$name"
    say "  $name: found, syntax good"
done
documented=0
for kind in module filter role; do
    while read -r name _; do
        [ -n "$name" ] || continue
        quietly package-doc ansible-doc --type "$kind" "$name"
        documented=$((documented + 1))
    done < <(ansible-doc --list --type "$kind" dcta.fleet 2>/dev/null | grep '^dcta\.fleet\.')
done
[ "$documented" -gt 0 ] || die "ansible-doc finds nothing in the installed collection"
say "  $documented modules, filters and roles: documentation readable"
