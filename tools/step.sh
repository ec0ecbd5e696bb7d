#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# step.sh TITLE COMMAND...: runs one step of a target, says what it is and how long it took.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

title=$1
shift
begin=$(date +%s)
say "$title"
"$@" || die "failed: $title"
say "$title: good, $(($(date +%s) - begin)) s"
