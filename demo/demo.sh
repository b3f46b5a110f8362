#!/usr/bin/env bash
# demo.sh OVPN-WARDEN : the whole job with real parts; what `make demo` calls with the built program.
#
# A real OpenVPN server, the daemon on SQLite, and real clients with real tun devices. One line per
# promise with its verdict, and below it what the daemon logged meanwhile. Exit 0 only if all held.
#
# Everything happens in process, mount and network namespaces of its own, and every file is on a
# tmpfs in there. So demos do not see each other, and nothing is left of one, not even after SIGKILL.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
rig=$top/tests/rig
fail() { echo "demo: $*" >&2; exit 1; }

if [[ -z "${WARDEN_DEMO_INSIDE:-}" ]]; then
  [[ -x "${1:-}" ]] || fail "usage: demo.sh PATH-OF-THE-PROGRAM ovpn-warden"
  ((EUID == 0)) || fail "needs root, for network namespaces and tun devices"
  [[ -c /dev/net/tun ]] || fail "this machine has no /dev/net/tun"
  "$rig/install.sh" openvpn
  unshare --net --mount --pid --fork true 2>/dev/null ||
    fail "this machine allows no namespaces (in a container: run it privileged)"
  program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
  WARDEN_DEMO_INSIDE=1 exec "$rig/contain.sh" unshare --net "${BASH_SOURCE[0]}" "$program"
fi
[[ $$ == 1 ]] || fail "WARDEN_DEMO_INSIDE is not for you to set"

# ---- Stage -----------------------------------------------------------------------------------------

warden=$1
dir=/run/demo
trap 'exit 130' INT # process 1 ends, and the kernel takes everything with it
trap 'exit 143' TERM HUP
# Over /run, because `ip netns` keeps its names in /run/netns.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir "$dir" /run/netns
cd "$dir"

ip link set lo up
ip netns add client
ip link add to-client type veth peer name to-server netns client
ip addr add 192.0.2.1/24 dev to-client
ip link set to-client up
ip -n client link set lo up
ip -n client addr add 192.0.2.2/24 dev to-server
ip -n client link set to-server up
# OpenVPN sends the MAC of the adapter with the default route, beside what the configuration names. The
# route leads nowhere: without the tunnel nothing in 10.8.0.0/24 may answer.
ip -n client route add default via 192.0.2.254

mac=02:00:5e:10:00:01
password='correct horse battery staple'
openssl rand -hex 16 >management.pw
chmod 600 management.pw
"$rig/pki.sh" "$dir"
sed 's/^remote .*/remote 192.0.2.1 1194 udp/' "$top/conf/client.ovpn" >client.ovpn

cat >warden.toml <<CONF
[database]
url = "sqlite://$dir/warden.db"
[[servers]]
name = "demo"
management = "tcp://127.0.0.1:7505"
password_file = "$dir/management.pw"
[auth]
device_mode = "enforce"
[session]
limit_s = 20
[journal]
path = "$dir/journal.db"
[log]
format = "json"
[http]
listen = ""
CONF

# ---- Telling ---------------------------------------------------------------------------------------

touch daemon.log server.log setup.log
logged=0 # lines of daemon.log already shown
failed=0

# {"timestamp":"2026-01-02T03:04:05.678Z","level":"info","event":"link.up",...,"user":"al ice"}
#   -> 03:04:05.678 INFO  link.up user="al ice"
readable() {
  sed -E -e 's/"([a-zA-Z0-9_.]+)": ?("([^"\\]|\\.)*"|\[[^]]*\]|[^,{}]*)[,}]?/\1=\2 /g' -e 's/^\{|\}$//g' -e 's/="([^" ]*)"/=\1/g' \
    -e 's/(^| )timestamp=[0-9-]+T([0-9:.]+)Z/\2/' -e 's/ level=([a-zA-Z]+)/ \1/' -e 's/ event=/ /' \
    -e 's/ (message=("[^"]*"|[^ ]*)|server=demo)//g' -e 's/ +/ /g'
}

tell() { # ok|FAIL TEXT
  local total
  printf '%-4s %s\n' "$1" "$2"
  total=$(wc -l <daemon.log)
  sed -n "$((logged + 1)),${total}p" daemon.log | readable | sed 's/^/       /'
  logged=$total
}

verdict() { # TEXT LOG-FILE... : "ok" if $problem is empty
  if [[ -z "$problem" ]]; then tell ok "$1"; return; fi
  failed=1
  tell FAIL "$1"
  echo "     $problem"
  for log in "${@:2}"; do
    echo "     --- the end of $log"
    tail -n 15 "$log" | awk '{ print "     | " $0 }'
  done
}

# ---- Waiting and looking ---------------------------------------------------------------------------

within() { # SECONDS COMMAND... : polls until it holds; fails when the time is up
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
in_log() { grep -qE -- "$2" "$1"; }
event() { grep -E "\"event\": ?\"$1\"" daemon.log | grep -qE -- "${2:-.}"; }
ping_tunnel() { ip netns exec client ping -n -c 3 -i 0.2 -W 2 10.8.0.1 >ping.log 2>&1; }

client() { # NAME PASSWORD OPTION... -> $client_pid; its log is NAME.log
  printf 'alice\n%s\n' "$2" >"$1.login"
  chmod 600 "$1.login"
  ip netns exec client openvpn --cd "$dir" --config "${config:-client.ovpn}" --auth-user-pass "$1.login" "${@:3}" \
    >"$1.log" 2>&1 </dev/null &
  client_pid=$!
}

# ---- The play --------------------------------------------------------------------------------------

warden() { "$warden" -c warden.toml "$@"; }
{
  warden migrate &&
    printf '%s' "$password" | warden user add alice --password-stdin &&
    warden device add alice "$mac" --label laptop
} >setup.log 2>&1 || { cat setup.log >&2; fail "could not set up the database, the user and the device"; }

openvpn --cd "$dir" --config "$top/conf/openvpn-server.conf" >server.log 2>&1 </dev/null &
server_pid=$!
within 10 in_log server.log 'MANAGEMENT: TCP Socket listening' || { cat server.log >&2; fail "OpenVPN does not start"; }
"$warden" -c warden.toml run >daemon.log 2>daemon.err </dev/null & # not by the function: its process id is needed
warden_pid=$!
problem=
within 15 in_log server.log 'Initialization Sequence Completed' || problem="the server was not released from hold"
within 5 event link.up || problem="${problem:-the daemon reports no link.up}"
verdict "the daemon is attached and has released OpenVPN's hold" daemon.log daemon.err server.log
((failed == 0)) || exit 1

# (a) may come in
started=$SECONDS
client a "$password"
a_pid=$client_pid
problem=
if ! within 15 in_log a.log 'Initialization Sequence Completed'; then problem="not connected within 15 s"
elif ! ping_tunnel; then problem="no answer through the tunnel: $(tail -n 2 ping.log | head -n 1)"
elif ! within 5 event session.opened; then problem="the daemon has opened no session"
fi
verdict "right user, password and device: connected, $(grep -oE '[0-9]+ received' ping.log 2>/dev/null || echo 0) of 3 pings through the tunnel" \
  a.log server.log daemon.err

# (b) (c) (d) may not, while the 20 s of (a) pass
refused() { # NAME REASON TEXT-PATTERN : sets $problem, and $text to what the client was shown
  problem=
  within 20 gone "$client_pid" || problem="the client is still running"
  text=$(sed -nE 's/.*AUTH: Received control message: (AUTH_FAILED.*)/\1/p' "$1.log" | head -n 1)
  ! in_log "$1.log" 'Initialization Sequence Completed' || problem="the client was let in"
  [[ -n "$problem" || -n "$text" ]] || problem="the client was not told AUTH_FAILED"
  [[ -n "$problem" || "$text" =~ $3 ]] || problem="the client was told: $text"
  [[ -n "$problem" ]] || within 5 event auth.denied "\"reason\": ?\"$2\"" || problem="the daemon did not log the reason $2"
  kill "$client_pid" 2>/dev/null || true
}

client b 'wrong password'
refused b bad_credentials '^AUTH_FAILED'
verdict "wrong password: refused" b.log server.log daemon.err

client c "$password" --setenv UV_CLIENT_MAC 02:00:5e:10:00:02
refused c device_unknown '^AUTH_FAILED,.+'
verdict "right password on another device: refused, and the client sees why: ${text#AUTH_FAILED,}" c.log server.log daemon.err

sed '/^push-peer-info/d' client.ovpn >no-peer-info.ovpn
config=no-peer-info.ovpn client d "$password"
refused d device_missing '^AUTH_FAILED,.+'
verdict "a client without push-peer-info: refused, and the reason says so: ${text#AUTH_FAILED,}" d.log server.log daemon.err

# (e) time is up
problem=
halt='[Hh]alt command was pushed by server'
if gone "$a_pid"; then problem="the session ended before its limit"
elif ! ping_tunnel; then problem="the tunnel was dead before the limit"
elif ! within 35 gone "$a_pid"; then problem="the client is still running $((SECONDS - started)) s after its start"
elif ! in_log a.log "$halt"; then problem="the client was not told: its log has no 'Halt command was pushed by server'"
elif ((SECONDS - started < 19)); then problem="ended after only $((SECONDS - started)) s"
elif ! within 15 event session.closed; then problem="the daemon has closed no session"
elif ping_tunnel; then problem="the tunnel still answers"
elif (($(grep -cE '"event": ?"auth.allowed"' daemon.log) != 1)); then problem="the client came in again"
fi
text=$(sed -nE "s/.*$halt \('?([^')]*)'?\).*/\1/p" a.log | head -n 1)
verdict "the limit of 20 s reached: the client is told ($text) and stays out, the tunnel is dead" a.log server.log daemon.err

# (f) the books
row=
field() { # NAME : its value in the one session row, without quotes
  tr -d '\n' <<<"$row" | grep -oE "\"$1\" *: *(\"[^\"]*\"|[^,} ]*)" | head -n 1 | sed -E 's/^"[^"]*" *: *//; s/"//g'
}
complete() {
  row=$(warden --json session list --all 2>setup.log) && [[ "$(field cause)" == session_limit ]]
}
problem=
if ! within 10 complete; then problem="the row never had the cause session_limit: $(tr -d '\n' <<<"$row") $(<setup.log)"
elif (($(grep -oE '"cause" *:' <<<"$row" | wc -l) != 1)); then problem="there is more than one session: $(tr -d '\n' <<<"$row")"
elif ! [[ "$(field duration_s)" =~ ^(19|2[0-9]|30)(\.[0-9]+)?$ ]]; then problem="the duration is '$(field duration_s)'"
elif ! [[ "$(field bytes_received)" =~ ^[1-9][0-9]*$ && "$(field bytes_sent)" =~ ^[1-9][0-9]*$ ]]; then problem="the bytes are missing: $row"
fi
verdict "the session row: $(field user) on $(field device), $(field duration_s) s, $(field bytes_received) bytes received, $(field bytes_sent) sent, cause $(field cause)" \
  daemon.log daemon.err

# The daemon leaves, then the server: in the order that is safe for clients.
problem=
kill -TERM "$warden_pid" 2>/dev/null || problem="the daemon had ended by itself"
within 10 gone "$warden_pid" || problem="the daemon ignores SIGTERM"
status=0
wait "$warden_pid" || status=$?
((status == 0)) || problem="${problem:-the daemon ended with status $status}"
gone "$server_pid" && problem="the server ended with the daemon"
verdict "the daemon stops on request and leaves OpenVPN running" daemon.log daemon.err server.log

if ((failed)); then
  echo "demo: NOT everything held" >&2
  exit 1
fi
echo "demo: everything held, in $SECONDS s"
