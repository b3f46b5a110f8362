#!/usr/bin/env bash
# unit-check.sh : conf/ovpn-warden.service is valid, and systemd rates its exposure at 1.5 or less of 10.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v systemd-analyze >/dev/null && { ((EUID != 0)) || ! command -v apt-get >/dev/null; }; then
  echo "the unit is not checked: there is no systemd-analyze here, and it cannot be installed" >&2
  exit 0
fi
command -v systemd-analyze >/dev/null || "$here/install.sh" systemd
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# verify wants the program to exist; it need not be installed for this check.
sed 's|^ExecStart=/usr/local/bin/ovpn-warden|ExecStart=/bin/true|' "$here/../../conf/ovpn-warden.service" >"$dir/ovpn-warden.service"
# It also reads the units that this one names; only what it says about this one counts.
systemd-analyze verify --man=no "$dir/ovpn-warden.service" 2>&1 | grep -F ovpn-warden.service && exit 1
systemd-analyze security --no-pager --offline=true --threshold=15 "$dir/ovpn-warden.service" >"$dir/report" || { cat "$dir/report"; exit 1; }
tail -n 1 "$dir/report"
