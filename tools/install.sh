#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Puts the pinned tools into .state/venv and the collections that the demo needs into .state/collections.
# Does nothing when both already are what requirements.txt and requirements.yml ask for.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

UV_VERSION=0.13.9
BOOTSTRAP=$STATE/bootstrap

wanted=$(cat "$ROOT/requirements.txt" "$ROOT/requirements.yml" "${BASH_SOURCE[0]}" | sha256sum)
if [ "$(cat "$STATE/tools.sha256" 2>/dev/null)" = "$wanted" ] && "$VENV/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

say "Installing the tools into .state/venv"
mkdir -p "$STATE"
python=$(find_python) || {
    install_packages "${PYTHON_PACKAGES[@]}"
    python=$(find_python) || die "Python 3.11, 3.12 or 3.13 is needed; install one and run: make PYTHON=/path/to/it ..."
}
rm -rf "$BOOTSTRAP" "$VENV" "$STATE/collections"
quietly venv "$python" -m venv "$BOOTSTRAP"
quietly uv "$BOOTSTRAP/bin/pip" install "uv==$UV_VERSION"
quietly venv "$python" -m venv --without-pip "$VENV"
quietly tools "$BOOTSTRAP/bin/uv" pip install --system-certs --python "$VENV/bin/python" -r "$ROOT/requirements.txt"

say "Taking the collections of requirements.yml out of the ansible package"
bundle=$(sed -n 's/^# bundle: //p' "$ROOT/requirements.yml")
quietly bundle "$BOOTSTRAP/bin/pip" download --no-deps --dest "$STATE/bundle" "$bundle"
quietly collections "$VENV/bin/python" "$ROOT/tools/unpack_collections.py" \
    --requirements "$ROOT/requirements.yml" --bundle "$STATE/bundle" --into "$STATE/collections"
rm -rf "$STATE/bundle"
printf '%s\n' "$wanted" >"$STATE/tools.sha256"
