#!/usr/bin/env bash
# watch.sh : fail2ban-regex, promtool and nginx of this machine's Debian, in .rig/watch and not installed (their
# packages would start services); prints the folder. Done once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WARDEN_RIG_DIR:-$(cd "$here/../.." && pwd)/.rig}
mkdir -p "$cache"
root=$(cd "$cache" && pwd)/watch
exec 9>"$root.lock"
flock 9 # several runs may start at once; one fetches, the others wait for it

unpack() { # PACKAGE [PATH...] : what is in it, or only these
  local get=(apt-get -q -o APT::Sandbox::User= download "$1")
  mkdir -p "$root/packages"
  # The package lists may be absent or too old: then refresh them once.
  (cd "$root/packages" &&
    { "${get[@]}" || { apt-get -q -o DPkg::Lock::Timeout=300 update && "${get[@]}"; }; }) >&2
  dpkg-deb --fsys-tarfile "$root/packages/$1"_*.deb | tar -x -C "$root" "${@:2}"
  rm -r "$root/packages"
}

if [[ ! -e "$root/.complete" ]]; then
  "$here/install.sh" python3 >&2
  rm -rf "$root"
  mkdir -p "$root"
  unpack fail2ban
  unpack prometheus ./usr/bin/promtool
  : >"$root/.complete"
fi
# It came later than the others.
[[ -x "$root/usr/sbin/nginx" ]] || unpack nginx ./usr/sbin/nginx
echo "$root"
