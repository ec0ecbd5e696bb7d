#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# engine.sh start: makes sure that a container engine answers. engine.sh stop: stops it if `start` had started it.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

OURS=$STATE/engine # exists while an engine runs that we started; holds its process id, or the word systemd

answers() { docker info >/dev/null 2>&1; }

start() {
    answers && return
    if ! have docker || ! have dockerd; then
        install_packages docker.io
    fi
    if answers; then # installing it started it
        echo systemd >"$OURS"
        return
    fi
    mkdir -p "$STATE/log"
    say "Starting the container engine (log: .state/log/dockerd.log)"
    if [ -d /run/systemd/system ]; then
        quietly engine as_root systemctl start docker
        echo systemd >"$OURS"
    else
        [ "$(id -u)" -eq 0 ] || die "no container engine answers; start one, or let root run this"
        setsid dockerd >"$STATE/log/dockerd.log" 2>&1 </dev/null &
        echo $! >"$OURS"
    fi
    for _ in $(seq 60); do
        answers && return
        sleep 0.5
    done
    rm -f "$OURS"
    die "the container engine does not answer; read .state/log/dockerd.log, or check that you may use it (group docker)"
}

stop() {
    [ -e "$OURS" ] || return 0
    local pid
    pid=$(cat "$OURS")
    if [ "$pid" = systemd ]; then
        say "Stopping the container engine that make world started"
        quietly engine as_root systemctl stop docker.socket docker
    elif [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        say "Stopping the container engine that make world started (process $pid)"
        kill "$pid"
        for _ in $(seq 150); do
            [ -e "/proc/$pid/exe" ] || break # gone, or waiting for a first process that never collects its children
            sleep 0.2
        done
        [ ! -e "/proc/$pid/exe" ] || die "the container engine (process $pid) does not stop; read .state/log/dockerd.log"
    fi
    rm -f "$OURS"
}

"$1"
