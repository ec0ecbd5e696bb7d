#!/usr/bin/env bash
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Deploys to the hosts of the world as an operator would, then asks a node a question.
# API_PROFILE is the variant of the program, by the names of docs/profiles.md. API_REPO and API_COMMIT name another program
# than the stand-in, and GOLANG_SOURCE where its Go comes from. DEMO_ARGUMENTS are further ones of ansible-playbook.

# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

cd "$ROOT"
playbook=(ansible-playbook -i inventories/demo --vault-password-file .state/vault-password)
settings=()
[ -z "${API_PROFILE:-}" ] || settings+=(--extra-vars "api_profile=$API_PROFILE")
if [ -n "${API_REPO:-}" ]; then
    settings+=(--extra-vars "api_build_repository=$API_REPO golang_source=${GOLANG_SOURCE:-archive}")
    # The stand-in builds with any Go; other programs need the one of their profile, which Debian 12 does not have.
    settings+=(--extra-vars '{"golang_minimum_version": "{{ __deploy_profile.go_version }}"}')
    [ "${GOLANG_SOURCE:-}" != distribution ] || settings+=(--extra-vars api_build_host=node2)
fi
[ -z "${API_COMMIT:-}" ] || settings+=(--extra-vars "api_build_commit=$API_COMMIT")
# shellcheck disable=SC2206 # words are what is wanted
settings+=(${DEMO_ARGUMENTS:-})

if [ -n "${API_PROFILE:-}" ]; then
    say "Letting the nodes trust the demo's authority, since some programs verify the chat service's certificate"
    quietly trust "${playbook[@]}" demo/world/trust.yml
fi
say "${playbook[*]} site.yml ${settings[*]}"
"${playbook[@]}" site.yml "${settings[@]}" || {
    [ -z "${API_REPO:-}" ] || die "$(
        cat <<'END'
the program of API_REPO could not be deployed. If the nodes did not get what its build needs from outside:
  GOLANG_SOURCE=distribution                                       builds it on node2, with the Go of Debian 13
  DEMO_ARGUMENTS='-e golang_mirror=URL -e golang_version=... '     takes Go from a mirror; golang_checksums are those of its archives
  DEMO_ARGUMENTS='-e dcta_build_proxy=URL'                         fetches Go, the sources and the modules through a proxy
  DEMO_ARGUMENTS='-e dcta_build_module_proxy=URL'                  takes the modules from another module proxy
END
    )"
    die "the deployment failed; the lines above say why"
}

say "The nodes:"
for node in node1 node2; do
    # shellcheck disable=SC2016 # the node expands it
    ssh -F .state/ssh/config "$node" 'printf "  %s  gateway %s  accounts: %s\n" "$(hostname)" \
        "$(systemctl is-active dcta-gateway)" \
        "$(systemctl list-units --plain --no-legend --state=active "dcta-api-a@*" | sed "s/^dcta-api-a@\([^.]*\).*/\1/" | paste -sd " ")"'
done

question='{"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Say hello"}]}'
line="curl --silent --show-error --cacert .state/ca/ca.crt -H @.state/api-key.header -H 'Content-Type: application/json' \
-d '$question' https://172.30.90.11:8443/v1/chat/completions"
say "A question to node1:"
printf '\n%s\n\n' "$line"
bash -c "$line --fail-with-body" || die "node1 did not answer; read: ssh -F .state/ssh/config node1 sudo journalctl -u 'dcta-*'"
printf '\n\n'
say "Done. make demo-down removes all of it."
