#!/usr/bin/env bash
# deny.sh bans|licenses|sources|advisories... : cargo-deny, installed into .rig/tools if it is missing.
#
# `advisories` needs the advisory database. A machine that cannot reach it is told so and passes; a real
# advisory fails everywhere. (WARDEN_REQUIRE_ADVISORIES=1 makes an unreachable database a failure too.)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=0.20.2
tools=${WARDEN_RIG_DIR:-$(cd "$here/../.." && pwd)/.rig}/tools
deny=$tools/bin/cargo-deny

has_version() { [[ "$("$1" --version 2>/dev/null)" == "cargo-deny $version" ]]; }
if ! has_version "$deny"; then
  if has_version cargo-deny; then
    deny=cargo-deny
  else
    "$here/tool.sh" cargo-deny "$version" "two to four minutes"
  fi
fi

checks=()
for check in "$@"; do
  if [[ "$check" == advisories ]]; then
    if ! timeout 60 "$deny" fetch db >"$tools/fetch.log" 2>&1; then
      echo "advisories: NOT CHECKED, the advisory database is not reachable from here: $(grep -iE 'error|unable|fail' "$tools/fetch.log" | head -n 1)"
      [[ -z "${WARDEN_REQUIRE_ADVISORIES:-}" ]] || exit 1
      continue
    fi
  fi
  checks+=("$check")
done
((${#checks[@]} == 0)) || "$deny" --locked check --hide-inclusion-graph "${checks[@]}"
