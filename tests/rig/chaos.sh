#!/usr/bin/env bash
# chaos.sh [mariadb|sqlite|faults|galera|group|soak]... : what `make chaos` and `make soak` call.
# 2,000 clients of stand-ins for OpenVPN come and go while the daemon, the database and the stand-ins are killed 50 times in
# random order, on a private MariaDB, then on SQLite; then come faults of every kind on MariaDB, in place of kills only; then
# 14 each on a Galera and on a replication group, three servers that are one database, of which one is killed or parted from the
# others, or two at once. After each run three records are compared. Each takes four to 15 minutes, and is ended after an hour.
# CHAOS_SEED repeats a plan, CHAOS_FAULTS has another number of faults, CHAOS_OUT keeps what is printed, CHAOS_BEFORE is another
# build of the daemon, with which it takes turns when it is replaced. CHAOS_UPGRADE_FROM is an older one with an older schema: it
# runs until, in the middle of the faults, the schema is migrated under it and it is replaced. `soak`: half an hour (CHAOS_FAULTS minutes) with a fault
# each minute, on MariaDB.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
if [[ -z "${WARDEN_RIG_CONTAINED:-}" ]]; then
  (($#)) || set -- mariadb sqlite faults galera group
  "$here/install.sh" build mariadb
  [[ " $* " != *" galera "* ]] || "$here/install.sh" galera lab
  [[ " $* " != *" group "* ]] || { "$here/install.sh" lab; "$here/mysql.sh" fetch >/dev/null; }
  cargo build --release --locked --bin ovpn-warden --example ovpn-warden-fleet
  WARDEN_RIG_CONTAINED=1 exec "$here/contain.sh" "${BASH_SOURCE[0]}" "$@"
fi
unset WARDEN_RIG_CONTAINED

fleet=${CARGO_TARGET_DIR:-target}/release/examples/ovpn-warden-fleet
dir=$(mktemp -d "${TMPDIR:-/tmp}/warden-chaos.XXXXXX")
out=${CHAOS_OUT:-$dir}
mkdir -p "$out"
# shellcheck disable=SC2317  # called by the trap
cleanup() {
  for name in mariadb faults soak; do
    [[ ! -d "$dir/$name" ]] || "$here/db.sh" stop "$dir/$name" || true
  done
  for name in galera group; do
    [[ ! -d "$dir/$name" ]] || "$here/cluster.sh" stop "$dir/$name" || true
  done
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

status=0
for name in "$@"; do
  case "$name" in
    soak) faults=30 ;;
    galera | group) faults=14 ;;
    *) faults=50 ;;
  esac
  faults=${CHAOS_FAULTS:-$faults}
  args=(chaos --servers 8 --clients 250 --faults "$faults" --cheap --wrong 2
    --limit-s 15 --expiring 60 --accounting-s 2 --backstop-s 5 --retry-backoff-s 2)
  [[ -z "${CHAOS_BEFORE:-}" ]] || args+=(--before "$CHAOS_BEFORE")
  [[ -z "${CHAOS_UPGRADE_FROM:-}" ]] || args+=(--upgrade-from "$CHAOS_UPGRADE_FROM")
  case "$name" in
    sqlite) ;;
    galera | group)
      chmod 711 "$dir" # the servers are not run by root
      "$here/cluster.sh" start "$name" "$dir/$name" >"$dir/env"
      # shellcheck disable=SC1091
      source "$dir/env"
      echo 'CREATE DATABASE warden_chaos' | "$here/cluster.sh" sql "$dir/$name" 1
      args+=(--database "${URL:?}warden_chaos" --cluster-folder "$dir/$name")
      ;;
    mariadb | faults | soak)
      [[ "$name" != faults ]] || args+=(--every-kind)
      [[ "$name" != soak ]] || args+=(--period-s 60 --expect "rss_kib_per_minute<=60" --expect "descriptors_per_minute<=0.5")
      # Its disk can be filled.
      disk=
      [[ "$name" == mariadb ]] || disk=1g
      WARDEN_RIG_DISK=$disk "$here/db.sh" start mariadb "$dir/$name" >"$dir/env"
      # shellcheck disable=SC1091
      source "$dir/env"
      echo 'CREATE DATABASE warden_chaos' | "$here/db.sh" sql "$dir/$name"
      args+=(--database "${URL:?}warden_chaos" --database-folder "$dir/$name")
      ;;
    *)
      echo "chaos.sh: mariadb, sqlite, faults, galera, group or soak, not $name" >&2
      exit 1
      ;;
  esac
  echo "== $name"
  timeout --foreground --kill-after=30 3600 "$fleet" "${args[@]}" | tee "$out/$name.txt" || status=1
done
exit "$status"
