#!/usr/bin/env bash
# cluster.sh : three database servers that are one, for tests: Galera (MariaDB) or Group Replication (MySQL).
#
#   cluster.sh start galera|group DIR   starts them in DIR/1, DIR/2 and DIR/3, and prints a line for eval: URL=
#   cluster.sh kill DIR N               SIGKILL, as a crash would
#   cluster.sh again DIR N              starts a killed one over its files, and waits until it is one of them again
#   cluster.sh part DIR N               takes its network to the others away, without a word; clients still reach it
#   cluster.sh hide DIR N               the same, and for clients, too
#   cluster.sh join DIR N               undoes both, and waits until it is one of them again
#   cluster.sh launch DIR N             as `again`, but does not wait
#   cluster.sh open DIR N               as `join`, but does not wait
#   cluster.sh mend DIR                 where none has a majority, does what docs/operations.md says; waits until the three are one again,
#                                       or, while one does not run, until those that do take writes if that can be
#   cluster.sh sql DIR N [DATABASE]     runs the SQL on stdin as the server's root
#   cluster.sh stop DIR                 stops all, and returns only when the processes are gone
#
# Each server has a network namespace of its own; a fourth one holds the bridge between them. Clients
# come by a door on 127.0.0.1, which socat holds open to the server's unix socket, so nothing of the
# machine's own network is touched. User `warden`, password `warden`, may do anything in databases named warden_*.
set -euo pipefail

fail() { echo "cluster.sh: $*" >&2; exit 1; }
usage() { fail "usage: cluster.sh start galera|group DIR | kill|again|part|hide|join|launch|open DIR N | mend DIR | sql DIR N [DATABASE] | stop DIR"; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# A server that lost its folder can write gigabytes of log in minutes: no file may pass this (blocks of 1 KB).
ulimit -f 1048576

# Running, and neither a zombie nor a stranger with a recycled pid: FILE tells its number, WORD is in its command.
alive() { # FILE WORD
  local pid
  [[ -s "$1" ]] && pid=$(<"$1") && [[ -r "/proc/$pid/stat" ]] &&
    [[ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null)" != Z* ]] &&
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$2"
}

launch() { # PIDFILE LOG COMMAND... : in the background and in a session of its own
  local pidfile=$1 log=$2
  shift 2
  setsid "$@" >>"$log" 2>&1 </dev/null &
  echo $! >"$pidfile"
  disown $!
}

end() { # PIDFILE WORD SIGNAL : returns when it is gone
  alive "$1" "$2" || { rm -f "$1"; return 0; }
  local pid
  pid=$(<"$1")
  kill "-$3" -- "-$pid" 2>/dev/null || kill "-$3" "$pid" 2>/dev/null || true
  for i in {1..600}; do
    alive "$1" "$2" || { rm -f "$1"; return 0; }
    ((i != 300)) || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.05
  done
  fail "process $pid does not end"
}

programs() { # -> server, client: what is the same for all
  if [[ "$kind" == galera ]]; then
    server=(/usr/sbin/mariadbd --no-defaults --user=mysql --innodb-log-file-size=16M --skip-log-bin --innodb-autoinc-lock-mode=2)
    client=(mariadb --no-defaults)
  else
    local root
    root=$("$here/mysql.sh" fetch)
    server=("$root/mysqld" --no-defaults --user="$(id -un)" --basedir="$root/usr" --lc-messages-dir="$root/usr/share/mysql"
      --character-sets-dir="$root/usr/share/mysql/charsets" --plugin-dir="$root/usr/lib/mysql/plugin"
      --secure-file-priv=NULL --mysqlx=OFF --performance-schema=OFF --innodb-redo-log-capacity=16M)
    client=("$root/mysql" --no-defaults --character-sets-dir="$root/usr/share/mysql/charsets")
  fi
  server+=(--bind-address=0.0.0.0 --port=3306 --skip-name-resolve --binlog-format=ROW
    --innodb-buffer-pool-size=32M --innodb-flush-log-at-trx-commit=2)
}

own() { # N -> own: what only this one has
  local at=$dir/$1
  own=(--datadir="$at/data" --socket="$at/sock" --pid-file="$at/server.pid" --tmpdir="$at/tmp")
  if [[ "$kind" == galera ]]; then
    own+=(--wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so --wsrep-node-address="10.99.0.$1"
      --wsrep-cluster-address=gcomm://10.99.0.1,10.99.0.2,10.99.0.3 --wsrep-sst-method=rsync
      --wsrep-provider-options="evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.3S;gcache.size=32M")
  else
    own+=(--server-id="$1" --report-host="10.99.0.$1" --gtid-mode=ON --enforce-gtid-consistency=ON
      --log-bin=binlog --max-binlog-size=64M --relay-log=relay --plugin-load-add=group_replication.so
      --group-replication-group-name=5b1f4ed0-6a3c-4d4e-9a52-3c9f5d6a7b10
      --group-replication-local-address="10.99.0.$1:33061"
      --group-replication-group-seeds=10.99.0.1:33061,10.99.0.2:33061,10.99.0.3:33061
      --group-replication-ip-allowlist=10.99.0.0/24 --group-replication-member-expel-timeout=0
      --group-replication-message-cache-size=134217728 --group-replication-recovery-get-public-key=ON
      --group-replication-recovery-reconnect-interval=2)
  fi
}

sql() { # N [ARGUMENT...]
  timeout 60 "${client[@]}" --socket="$dir/$1/sock" --user=root --batch --skip-column-names "${@:2}"
}

in_space() { # NAME COMMAND... : in the network namespace of a server, or of `hub`
  local keeper
  keeper=$(<"$dir/$1.keeper")
  nsenter --net="/proc/$keeper/ns/net" "${@:2}"
}

spaces() {
  local name
  for name in hub 1 2 3; do
    launch "$dir/$name.keeper" "$dir/log" unshare --net sleep infinity
  done
  for name in hub 1 2 3; do # a keeper is in its namespace when it has become `sleep`
    until [[ "$(tr '\0' ' ' <"/proc/$(<"$dir/$name.keeper")/cmdline")" == sleep* ]]; do sleep 0.01; done
    in_space "$name" ip link set lo up
  done
  in_space hub ip link add name bridge type bridge
  in_space hub ip link set bridge up
  for name in 1 2 3; do
    in_space hub ip link add name "node$name" type veth peer name wire netns "$(<"$dir/$name.keeper")"
    in_space hub ip link set "node$name" master bridge up
    in_space "$name" ip address add "10.99.0.$name/24" dev wire
    in_space "$name" ip link set wire up
  done
}

run() { # N [ARGUMENT...] : starts it
  local own
  own "$1"
  launch "$dir/$1/pid" "$dir/$1/log" nsenter --net="/proc/$(<"$dir/$1.keeper")/ns/net" \
    env TMPDIR="$dir/$1/tmp" "${server[@]}" "${own[@]}" "${@:2}"
}

sees_all() { # N : it sees itself and the others as they should be
  local state
  if [[ "$kind" == galera ]]; then
    state=$(sql "$1" -e "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_local_state', 'wsrep_ready')" 2>/dev/null) || return 1
    [[ "$state" == $'wsrep_local_state\t4\nwsrep_cluster_size\t'"$size"$'\nwsrep_ready\tON' ]]
  else
    state=$(sql "$1" -e "SELECT member_state FROM performance_schema.replication_group_members" 2>/dev/null) || return 1
    [[ "$state" == "$(for ((i = 0; i < size; i++)); do echo ONLINE; done)" ]]
  fi
}

all_see_all() { # SIZE : one that was away may not have noticed yet, so all are asked
  local size=$1 number
  for ((number = 1; number <= size; number++)); do sees_all "$number" || return 1; done
}

wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

rejoin() { # N : one that was thrown out does not always come back by itself
  local state
  [[ "$kind" == group ]] || return 0
  state=$(sql "$1" -e "SELECT member_state FROM performance_schema.replication_group_members" 2>/dev/null) || true
  [[ "$state" != ERROR && "$state" != OFFLINE ]] ||
    sql "$1" -e "STOP GROUP_REPLICATION; START GROUP_REPLICATION" >>"$dir/$1/log" 2>&1 || true
}

# By then all would have noticed a server that was away for less than that takes.
calm() { if [[ "$kind" == galera ]]; then echo 4; else echo 8; fi; }

member() { # N [SIZE] : waits until it is one of them, and nobody is about to find another away
  local end=$((SECONDS + 100)) since=-1 calm=0
  (($# > 1)) || calm=$(calm)
  while :; do
    if ! all_see_all "${2:-3}"; then
      since=-1
    elif ((since < 0)); then
      since=$SECONDS
    fi
    ((since < 0 || SECONDS - since < calm)) || return 0
    if ! alive "$dir/$1/pid" "$dir/$1/" || ((SECONDS > end)); then
      tail -n 30 "$dir/$1/log" >&2
      fail "server $1 does not join"
    fi
    rejoin "$1"
    sleep 0.1
  done
}

door() { # N : clients come in
  local port attempt
  for attempt in 1 2 3; do # someone may take the free port first
    port=$("$here/free-port.sh")
    launch "$dir/$1/door" "$dir/$1/log" socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork,backlog=64" "UNIX-CONNECT:$dir/$1/sock"
    sleep 0.2
    ! alive "$dir/$1/door" "$dir/$1/" || break
    ((attempt < 3)) || fail "no door to server $1"
  done
  echo "$port" >"$dir/$1/port"
}

start() {
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  [[ ! -e "$dir/kind" ]] || fail "$dir is in use: give an empty folder"
  ((${#dir} < 90)) || fail "$dir is too long a path for a unix socket"
  if [[ "$kind" == galera ]]; then "$here/install.sh" galera lab >&2; else "$here/install.sh" lab >&2; fi
  echo "$kind" >"$dir/kind"
  local server client number hosts=
  programs
  spaces
  mkdir -p "$dir"/{1,2,3}/tmp
  if [[ "$kind" == galera ]]; then
    # Galera's own scripts are not to run as root, and have their files where the server has its.
    chown -R mysql "$dir"/{1,2,3}
    chmod 711 "$dir"
    TMPDIR=$dir/1/tmp mariadb-install-db --no-defaults --user=mysql --datadir="$dir/1/data" --innodb-log-file-size=16M \
      --auth-root-authentication-method=normal --skip-test-db >"$dir/log" 2>&1 </dev/null ||
      { tail -n 20 "$dir/log" >&2; fail "mariadb-install-db failed"; }
    cp -a --sparse=always "$dir/1/data" "$dir/2/"
    cp -a --sparse=always "$dir/1/data" "$dir/3/"
    run 1 --wsrep-new-cluster
    member 1 1
    sql 1 -e "DELETE FROM mysql.global_priv WHERE User = ''; FLUSH PRIVILEGES"
  else
    "${server[@]}" --initialize-insecure --datadir="$dir/1/data" >"$dir/log" 2>&1 </dev/null ||
      { tail -n 20 "$dir/log" >&2; fail "mysqld --initialize failed"; }
    for number in 2 3; do
      cp -a --sparse=always "$dir/1/data" "$dir/$number/"
      rm -f "$dir/$number/data/auto.cnf" # its name in the group
    done
    for number in 1 2 3; do run "$number" --group-replication-start-on-boot=OFF; done
    for number in 1 2 3; do
      wait_for 60 answers "$number" || { tail -n 30 "$dir/$number/log" >&2; fail "server $number did not start"; }
      sql "$number" <<'SQL'
SET SQL_LOG_BIN = 0;
CREATE USER 'recovery'@'%' IDENTIFIED BY 'recovery';
GRANT REPLICATION SLAVE, CONNECTION_ADMIN, GROUP_REPLICATION_STREAM, BACKUP_ADMIN ON *.* TO 'recovery'@'%';
SET SQL_LOG_BIN = 1;
CHANGE REPLICATION SOURCE TO SOURCE_USER = 'recovery', SOURCE_PASSWORD = 'recovery' FOR CHANNEL 'group_replication_recovery';
SQL
      # The first file was written before there was a group.
      sql "$number" -e "RESET BINARY LOGS AND GTIDS"
    done
    sql 1 -e "SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION; SET GLOBAL group_replication_bootstrap_group = OFF"
    member 1 1
  fi
  sql 1 <<'SQL'
CREATE USER 'warden'@'%' IDENTIFIED BY 'warden';
GRANT ALL ON `warden\_%`.* TO 'warden'@'%';
SQL
  # What docs/operations.md asks for, so that a member that has lost the others is known.
  [[ "$kind" != group ]] || sql 1 -e "GRANT SELECT ON performance_schema.replication_group_members TO 'warden'@'%'"
  for number in 2 3; do
    if [[ "$kind" == galera ]]; then run "$number"; else sql "$number" -e "START GROUP_REPLICATION"; fi
    member "$number" "$number"
  done
  for number in 1 2 3; do
    door "$number"
    hosts+=${hosts:+,}127.0.0.1:$(<"$dir/$number/port")
  done
  printf 'URL=%s\n' "mysql://warden:warden@$hosts/"
}

answers() { sql "$1" -e 'SELECT 1' >/dev/null 2>&1; }

crash() { # N
  alive "$dir/$1/pid" "$dir/$1/" || fail "server $1 does not run"
  end "$dir/$1/pid" "$dir/$1/" KILL
}

recovered() { # N -> where a server of Galera was, by its files
  local own
  own "$1"
  rm -f "$dir/$1/recover.err"
  timeout 60 "${server[@]}" "${own[@]}" --wsrep-recover --log-error="$dir/$1/recover.err" >/dev/null 2>&1 || true
  sed -n 's/.*WSREP: Recovered position: *//p' "$dir/$1/recover.err" | tail -n 1
}

relaunch() { # N [ARGUMENT...]
  local position=()
  if [[ "$kind" == galera ]]; then # where it was: then it needs only what it has missed
    local found
    found=$(recovered "$1")
    [[ -z "$found" ]] || position=(--wsrep-start-position="$found")
  fi
  run "$1" "${position[@]}" "${@:2}"
}

running() { # -> the servers whose process is there
  local number
  for number in 1 2 3; do ! alive "$dir/$number/pid" "$dir/$number/" || echo "$number"; done
}

has_majority() { # N : it would take a write
  local state
  if [[ "$kind" == galera ]]; then
    state=$(sql "$1" -e "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_ready')" 2>/dev/null) || return 1
    [[ "$state" == $'wsrep_cluster_status\tPrimary\nwsrep_ready\tON' ]]
  else
    state=$(sql "$1" -e "SELECT SUM(member_id = @@server_uuid AND member_state = 'ONLINE') AND SUM(member_state <> 'UNREACHABLE') * 2 > COUNT(*)
      FROM performance_schema.replication_group_members" 2>/dev/null) || return 1
    [[ "$state" == 1 ]]
  fi
}

any_has_majority() {
  local number
  for number in $(running); do ! has_majority "$number" || return 0; done
  return 1
}

# What the last write set was that a server of Galera has; of one that does not run, by its files.
position() { # N
  if alive "$dir/$1/pid" "$dir/$1/"; then
    sql "$1" -e "SHOW STATUS LIKE 'wsrep_last_committed'" | cut -f 2
  else
    recovered "$1" | sed 's/.*://'
  fi
}

# The one with every transaction that any has is the new beginning. All are asked, also who does not run.
bootstrap_galera() {
  local number place best='' most=-1 told=
  for number in 1 2 3; do
    place=$(position "$number")
    [[ "$place" =~ ^[0-9]+$ ]] || fail "where server $number was is not known"
    told+=" $number at $place"
    # Of equals, one that runs.
    ((place > most)) || { ((place == most)) && ! alive "$dir/$best/pid" "$dir/$best/"; } || continue
    best=$number most=$place
  done
  echo "          cluster.sh: none has a majority:$told; server $best begins anew"
  if ! alive "$dir/$best/pid" "$dir/$best/"; then
    echo "          cluster.sh: server $best does not run, and has what no other has: it is waited for"
    return 1
  fi
  sql "$best" -e "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'"
}

# All leave what is left of the group, which takes more than a minute where the others are lost; then the one with every transaction that any has
# begins a new one. All are asked, also who was started outside the group.
bootstrap_group() {
  local number other best='' told='' leaving=()
  local -A has
  for number in 1 2 3; do
    timeout 180 "${client[@]}" --socket="$dir/$number/sock" --user=root -e "STOP GROUP_REPLICATION" >>"$dir/$number/log" 2>&1 &
    leaving+=($!)
  done
  for number in "${leaving[@]}"; do wait "$number" || fail "one does not leave the group"; done
  for number in 1 2 3; do # what it has, and what it has got and not done yet
    has[$number]=$(sql "$number" --raw -e "SELECT CONCAT_WS(',', @@GLOBAL.gtid_executed, (SELECT received_transaction_set FROM
      performance_schema.replication_connection_status WHERE channel_name = 'group_replication_applier'))" | tr -d '\n ')
    told+=" $number has ${has[$number]};"
  done
  for number in 1 2 3; do
    for other in 1 2 3; do
      [[ "$(sql "$number" -e "SELECT GTID_SUBSET('${has[$other]}', '${has[$number]}')")" == 1 ]] || continue 2
    done
    best=$number
    break
  done
  [[ -n "$best" ]] || fail "none has what all have:$told"
  echo "          cluster.sh: none has a majority:$told server $best begins anew"
  sql "$best" -e "SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION; SET GLOBAL group_replication_bootstrap_group = OFF"
}

# Whoever has a majority sees nobody as lost. Who comes back while its old self still counts keeps all from going on, and that for a minute.
settled() {
  local number state
  [[ "$kind" == group ]] || return 1
  for number in $(running); do
    has_majority "$number" || continue
    state=$(sql "$number" -e "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state = 'UNREACHABLE'") || continue
    [[ "$state" != 0 ]] || return 0
  done
  return 1
}

mend() {
  local end=$((SECONDS + 300)) since=-1 lost=-1 steady=-1 number calm
  calm=$(calm)
  while :; do
    if any_has_majority; then
      lost=-1
      if ! settled; then
        steady=-1
      elif ((steady < 0)); then
        steady=$SECONDS
      elif ((SECONDS - steady >= calm)); then
        for number in $(running); do has_majority "$number" || rejoin "$number"; done
      fi
      # Who does not run comes later.
      if (($(running | wc -l) == 3)) && ! all_see_all 3; then
        since=-1
      elif ((since < 0)); then
        since=$SECONDS
      fi
      ((since < 0 || SECONDS - since < calm)) || return 0
    else
      since=-1
      ((lost >= 0)) || lost=$SECONDS
      # They may come together by themselves.
      if ((SECONDS - lost >= 5)); then
        if [[ "$kind" == galera ]]; then
          bootstrap_galera || return 0 # and is started after this
        elif (($(running | wc -l) == 3)); then
          bootstrap_group
        else # what that one has is known when it runs
          return 0
        fi
        lost=-1
      fi
    fi
    if ((SECONDS > end)); then
      tail -n 30 "$dir"/{1,2,3}/log >&2
      fail "the three do not become one"
    fi
    sleep 0.1
  done
}

stop() {
  [[ -e "$dir/kind" ]] || return 0
  local number name
  for number in 1 2 3; do
    # A stopped door does not end by SIGTERM; nothing is lost with it.
    end "$dir/$number/door" "$dir/$number/" KILL
    ! alive "$dir/$number/pid" "$dir/$number/" || kill -TERM "$(<"$dir/$number/pid")"
  done
  for number in 1 2 3; do end "$dir/$number/pid" "$dir/$number/" TERM; done
  for name in 1 2 3 hub; do end "$dir/$name.keeper" sleep KILL; done
}

[[ $# -ge 2 ]] || usage
if [[ "$1" == start ]]; then
  [[ $# == 3 && ("$2" == galera || "$2" == group) ]] || usage
  kind=$2 dir=$3
  start
  exit
fi
dir=$(cd "$2" && pwd) || fail "no folder $2"
[[ -e "$dir/kind" ]] || { [[ "$1" == stop ]] && exit 0; fail "no cluster in $dir"; }
kind=$(<"$dir/kind")
programs
case "$1" in
  kill) [[ $# == 3 ]] || usage; crash "$3" ;;
  again) [[ $# == 3 ]] || usage; relaunch "$3"; member "$3" ;;
  launch)
    [[ $# == 3 ]] || usage
    # Whether there is a group that it can join is not known yet, and by itself it would take writes.
    if [[ "$kind" == group ]]; then relaunch "$3" --group-replication-start-on-boot=OFF --super-read-only=ON; else relaunch "$3"; fi
    ;;
  mend) [[ $# == 2 ]] || usage; mend ;;
  part) [[ $# == 3 ]] || usage; in_space hub bridge link set dev "node$3" state 0 ;;
  hide)
    [[ $# == 3 ]] || usage
    kill -STOP -- "-$(<"$dir/$3/door")"
    in_space hub bridge link set dev "node$3" state 0
    ;;
  open | join)
    [[ $# == 3 ]] || usage
    in_space hub bridge link set dev "node$3" state 3
    kill -CONT -- "-$(<"$dir/$3/door")"
    [[ "$1" == open ]] || member "$3"
    ;;
  stop) [[ $# == 2 ]] || usage; stop ;;
  sql) [[ $# == 3 || $# == 4 ]] || usage; sql "$3" "${@:4}" ;;
  *) usage ;;
esac
