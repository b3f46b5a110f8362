#!/usr/bin/env bash
# install.sh GROUP... : installs by apt what is missing of the named groups, and nothing else.
# Silent when nothing is missing. Starts no system service.
#
#   build     a C compiler and linker (for the bundled SQLite, for TLS and for jemalloc, which also needs the make that called this)
#   openvpn   OpenVPN and the tools around it
#   lab       what the Rust tests need beside OpenVPN
#   browser     a headless Chromium and its driver
#   mariadb   the MariaDB server and client programs
#   galera    MariaDB with Galera, and what brings a node up to date
#   dns       a name server
#   netns     what drops packets in a network namespace
#   systemd   systemd-analyze, to check the unit
#   python    Python with virtual environments, to run another tool beside the daemon
#   python3   Python
#   peers     what `make bench-openvpn` compares with
#   debootstrap  a clean Debian to install a package in
#   sbom      what sbom.sh needs beside Cargo
#   suite     what suite.sh needs to unpack programs of another Debian suite
set -euo pipefail

declare -A groups=(
  [build]="gcc libc6-dev"
  [openvpn]="openvpn iproute2 iputils-ping openssl procps util-linux"
  [lab]="socat jq sqlite3"
  [browser]="chromium chromium-driver fonts-dejavu-core"
  # The -core packages hold the programs without the system service, its user and its /var/lib.
  [mariadb]="mariadb-server-core mariadb-client-core openssl"
  [galera]="mariadb-server galera-4 rsync iproute2"
  [dns]="dnsmasq-base"
  [netns]="iproute2 nftables"
  [systemd]="systemd"
  [python]="python3-venv"
  [python3]="python3"
  [peers]="fping python3-argon2 python3-pymysql libpam-mysql freeradius freeradius-mysql openvpn-auth-radius"
  [debootstrap]="debootstrap"
  [sbom]="jq"
  [suite]="debian-archive-keyring ca-certificates tar xz-utils zstd"
)

fail() { echo "install.sh: $*" >&2; exit 1; }

wanted=()
for group in "$@"; do
  [[ -n "${groups[$group]:-}" ]] || fail "no group '$group'; there are: ${!groups[*]}"
  for package in ${groups[$group]}; do
    # A package counts as missing unless dpkg says "installed"; removed ones leave a row behind.
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ "$state" == installed ]] || wanted+=("$package")
  done
done
# A compiler that did not come by apt is as good.
if [[ " ${wanted[*]:-} " == *" gcc "* ]] && command -v cc >/dev/null; then
  for i in "${!wanted[@]}"; do [[ "${wanted[i]}" =~ ^(gcc|libc6-dev)$ ]] && unset "wanted[i]"; done
fi
((${#wanted[@]})) || exit 0

command -v apt-get >/dev/null || fail "needs ${wanted[*]}, and there is no apt-get here: install them by hand"
((EUID == 0)) || fail "needs ${wanted[*]}: run as root, or: sudo apt-get install --no-install-recommends ${wanted[*]}"

# One at a time: two demos side by side must not take each other's policy-rc.d guard away.
exec 9>/run/lock/ovpn-warden-install.lock
flock 9

guard=/usr/sbin/policy-rc.d
if [[ ! -e "$guard" ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$guard" # 101: "no service action allowed"
  chmod 755 "$guard"
  trap 'rm -f "$guard"' EXIT
  trap 'exit 130' INT TERM
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
get=(apt-get -y -q -o DPkg::Lock::Timeout=300 install --no-install-recommends "${wanted[@]}")
echo "installing: ${wanted[*]}"
# The package lists may be absent or too old: then refresh them once.
if ! "${get[@]}" >"$log" 2>&1 </dev/null; then
  { apt-get -q -o DPkg::Lock::Timeout=300 update && "${get[@]}"; } >"$log" 2>&1 </dev/null || {
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt could not install ${wanted[*]}"
  }
fi
rm -f "$log"
