#!/usr/bin/env bash
# matrix.sh : what `make test-matrix` calls.
# The real-OpenVPN tests against every OpenVPN that Debian's releases carry, first as the server
# (with this machine's own as the client), then as the client (with this machine's own as the
# server). Prints a table, and fails unless every cell holds.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
"$here/install.sh" build openvpn suite

labels=() programs=()
add() { # PROGRAM
  local version
  version=$("$1" --version | awk 'NR == 1 { print $2 }')
  [[ -n "$version" ]] || { echo "matrix.sh: $1 does not tell its version" >&2; exit 1; }
  labels+=("$version") programs+=("$1")
}
suite() { echo "$("$here/suite.sh" "$1" "openvpn-$1" openvpn usr/sbin/openvpn)/openvpn"; }
installed=$(command -v openvpn)
add "$(suite bullseye)"
add "$installed"
add "$(suite trixie)"
add "$(suite sid)"
own=${labels[1]}

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'exit 130' INT TERM
status=0
columns=()
run() { # COLUMN SERVER CLIENT FILTER...
  columns+=("$1")
  echo "=== $1"
  local file=$results/${#columns[@]}
  WARDEN_TEST_OPENVPN=$2 WARDEN_TEST_OPENVPN_CLIENT=$3 \
    "$here/run.sh" --test it -- --include-ignored --skip openvpn_monitor "${@:4}" 2>&1 | tee "$file.log" | grep -E '^test |panicked|^error|skipped|^seed |: (overstays|dropped|refused|admitted)|never came in' || status=1
  awk '$1 == "test" && $3 == "..." && $4 !~ /^ignored/ { sub(/^real::/, "", $2); print $2, $4 }' "$file.log" >"$file"
  [[ -s "$file" ]] || { tail -n 30 "$file.log"; status=1; }
}
for i in "${!labels[@]}"; do
  # Two suites may carry one version: tell them apart.
  run "server ${labels[i]}$([[ $i == 2 ]] && echo ' (trixie)')" "${programs[i]}" "$installed" real::
done
run "client ${labels[0]}" "$installed" "${programs[0]}" real::matrix real::wake_up
run "client ${labels[3]}" "$installed" "${programs[3]}" real::matrix real::wake_up

echo
echo "The other side is $own."
echo
printf '| case |'; printf ' %s |' "${columns[@]}"; echo
printf '|---|'; printf -- '---|%.0s' "${columns[@]}"; echo
cut -d ' ' -f 1 "$results"/[0-9] | sort -u | while read -r name; do
  printf '| `%s` |' "$name"
  for i in "${!columns[@]}"; do
    found=$(awk -v name="$name" '$1 == name { print $2 }' "$results/$((i + 1))")
    # A client's version is tried in the matrix's own cases and in those of the wake-up.
    [[ -n "$found" || ("${columns[i]}" == client* && "$name" != matrix::* && "$name" != wake_up::*) ]] || found=missing
    printf ' %s |' "${found:-–}"
  done
  echo
done | tee "$results/table"
! grep -qE 'FAILED|missing' "$results/table" || status=1
exit "$status"
