#!/usr/bin/env bash
# watch.sh : fail2ban-regex and promtool of this machine's Debian, in .rig/watch and not installed (their
# packages would start services); prints the folder. Done once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WARDEN_RIG_DIR:-$(cd "$here/../.." && pwd)/.rig}
mkdir -p "$cache"
root=$(cd "$cache" && pwd)/watch
exec 9>"$root.lock"
flock 9 # several runs may start at once; one fetches, the others wait for it
if [[ ! -e "$root/.complete" ]]; then
  "$here/install.sh" python3 >&2
  rm -rf "$root"
  mkdir -p "$root/packages"
  cd "$root/packages"
  get=(apt-get -q -o APT::Sandbox::User= download fail2ban prometheus)
  # The package lists may be absent or too old: then refresh them once.
  "${get[@]}" >&2 || { apt-get -q -o DPkg::Lock::Timeout=300 update >&2 && "${get[@]}" >&2; }
  dpkg-deb --fsys-tarfile fail2ban_*.deb | tar -x -C "$root"
  dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x -C "$root" ./usr/bin/promtool
  rm -r "$root/packages"
  : >"$root/.complete"
fi
echo "$root"
