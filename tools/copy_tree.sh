#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# copy_tree.sh FOLDER [PATHSPEC...]: copies what Git knows or would add, without the links to the collection itself, to
# FOLDER/ansible_collections/dcta/fleet: the place and the content that ansible-test and ansible-galaxy want.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$1
shift
target=$folder/ansible_collections/dcta/fleet
rm -rf "$folder"
mkdir -p "$target"
cd "$ROOT"
git ls-files -z --cached --others --exclude-standard -- . ':!collections' "$@" |
    while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file" # deleted, and not yet committed
    done | tar --create --null --files-from=- --file=- | tar --extract --directory="$target"
