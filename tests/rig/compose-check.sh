#!/usr/bin/env bash
# compose-check.sh : docker-compose.yml, as far as that goes without a container engine.
#
# A real `docker compose config` (this machine's, or the one of Debian sid) reads and resolves it. Then
# what compose does not look at: that every file named exists once prepare.sh has run, that only
# OpenVPN's port is published, and that the openvpn service's command line is one OpenVPN accepts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
fail() { echo "compose-check: $*" >&2; exit 1; }

if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
else
  compose=("$("$here/suite.sh" sid compose docker-compose usr/libexec/docker/cli-plugins/docker-compose)/docker-compose")
fi

# On a copy: prepare.sh writes keys.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/tests/rig"
cp -r "$top/docker-compose.yml" "$top/Dockerfile" "$top/conf" "$dir/"
cp "$here/pki.sh" "$dir/tests/rig/"
rm -rf "$dir/conf/docker/secrets"
"$dir/conf/docker/prepare.sh" >/dev/null
"$dir/conf/docker/prepare.sh" >/dev/null # again: what exists is kept

"${compose[@]}" --project-directory "$dir" -f "$dir/docker-compose.yml" config >"$dir/resolved.yml" 2>"$dir/warnings" ||
  fail "docker compose config: $(<"$dir/warnings")"
[[ ! -s "$dir/warnings" ]] || fail "docker compose config warns: $(<"$dir/warnings")"

while read -r file; do
  [[ -s "$file" ]] || fail "$file is named in docker-compose.yml and does not exist"
done < <(sed -nE 's/^ +(file|source): (\/.*)/\2/p' "$dir/resolved.yml" | grep -v '^/dev/')
published=$(grep -cE '^ +published:' "$dir/resolved.yml")
[[ "$published" == 1 ]] || fail "$published ports are published, not 1"
grep -q 'published: "1194"' "$dir/resolved.yml" || fail "the published port is not 1194"
services=$("${compose[@]}" --project-directory "$dir" -f "$dir/docker-compose.yml" config --services | sort | xargs)
[[ "$services" == "migrate mysql openvpn ovpn-warden" ]] || fail "the services are: $services"

# The container's OpenVPN: same options, the secrets folder of the copy. It must get as far as its hold.
if [[ -c /dev/net/tun ]] && ((EUID == 0)); then
  "$here/install.sh" openvpn
  timeout 3 unshare --net openvpn --cd "$dir/conf/docker/secrets" --config "$dir/conf/openvpn-server.conf" \
    --management "$dir/warden.sock" unix management.pw >"$dir/openvpn.log" 2>&1 || true
  grep -q 'Need hold release' "$dir/openvpn.log" || { cat "$dir/openvpn.log" >&2; fail "OpenVPN does not accept the configuration"; }
fi
echo "docker-compose.yml: $("${compose[@]}" version --short), config accepted; services $services; one port published"
