#!/usr/bin/env bash
# mysql.sh fetch : a real Oracle MySQL server, unpacked into a cache folder; prints that folder.
#
# Debian 12 has only MariaDB; MySQL itself is in Debian's sid suite. Its packages are downloaded and
# verified by a private apt configuration (the machine's own apt settings and packages stay as they
# are) and unpacked with all their libraries, so that nothing of sid is ever installed.
# The cache is .rig/ in the repository, or $WARDEN_RIG_DIR.
set -euo pipefail

fail() { echo "mysql.sh: $*" >&2; exit 1; }
[[ "${1:-}" == fetch ]] || fail "usage: mysql.sh fetch"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WARDEN_RIG_DIR:-$(cd "$here/../.." && pwd)/.rig}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
root=$cache/mysql
stamp=$root/.complete # written last, so an interrupted fetch starts over

if [[ -e "$stamp" ]]; then echo "$root"; exit 0; fi
exec 9>"$cache/mysql.lock"
flock 9 # several runs may start at once; one fetches, the others wait for it
if [[ -e "$stamp" ]]; then echo "$root"; exit 0; fi

"$here/install.sh" mysql >&2

# The mirror this machine already uses for Debian itself. The label is known once apt has lists.
mirror() {
  # shellcheck disable=SC2016  # apt expands these itself
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" { print $2; exit }'
}
uri=$(mirror)
if [[ -z "$uri" ]] && ((EUID == 0)); then
  apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null 2>&1 || true
  uri=$(mirror)
fi
[[ -n "$uri" ]] || fail "no Debian mirror in this machine's apt sources (is this Debian, and did 'apt-get update' work?)"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

apt=$cache/mysql-apt
rm -rf "$apt" "$root" "$root.new"
mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial "$apt"/etc/{sources,preferences}.d "$root.new"
: >"$apt/state/status" # "nothing is installed": the download then holds every library, libc included
echo "deb [signed-by=$keyring] $uri sid main" >"$apt/etc/sources.list"
cat >"$apt/apt.conf" <<CONF
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/etc/sources.list";
Dir::Etc::sourceparts "$apt/etc/sources.d";
Dir::Etc::preferencesparts "$apt/etc/preferences.d";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
CONF

echo "fetching MySQL from Debian sid (about 63 MB) ..." >&2
export APT_CONFIG=$apt/apt.conf
{ apt-get -q update && apt-get -q -y --download-only --no-install-recommends install mysql-server-core mysql-client-core; } \
  >"$apt/log" 2>&1 </dev/null || { tail -n 15 "$apt/log" >&2; fail "apt could not download mysql-server-core from sid"; }
for deb in "$apt"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$root.new"
done
rm -rf "$apt"
mv "$root.new" "$root"

# Small wrappers: each program runs with its own loader and libraries, not this machine's.
lib=$root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
loader=$(find "$lib" "$root/usr/lib64" -maxdepth 1 -name 'ld-linux*.so*' 2>/dev/null | head -n 1)
[[ -n "$loader" ]] || fail "no dynamic loader in the unpacked packages"
for program in usr/sbin/mysqld usr/bin/mysql; do
  [[ -x "$root/$program" ]] || fail "the packages hold no /$program"
  printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' "$loader" "$lib:$root/lib/${lib##*/}" "$root/$program" \
    >"$root/${program##*/}"
  chmod 755 "$root/${program##*/}"
done
"$root/mysqld" --no-defaults --version >"$stamp.new"
mv "$stamp.new" "$stamp"
sed 's/^/unpacked: /' "$stamp" >&2
echo "$root"
