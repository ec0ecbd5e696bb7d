#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Builds the images of the world's hosts and writes their names to .state/images.yml. A tag is a hash of all that goes
# into the image, so what is there already is what is wanted.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

cd "$ROOT/demo/world/image"
export DOCKER_BUILDKIT=0 # the builder that every engine has

RELEASE=${DCTA_RELEASE:-bookworm}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

hash_of() { sha256sum | cut -c 1-12; }
exists() { docker image inspect "$1" >/dev/null 2>&1; }

base=${DCTA_BASE_IMAGE:-dcta-world/base:$RELEASE-$(hash_of <packages)}
# The identity of a foreign base image, since its name may come to mean another one.
base_id=$base$([ -z "${DCTA_BASE_IMAGE:-}" ] || docker image inspect --format '{{.Id}}' "$base" 2>/dev/null || :)
node=dcta-world/node:$RELEASE-$({ echo "$base_id"; cat Dockerfile.node container-init packages; } | hash_of)
provider=dcta-world/provider:$RELEASE-$({ echo "$node"; cat Dockerfile.provider demo-provider.service; } | hash_of)

if ! exists "$node"; then
    if [ -z "${DCTA_BASE_IMAGE:-}" ] && ! exists "$base"; then
        say "Making the base image ($RELEASE, with mmdebstrap)"
        if ! have mmdebstrap || [ ! -e $KEYRING ]; then
            install_packages mmdebstrap debian-archive-keyring
        fi
        mkdir -p "$STATE/log"
        mmdebstrap --quiet --variant=minbase --keyring=$KEYRING --include="$(paste -sd, packages)" "$RELEASE" - \
            2>"$STATE/log/mmdebstrap.log" | docker import - "$base" >/dev/null ||
            die "the base image could not be made (log: .state/log/mmdebstrap.log); name another one: DCTA_BASE_IMAGE=debian:$RELEASE"
    fi
    say "Building the image of the nodes"
    quietly image-node docker build --build-arg "BASE=$base" --tag "$node" --file Dockerfile.node .
fi
if ! exists "$provider"; then
    say "Building the image of the stand-ins' host"
    quietly image-provider docker build --build-arg "BASE=$node" --tag "$provider" --file Dockerfile.provider .
fi
printf 'world_images: {node: "%s", provider: "%s"}\n' "$node" "$provider" >"$STATE/images.yml"
