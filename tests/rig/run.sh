#!/usr/bin/env bash
# run.sh [CARGO-TEST-ARGUMENT...] : what `make test` calls.
# Installs what is missing, starts a private MariaDB and a private MySQL, runs `cargo test`, and takes
# everything away again. Tests find the servers by these variables:
#
#   WARDEN_TEST_MARIADB_URL  WARDEN_TEST_MYSQL_URL   mysql://warden:warden@127.0.0.1:PORT/
#   WARDEN_TEST_MARIADB_CA   WARDEN_TEST_MYSQL_CA    the CA file of the server's certificate
#   WARDEN_TEST_MARIADB_DIR  WARDEN_TEST_MYSQL_DIR   its folder, for `db.sh sql DIR`; its socket is DIR/sock
#   WARDEN_TEST_WATCH                                 a folder with fail2ban-regex and promtool, as in Debian's packages
#   WARDEN_TEST_SKIPPED      a file: a test that cannot run without /dev/net/tun appends one line to it
#   WARDEN_TEST_NO_TUN=1     only where there is no /dev/net/tun; a test must not skip otherwise
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ -z "${WARDEN_RIG_CONTAINED:-}" ]]; then
  "$here/install.sh" build openvpn lab mariadb browser
  "$here/mysql.sh" fetch >/dev/null
  "$here/watch.sh" >/dev/null
  WARDEN_RIG_CONTAINED=1 exec "$here/contain.sh" "${BASH_SOURCE[0]}" "$@"
fi
unset WARDEN_RIG_CONTAINED

# A run that was killed with SIGKILL leaves its folder, but no process that holds the folder's lock.
tmp=${TMPDIR:-/tmp}
for old in "$tmp"/warden-test.*/; do
  [[ ! -e "$old/lock" ]] || ! flock --nonblock "$old/lock" true || rm -rf "$old"
done
dir=$(mktemp -d "$tmp/warden-test.XXXXXX")
mkdir "$dir/tmp"
exec 8>"$dir/lock"
flock 8
tests=
# shellcheck disable=SC2317  # called by the trap
cleanup() {
  trap '' INT TERM HUP # the clean-up itself is not to be interrupted
  if [[ -n "$tests" ]] && kill -0 "$tests" 2>/dev/null; then
    kill -TERM "$tests" 2>/dev/null || true
    wait "$tests" 2>/dev/null || true
  fi
  wait || true # a server that is just starting has no process id to stop yet
  for kind in mariadb mysql; do # a folder goes only when its server is gone
    [[ ! -d "$dir/$kind" ]] || "$here/db.sh" stop "$dir/$kind" || true
  done
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

"$here/db.sh" start mysql "$dir/mysql" >"$dir/mysql.env" &
mysql_starter=$!
"$here/db.sh" start mariadb "$dir/mariadb" >"$dir/mariadb.env" &
wait $!
wait "$mysql_starter"
for kind in mysql mariadb; do
  unset URL CA
  # shellcheck disable=SC1090
  source "$dir/$kind.env"
  export "WARDEN_TEST_${kind^^}_URL=${URL:?}" "WARDEN_TEST_${kind^^}_CA=${CA:?}" "WARDEN_TEST_${kind^^}_DIR=$dir/$kind"
done
WARDEN_TEST_WATCH=$("$here/watch.sh")
export WARDEN_TEST_WATCH WARDEN_TEST_SKIPPED=$dir/skipped
# What the tests leave goes with the rest, unless it is to be looked at.
[[ -n "${WARDEN_TEST_KEEP:-}" ]] || export TMPDIR=$dir/tmp
: >"$WARDEN_TEST_SKIPPED"
[[ -c /dev/net/tun ]] || export WARDEN_TEST_NO_TUN=1

status=0
# In the background, so that a signal is dealt with at once.
env --default-signal=INT,QUIT cargo test --locked "$@" <&0 &
tests=$!
wait "$tests" || status=$?
tests=

skipped=$(wc -l <"$WARDEN_TEST_SKIPPED")
if ((skipped > 0)) && [[ -z "${WARDEN_TEST_NO_TUN:-}" ]]; then
  sort -u "$WARDEN_TEST_SKIPPED"
  echo "$skipped tests were skipped although /dev/net/tun is there: that is a failure"
  exit 1
elif ((skipped > 0)); then
  sort -u "$WARDEN_TEST_SKIPPED"
  echo "$skipped skipped: this machine has no /dev/net/tun"
else
  echo "0 skipped"
fi
exit "$status"
