#!/usr/bin/env bash
# prepare.sh : makes what docker-compose.yml expects in conf/docker/secrets. What exists is kept.
#
# The PKI is for trying out: it ends after 30 days. For real use put your own ca.crt, server.crt,
# server.key and tls-crypt.key there. A client.ovpn with all its keys inside comes out as well.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v openssl >/dev/null || { echo "prepare.sh: needs openssl" >&2; exit 1; }
umask 077
# The folder keeps others on this host out. The files are readable, because Compose mounts them as
# they are, and the containers run as other users.
dir=$here/secrets
mkdir -p "$dir"
cd "$dir"

secret() { [[ -s "$1" ]] || openssl rand -hex 24 | tr -d '\n' >"$1"; }
secret mysql_password
secret mysql_root_password
[[ -s management.pw ]] || openssl rand -hex 24 >management.pw
[[ -s database_url ]] || printf 'mysql://warden:%s@mysql:3306/vpn' "$(<mysql_password)" >database_url
"$here/../../tests/rig/pki.sh" "$dir" client
chmod 644 ./*
chmod 600 ca.key client.key

inline() { printf '<%s>\n%s\n</%s>\n' "$1" "$(<"$2")" "$1"; }
{
  grep -vE '^(ca|cert|key|tls-crypt) ' "$here/../client.ovpn"
  inline ca ca.crt
  inline cert client.crt
  inline key client.key
  inline tls-crypt tls-crypt.key
} >client.ovpn
chmod 600 client.ovpn
echo "secrets are in $dir; the client's file is $dir/client.ovpn (change its CHANGE lines)"
