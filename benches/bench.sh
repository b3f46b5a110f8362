#!/usr/bin/env bash
# bench.sh [NAME...] : holds the daemon against its targets, and prints target, measured, verdict.
# More of them by name: cheap-mysql cheap-galera reach-mariadb reach-mysql. Without names all of these: storm storm-limited cheap-mariadb cheap-limited cheap-sqlite overload overload-long overload-many crowd crowd-restarted steady many-mariadb expiry reconnect idle idle-mariadb growth growth-sqlite decode
#
# A miss is printed and is no failure: how fast this machine is today is not a property of the
# program. A wrong answer is one. Each run takes some minutes at most, each idle seven; BENCH_DIR keeps their output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rig=tests/rig
target=${CARGO_TARGET_DIR:-target}
fleet=$target/release/examples/ovpn-warden-fleet

names=("$@")
((${#names[@]})) || names=(storm storm-limited cheap-mariadb cheap-limited cheap-sqlite overload overload-long overload-many crowd crowd-restarted steady many-mariadb expiry reconnect idle idle-mariadb growth growth-sqlite decode)
"$rig/install.sh" build
cargo build --release --locked --bin ovpn-warden --example ovpn-warden-fleet

dir=$(mktemp -d "${TMPDIR:-/tmp}/warden-bench.XXXXXX")
out=${BENCH_DIR:-$dir}
mkdir -p "$out"
chmod 711 "$dir" # Galera does not run as root
status=0
# shellcheck disable=SC2317  # called by the trap
cleanup() {
  for kind in mariadb mysql; do
    [[ ! -d "$dir/$kind" ]] || "$rig/db.sh" stop "$dir/$kind" || true
  done
  [[ ! -d "$dir/galera" ]] || "$rig/cluster.sh" stop "$dir/galera" || true
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A server of its own, with an empty database, and with as large a buffer pool as it has by default.
server() { # mariadb|mysql
  if [[ ! -d "$dir/$1" ]]; then
    if [[ "$1" == mysql ]]; then "$rig/mysql.sh" fetch >/dev/null; else "$rig/install.sh" mariadb; fi
    WARDEN_RIG_POOL=128M "$rig/db.sh" start "$1" "$dir/$1" >"$dir/$1.env"
  fi
  # shellcheck disable=SC1090
  source "$dir/$1.env"
  "$rig/db.sh" sql "$dir/$1" <<<'DROP DATABASE IF EXISTS warden_fleet; CREATE DATABASE warden_fleet'
  database=(--database "${URL:?}warden_fleet")
}

# Three servers that are one.
galera() {
  if [[ ! -d "$dir/galera" ]]; then
    "$rig/install.sh" galera lab
    "$rig/cluster.sh" start galera "$dir/galera" >"$dir/galera.env"
  fi
  # shellcheck disable=SC1091
  source "$dir/galera.env"
  "$rig/cluster.sh" sql "$dir/galera" 1 <<<'DROP DATABASE IF EXISTS warden_fleet; CREATE DATABASE warden_fleet'
  database=(--database "${URL%%,*}/warden_fleet") # by the first of them
}

run() { # NAME ARGS... : the fleet; shows verdicts, keeps the rest. Nobody stays without an answer, and nothing goes wrong inside
  local name=$1
  shift
  echo "== $name: $*"
  if ! "$fleet" "$@" --expect 'unanswered<=0' --expect 'errors_logged<=0' >"$out/$name.txt"; then
    status=1
    cat "$out/$name.txt"
  fi
  grep -E '^(MET|MISS)' "$out/$name.txt" || true
}

# A number of an earlier run's JSON line.
number() { # NAME KEY
  sed -n "s/^{.*\"$2\":\([0-9.]*\).*/\1/p" "$out/$1.txt"
}

queue=(--hash-queue 65536 --timeout-ms 30000)
for name in "${names[@]}"; do
  case "$name" in
    storm)
      server mariadb
      run storm connect-storm --servers 4 --clients 200 "${queue[@]}" "${database[@]}" \
        --expect 'ratio_to_bare_argon2>=0.90' --expect 'storm_incomplete<=0' --expect 'temporary<=0'
      ;;
    storm-limited) # the same where each login takes a place of max_sessions
      server mariadb
      run storm-limited connect-storm --servers 4 --clients 200 --max-sessions 1 "${queue[@]}" "${database[@]}" \
        --expect 'ratio_to_bare_argon2>=0.90' --expect 'storm_incomplete<=0' --expect 'temporary<=0'
      ;;
    cheap-limited)
      server mariadb
      run cheap-limited connect-storm --cheap --servers 4 --clients 5000 --max-sessions 1 "${queue[@]}" "${database[@]}" \
        --expect 'logins_per_s>=5000' --expect 'storm_incomplete<=0' --expect 'temporary<=0'
      ;;
    cheap-mariadb)
      server mariadb
      run cheap-mariadb connect-storm --cheap --servers 4 --clients 5000 "${queue[@]}" "${database[@]}" \
        --expect 'logins_per_s>=5000' --expect 'storm_incomplete<=0' --expect 'temporary<=0'
      ;;
    cheap-mysql | cheap-galera) # not by default: how far other servers reach
      if [[ "$name" == cheap-mysql ]]; then server mysql; else galera; fi
      run "$name" connect-storm --cheap --servers 4 --clients 5000 "${queue[@]}" "${database[@]}" \
        --expect 'logins_per_s>=5000' --expect 'storm_incomplete<=0' --expect 'temporary<=0'
      ;;
    cheap-sqlite)
      run cheap-sqlite connect-storm --cheap --servers 4 --clients 5000 "${queue[@]}" \
        --expect 'logins_per_s>=10000' --expect 'storm_incomplete<=0' --expect 'temporary<=0'
      ;;
    overload) # the defaults, and far more logins than can be hashed in time
      server mariadb
      run overload connect-storm --servers 4 --clients 1000 --wrong 2 "${database[@]}" \
        --expect 'later_than_timeout<=0' --expect 'evenness_of_servers>=0.8'
      ;;
    overload-long) # for 20 s three times as many come as can be hashed: who comes late has the chance of who comes early
      server mariadb
      run overload-long connect-storm --servers 4 --clients 2000 --over-s 20 "${database[@]}" \
        --expect 'later_than_timeout<=0' --expect 'evenness_of_servers>=0.8' --expect 'evenness_of_moments>=0.6'
      ;;
    overload-many) # the same on many servers; three to five are decided of each
      server mariadb
      run overload-many connect-storm --servers 200 --clients 20 "${database[@]}" \
        --expect 'later_than_timeout<=0' --expect 'ratio_to_bare_argon2>=0.90' --expect 'window_s>=6' \
        --expect 'evenness_of_servers>=0.6'
      ;;
    crowd) # more logins than can be hashed, again and again, while others renegotiate
      server mariadb
      run crowd steady --servers 4 --clients 500 --ramp 80 --seconds 20 --reauths 10 --disconnects 400 "${database[@]}" \
        --expect 'later_than_timeout<=0' --expect 'reauths_put_off<=0' \
        --expect 'reauth_ms_max<=1000' --expect 'evenness_of_servers>=0.8'
      ;;
    crowd-restarted) # the same after a restart of the daemon: renegotiations cost a hash each
      server mariadb
      run crowd-restarted steady --servers 4 --clients 500 --ramp 80 --restart --seconds 20 --reauths 10 --disconnects 400 "${database[@]}" \
        --expect 'later_than_timeout<=0' --expect 'reauths_put_off<=0' --expect 'reauth_ms_p50>=8' \
        --expect 'reauth_ms_max<=1000' --expect 'evenness_of_servers>=0.8'
      ;;
    steady)
      run steady steady --cheap --servers 200 --clients 500 --ramp 3500 --seconds 12 --expiring 5 --limit-s 35 \
        --reauths 100 --disconnects 100 "${queue[@]}" \
        --expect 'ramp_incomplete<=0' --expect 'sessions>=100000' --expect 'rss_bytes_per_session<=1024' \
        --expect 'kills>=1' --expect 'kill_late_ms_p99<=50' --expect 'kills_unjudged<=0'
      ;;
    many-mariadb) # 200,000 sessions, each with a row every 30 s
      server mariadb
      run many-mariadb steady --cheap --servers 200 --clients 1000 --ramp 3500 --seconds 60 --accounting-s 30 \
        --reauths 100 --disconnects 100 "${queue[@]}" "${database[@]}" \
        --expect 'ramp_incomplete<=0' --expect 'sessions>=200000' --expect 'rss_bytes_per_session<=1024' --expect 'backlog_at_end<=20000'
      ;;
    reach-mariadb | reach-mysql) # not by default: twice as many, and the ramp that many-mariadb has
      server "${name#reach-}"
      run "$name" steady --cheap --servers 400 --clients 1000 --ramp 3500 --seconds 60 --accounting-s 30 \
        --reauths 100 --disconnects 100 "${queue[@]}" "${database[@]}" \
        --expect 'ramp_incomplete<=0' --expect 'sessions>=400000' --expect 'rss_bytes_per_session<=1024' --expect 'backlog_at_end<=20000'
      ;;
    expiry)
      run expiry expiry-storm --cheap --servers 200 --clients 500 --ramp 4000 "${queue[@]}" \
        --expect 'ramp_incomplete<=0' --expect 'sessions>=100000' --expect 'kills>=100000' --expect 'kills_missing<=0' \
        --expect 'kill_late_ms_max<=1000' --expect 'kills_unjudged<=1000'
      ;;
    reconnect)
      server mariadb
      run reconnect reconnect --cheap --servers 1 --clients 10000 "${queue[@]}" "${database[@]}" \
        --expect 'served_again_ms<=1000' --expect 'compared_ms_max<=1000' --expect 'unheard_missing<=0' --expect 'reconcile_ms_max<=1000' --expect 'start_to_ready_ms<=1000' \
        --expect 'restart_to_ready_ms<=1000' --expect 'ramp_incomplete<=0' --expect 'sessions>=10000' --expect 'attaches_missing<=0' \
        --expect 'adopted>=10000'
      ;;
    idle) # nothing happens, nothing was written for a while (the last are the charts, with the bytes of the last server some four minutes after the logins), and no accounting falls into the time
      run idle steady --cheap --servers 4 --clients 25 --settle-s 270 --seconds 120 --accounting-s 3600 --expect 'wake_ups_per_s<=1'
      ;;
    idle-mariadb) # the same, where a question each second is all there is to hear by that an operator has asked for something: it and its answer
      server mariadb
      run idle-mariadb steady --cheap --servers 4 --clients 25 --settle-s 270 --seconds 120 --accounting-s 3600 "${database[@]}" \
        --expect 'wake_ups_per_s<=2.5'
      ;;
    growth | growth-sqlite) # the same renegotiations with few and with many sessions; long enough for all sessions to be read once
      for sessions in 100 10000 100000; do
        if [[ "$name" == growth ]]; then server mariadb; else database=(); fi
        run "$name-$sessions" steady --cheap --servers 100 --clients $((sessions / 100)) --ramp 3500 --settle-s 45 --seconds 120 \
          --reauths 500 --accounting-s 3600 "${queue[@]}" "${database[@]}" \
          --expect 'ramp_incomplete<=0' --expect "sessions>=$sessions" --expect 'reauth_count>=59000'
      done
      for sessions in 10000 100000; do
        awk -v few="$(number "$name-100" cpu_percent)" -v many="$(number "$name-$sessions" cpu_percent)" -v sessions="$sessions" 'BEGIN {
          ratio = many / few
          printf "%s    CPU of the same events with %d sessions <= 1.25 x with 100    measured %.2f (%s %% and %s %%)\n",
            ratio <= 1.25 ? "MET " : "MISS", sessions, ratio, many, few
        }'
      done
      ;;
    decode) # in rounds, as a machine may change its pace meanwhile: the verdict is of the round in the middle
      echo "== decode"
      found=$target/criterion/connect_block
      rm -rf "$found"
      cargo bench --locked --bench decode >"$out/decode.txt" 2>&1
      nanoseconds() { # FILE... : the median of eight blocks, each
        sed 's/.*"median":{[^}]*}[^}]*"point_estimate":\([0-9.]*\).*/\1\n/' "$@"
      }
      for round in "$found"/ovpn_warden/*/new; do
        round=${round#"$found"/ovpn_warden/}
        nanoseconds "$found"/{lines_by_memchr,ovpn_warden_wiped,ovpn_warden,openvpn_mgmt_codec}/"$round/estimates.json" | paste -s -d ' '
      done | awk '{ print $2 / $1, $4 / $2, $0 }' >"$out/decode.rounds"
      verdict() { # COLUMN TEXT : of that ratio
        sort -n -k "$1,$1" "$out/decode.rounds" | awk -v column="$1" -v text="$2" '
          { ratio[NR] = $column; told[NR] = sprintf("ours %.0f ns, memchr %.0f, without wiping %.0f, theirs %.0f", $4 / 8, $3 / 8, $5 / 8, $6 / 8) }
          END {
            middle = int((NR + 1) / 2)
            is_met = column == 1 ? ratio[middle] <= 3 : ratio[middle] >= 3
            printf "%s    %s    measured %.2f (of %d rounds %.2f to %.2f; %s)\n", is_met ? "MET " : "MISS", text, ratio[middle], NR, ratio[1], ratio[NR], told[middle]
          }'
      }
      verdict 1 "a CONNECT block takes <= 3 x as long as splitting lines with memchr"
      verdict 2 "and openvpn-mgmt-codec takes >= 3 x as long"
      ;;
    *)
      echo "bench.sh: no bench '$name'" >&2
      exit 2
      ;;
  esac
done
echo "Two targets more, the stall and the time to the tunnel, are judged by make bench-openvpn."
exit "$status"
