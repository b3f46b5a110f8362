#!/usr/bin/env bash
# db.sh : private database servers for tests. The machine's own servers are never touched.
#
#   db.sh start mysql|mariadb DIR   starts one in DIR (made if absent; only there are its files)
#                                   and prints lines for eval: URL= PID= SOCKET= CA=
#   db.sh sql DIR [DATABASE]        runs the SQL on stdin as the server's root
#   db.sh stop DIR                  stops it, and returns only when the process is gone
#   db.sh kill DIR                  kills it (SIGKILL), as a crash would
#   db.sh again DIR                 starts a killed or stopped one over its files, on its port
#   db.sh fill DIR                  fills the disk of its data, or of its binary log where that has one of its own, and waits
#                                   until it has met that (WARDEN_RIG_FILL_S seconds, 60); ends with 3 when it has not
#   db.sh free DIR                  gives the space back
#
# With WARDEN_RIG_DISK=512m its data is on a file system of its own, of that size (needs root), with WARDEN_RIG_BINLOG=16m
# its binary log, which it has only then; only such a disk can be filled. `16m,nr_inodes=300` has room for so many files: that
# room is then what `fill` takes, as a full XFS refuses a new file. WARDEN_RIG_POOL=128M is its buffer pool (32M), WARDEN_RIG_OPTIONS
# are more options of the server.
# User `warden`, password `warden`, may do anything in databases named warden_*, creating them included.
# Both servers speak TLS: MySQL with the certificates it makes itself (no host name in them, so a
# client can verify the CA only), MariaDB with one for localhost and 127.0.0.1.
set -euo pipefail

fail() { echo "db.sh: $*" >&2; exit 1; }
usage() { fail "usage: db.sh start mysql|mariadb DIR | db.sh sql DIR [DATABASE] | db.sh stop|kill|again|fill|free DIR"; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Running, and neither a zombie (nobody may reap it in a container) nor a stranger with a recycled pid.
alive() { # PID DIR
  [[ -r "/proc/$1/stat" ]] && [[ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null)" != Z* ]] &&
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- "$2/"
}

programs() { # KIND -> server and client, as arrays
  case "$1" in
    mysql)
      local root
      root=$("$here/mysql.sh" fetch)
      server=("$root/mysqld" --no-defaults --basedir="$root/usr" --lc-messages-dir="$root/usr/share/mysql"
        --character-sets-dir="$root/usr/share/mysql/charsets" --plugin-dir="$root/usr/lib/mysql/plugin"
        --secure-file-priv=NULL --mysqlx=OFF --performance-schema=OFF --innodb-redo-log-capacity=16M)
      client=("$root/mysql" --no-defaults --character-sets-dir="$root/usr/share/mysql/charsets")
      ;;
    mariadb)
      "$here/install.sh" mariadb >&2
      server=(/usr/sbin/mariadbd --no-defaults --innodb-log-file-size=16M)
      client=(mariadb --no-defaults)
      ;;
    *) usage ;;
  esac
}

sql() { "${client[@]}" --socket="$dir/sock" --user=root --batch --skip-column-names "$@"; }

launch() { # COMMAND... : in the background; sets pid
  setsid "$@" >>"$dir/log" 2>&1 </dev/null 9>&- &
  pid=$!
  echo "$pid" >"$dir/pid"
}

answers() { # waits until the server does; fails when it has ended
  for _ in {1..1200}; do
    ! sql -e 'SELECT 1' >/dev/null 2>&1 || return 0
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

again() {
  local command pid
  dir=$(cd "$1" && pwd) || fail "no folder $1"
  programs "$(<"$dir/kind")"
  command=$(<"$dir/command")
  ulimit -f 1048576
  # MySQL asks whether the process in it is there; one that nobody reaps is.
  rm -f "$dir/sock.lock"
  eval "launch $command" # written by start(), each word quoted
  answers || { tail -n 30 "$dir/log" >&2; fail "the server did not start again"; }
  disown "$pid"
}

crash() {
  local pid
  dir=$(cd "$1" && pwd) || fail "no folder $1"
  pid=$(<"$dir/pid")
  alive "$pid" "$dir" || fail "the server does not run"
  kill -KILL "$pid"
  while alive "$pid" "$dir"; do sleep 0.01; done
}

disk_full() { grep -aqiE 'error 28|errcode: 28|errno 28|error number 28|is full|while rotating the binlog' <(tail -c "+$1" "$dir/log"); }

fill() {
  local before disk
  dir=$(cd "$1" && pwd) || fail "no folder $1"
  disk=$(filled)
  before=$(($(stat -c %s "$dir/log") + 1))
  if (($(stat -f -c %d "$disk") < 10000)); then # files
    for ((n = 0; n < 10000; n++)); do true 2>/dev/null >"$disk/filler-$n" || break; done
  else # What is left after the large blocks goes in small ones.
    for size in 1M 4K; do dd if=/dev/zero bs="$size" of="$disk/filler-$size" 2>/dev/null || true; done
  fi
  # Until a table needs a page more it does not notice.
  for ((step = 0; step < ${WARDEN_RIG_FILL_S:-60} * 10; step++)); do
    ! disk_full "$before" || { echo full; return 0; }
    sleep 0.1
  done
  echo "not met"
  return 3
}

filled() { # the disk that can be
  if [[ -e "$dir/binlog.disk" ]]; then echo "$dir/binlog"
  elif [[ -e "$dir/data.disk" ]]; then echo "$dir/data"
  else fail "it has no file system of its own: start it with WARDEN_RIG_DISK or WARDEN_RIG_BINLOG"; fi
}

free() {
  local disk
  dir=$(cd "$1" && pwd) || fail "no folder $1"
  disk=$(filled)
  rm -f "$disk"/filler-*
}

own_disk() { # NAME SIZE
  mkdir "$dir/$1"
  mount -t tmpfs -o "size=$2,mode=700" tmpfs "$dir/$1" || fail "no file system for the $1: that needs root"
  touch "$dir/$1.disk"
}

start() {
  local kind=$1 account port pid
  mkdir -p "$2"
  dir=$(cd "$2" && pwd)
  [[ ! -e "$dir/data" ]] || fail "$dir/data exists already: give an empty folder"
  ((${#dir} < 95)) || fail "$dir is too long a path for a unix socket"
  # Its own: two servers in process namespaces of their own may have one process id, and name files in /tmp alike.
  mkdir "$dir/tmp"
  account=$(id -un)
  local binlog=(--skip-log-bin)
  [[ -z "${WARDEN_RIG_DISK:-}" ]] || own_disk data "$WARDEN_RIG_DISK"
  if [[ -n "${WARDEN_RIG_BINLOG:-}" ]]; then
    own_disk binlog "$WARDEN_RIG_BINLOG"
    binlog=(--log-bin="$dir/binlog/log" --server-id=1 --binlog-format=ROW)
  fi
  local pool=${WARDEN_RIG_POOL:-32M} largest=1048576 # blocks of 1 KB
  [[ -z "${WARDEN_RIG_LARGE:-}" ]] || { pool=3G largest=$((16 << 20)); }
  programs "$kind"
  local options
  read -ra options <<<"${WARDEN_RIG_OPTIONS:-}"
  server+=(--user="$account" --datadir="$dir/data" --socket="$dir/sock" --pid-file="$dir/server.pid"
    --tmpdir="$dir/tmp" --bind-address=127.0.0.1 --skip-name-resolve "${binlog[@]}" "${options[@]}" --innodb-buffer-pool-size="$pool"
    --innodb-flush-log-at-trx-commit=2) # survives a killed server, not a power cut: enough here

  # A server that lost its folder can write gigabytes of log in minutes: no file may pass this.
  ulimit -f "$largest"
  if [[ "$kind" == mysql ]]; then
    # What it fills its tables with is no part of the log.
    "${server[@]}" --skip-log-bin --initialize-insecure >"$dir/log" 2>&1 </dev/null || { tail -n 20 "$dir/log" >&2; fail "mysqld --initialize failed"; }
    ca=$dir/data/ca.pem
  else
    "$here/pki.sh" "$dir/pki"
    server+=(--ssl-ca="$dir/pki/ca.crt" --ssl-cert="$dir/pki/server.crt" --ssl-key="$dir/pki/server.key")
    TMPDIR=$dir/tmp mariadb-install-db --no-defaults --user="$account" --datadir="$dir/data" --innodb-log-file-size=16M \
      --auth-root-authentication-method=normal --skip-test-db >"$dir/log" 2>&1 </dev/null ||
      { tail -n 20 "$dir/log" >&2; fail "mariadb-install-db failed"; }
    ca=$dir/pki/ca.crt
  fi

  for attempt in 1 2 3; do # someone may take the free port first
    port=$("$here/free-port.sh")
    # A session of its own: Ctrl-C in the terminal must reach the script that stops it, not the server.
    launch "${server[@]}" --port="$port"
    ! answers || break
    ! kill -0 "$pid" 2>/dev/null || { stop "$dir"; break; }
    ((attempt < 3)) || break
  done
  kill -0 "$pid" 2>/dev/null || { tail -n 30 "$dir/log" >&2; fail "$kind did not start"; }
  disown "$pid"

  # MariaDB's anonymous users would catch every local login before `warden`@`%`.
  [[ "$kind" == mysql ]] || sql -e "DELETE FROM mysql.global_priv WHERE User = ''; FLUSH PRIVILEGES"
  sql <<'SQL'
CREATE USER 'warden'@'%' IDENTIFIED BY 'warden';
GRANT ALL ON `warden\_%`.* TO 'warden'@'%';
FLUSH PRIVILEGES;
SQL
  echo "$kind" >"$dir/kind"
  printf '%q ' "${server[@]}" --port="$port" >"$dir/command"
  printf 'URL=%q\nPID=%q\nSOCKET=%q\nCA=%q\n' "mysql://warden:warden@127.0.0.1:$port/" "$pid" "$dir/sock" "$ca"
}

stop() {
  local pid
  dir=$(cd "$1" && pwd) || fail "no folder $1"
  [[ -s "$dir/pid" ]] || { leave; return 0; }
  pid=$(<"$dir/pid")
  if alive "$pid" "$dir"; then
    kill -TERM "$pid" 2>/dev/null || true
    for i in {1..400}; do
      alive "$pid" "$dir" || break
      ((i != 300)) || kill -KILL "$pid" 2>/dev/null || true # 30 s are enough for a test server
      sleep 0.1
    done
    ! alive "$pid" "$dir" || fail "process $pid does not end"
  fi
  rm -f "$dir/pid"
  leave
}

leave() { # the file systems of its own
  local disk
  for disk in data binlog; do
    [[ ! -e "$dir/$disk.disk" ]] || ! mountpoint -q "$dir/$disk" || umount --lazy "$dir/$disk"
  done
}

case "${1:-}" in
  start) [[ $# == 3 ]] || usage; start "$2" "$3" ;;
  stop) [[ $# == 2 ]] || usage; stop "$2" ;;
  kill) [[ $# == 2 ]] || usage; crash "$2" ;;
  again) [[ $# == 2 ]] || usage; again "$2" ;;
  fill) [[ $# == 2 ]] || usage; fill "$2" ;;
  free) [[ $# == 2 ]] || usage; free "$2" ;;
  sql)
    [[ $# == 2 || $# == 3 ]] || usage
    dir=$(cd "$2" && pwd)
    programs "$(<"$dir/kind")"
    sql "${@:3}"
    ;;
  *) usage ;;
esac
