#!/usr/bin/env bash
# suite.sh SUITE NAME "PACKAGE..." "PROGRAM..." : programs of another Debian suite, without installing them.
# Prints the folder; each PROGRAM (a path in the packages, without the first slash) can be run as
# FOLDER/BASENAME. Done once; a later call only prints the folder.
#
# The packages are downloaded and verified by a private apt configuration (the machine's own apt
# settings and packages stay as they are) and unpacked with all their libraries, libc included.
# The cache is .rig/ in the repository, or $WARDEN_RIG_DIR.
set -euo pipefail

fail() { echo "suite.sh: $*" >&2; exit 1; }
[[ $# == 4 ]] || fail "usage: suite.sh SUITE NAME \"PACKAGE...\" \"PROGRAM...\""
suite=$1 name=$2
read -ra packages <<<"$3"
read -ra programs <<<"$4"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WARDEN_RIG_DIR:-$(cd "$here/../.." && pwd)/.rig}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
root=$cache/$name
stamp=$root/.complete # written last, so an interrupted fetch starts over

if [[ -e "$stamp" ]]; then echo "$root"; exit 0; fi
exec 9>"$cache/$name.lock"
flock 9 # several runs may start at once; one fetches, the others wait for it
if [[ -e "$stamp" ]]; then echo "$root"; exit 0; fi

"$here/install.sh" suite >&2

# The mirror this machine already uses for Debian itself. Its label is known once apt has lists.
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
[[ -n "$uri" ]] || fail "no Debian mirror in this machine's apt sources (is this Debian, and does 'apt-get update' work?)"

apt=$cache/$name.apt
rm -rf "$apt" "$root" "$root.new"
mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial "$apt"/etc/{sources,preferences}.d "$root.new"
: >"$apt/state/status" # "nothing is installed": the download then holds every library
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$apt/etc/sources.list"
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
# A mirror may lag behind; the signature counts all the same.
Acquire::Check-Valid-Until "false";
CONF

echo "fetching ${packages[*]} from Debian $suite ..." >&2
export APT_CONFIG=$apt/apt.conf
{ apt-get -q update && apt-get -q -y --download-only --no-install-recommends install "${packages[@]}"; } \
  >"$apt/log" 2>&1 </dev/null || { tail -n 15 "$apt/log" >&2; fail "apt could not download ${packages[*]} from $suite"; }
unset APT_CONFIG
for deb in "$apt"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$root.new"
done
rm -rf "$apt"
mv "$root.new" "$root"

# Wrappers: each program runs with its own loader and libraries, not this machine's.
triplet=$(basename "$(dirname "$(find "$root/usr/lib" "$root/lib" -maxdepth 2 -name libc.so.6 2>/dev/null | head -n 1)")")
loader=$(find "$root/usr/lib/$triplet" "$root/lib/$triplet" -maxdepth 1 -name 'ld-*.so*' 2>/dev/null | head -n 1 || true)
[[ -n "$loader" ]] || fail "no dynamic loader in the unpacked packages"
for program in "${programs[@]}"; do
  [[ -x "$root/$program" ]] || fail "the packages hold no /$program"
  printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' \
    "$loader" "$root/usr/lib/$triplet:$root/lib/$triplet" "$root/$program" >"$root/${program##*/}"
  chmod 755 "$root/${program##*/}"
done
: >"$stamp"
echo "$root"
