#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Builds the images of the world's hosts, those of different releases side by side, and writes their names to
# .state/images.yml. A tag is a hash of all that goes into the image, so what is there already is what is wanted.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

cd "$ROOT/demo/world/image"
export DOCKER_BUILDKIT=0 # the builder that every engine has

RELEASES=(bookworm trixie) # of node1, which is also what the provider runs, and of node2
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

hash_of() { sha256sum | cut -c 1-12; }
exists() { docker image inspect "$1" >/dev/null 2>&1; }

# The packages of a release, one a line.
packages_of() {
    cat packages
    [ ! -e "packages.$1" ] || cat "packages.$1"
}

# The image of a release to begin with; a foreign one comes from the repository DCTA_BASE_IMAGE.
base_of() {
    if [ -n "${DCTA_BASE_IMAGE:-}" ]; then
        printf '%s:%s\n' "$DCTA_BASE_IMAGE" "$1"
    else
        printf 'dcta-world/base:%s-%s\n' "$1" "$(packages_of "$1" | hash_of)"
    fi
}

# Makes sure that the base image of a release is here.
make_base() {
    local base
    base=$(base_of "$1")
    exists "$base" && return
    if [ -n "${DCTA_BASE_IMAGE:-}" ]; then
        say "Pulling $base"
        quietly "pull-$1" docker pull "$base"
        return
    fi
    say "Making the base image ($1, with mmdebstrap)"
    mkdir -p "$STATE/log"
    # These hosts need not outlive a power cut, so dpkg does not wait for the disk after each file.
    mmdebstrap --quiet --variant=minbase --dpkgopt=force-unsafe-io --keyring=$KEYRING \
        --include="$(packages_of "$1" | paste -sd,)" "$1" - \
        2>"$STATE/log/mmdebstrap-$1.log" | docker import - "$base" >/dev/null ||
        die "the base image could not be made (log: .state/log/mmdebstrap-$1.log); name a repository with the tags ${RELEASES[*]} instead: DCTA_BASE_IMAGE=debian"
}

# The image of a node; a base image counts by its identity, since the name of a foreign one may come to mean another image.
node_of() {
    local identity
    identity=$(base_of "$1")
    [ -z "${DCTA_BASE_IMAGE:-}" ] || identity+=$(docker image inspect --format '{{.Id}}' "$identity")
    printf 'dcta-world/node:%s-%s\n' "$1" "$({ echo "$identity"; cat Dockerfile.node container-init; packages_of "$1"; } | hash_of)"
}

provider_of() {
    printf 'dcta-world/provider:%s-%s\n' "$1" "$({ node_of "$1"; cat Dockerfile.provider demo-provider.service; } | hash_of)"
}

# Makes the images of a release; the provider's belongs to the first one.
make_images() {
    [ -z "${DCTA_BASE_IMAGE:-}" ] || make_base "$1"
    if ! exists "$(node_of "$1")"; then
        make_base "$1"
        say "Building the image of the nodes ($1)"
        quietly "image-node-$1" docker build --build-arg "BASE=$(base_of "$1")" \
            --build-arg "PACKAGES=$(packages_of "$1" | paste -sd' ')" --tag "$(node_of "$1")" --file Dockerfile.node .
    fi
    if [ "$1" = "${RELEASES[0]}" ] && ! exists "$(provider_of "$1")"; then
        say "Building the image of the stand-ins' host"
        quietly image-provider docker build --build-arg "BASE=$(node_of "$1")" --tag "$(provider_of "$1")" --file Dockerfile.provider .
    fi
}

if [ -z "${DCTA_BASE_IMAGE:-}" ] && ! { have mmdebstrap && [ -e $KEYRING ]; }; then
    install_packages mmdebstrap debian-archive-keyring
fi
builds=()
for release in "${RELEASES[@]}"; do
    make_images "$release" &
    builds+=($!)
done
for build in "${builds[@]}"; do
    wait "$build"
done
printf 'world_images: {provider: "%s", node1: "%s", node2: "%s"}\n' \
    "$(provider_of "${RELEASES[0]}")" "$(node_of "${RELEASES[0]}")" "$(node_of "${RELEASES[1]}")" >"$STATE/images.yml"
