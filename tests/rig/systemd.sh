#!/usr/bin/env bash
# systemd.sh PACKAGE.deb : what `make test-deb` calls too. The package under a real systemd, process 1 of a clean Debian in
# namespaces of its own: the unit is started, reloaded, restarted, killed, hung, upgraded, cut off and removed, while a client of
# a real OpenVPN goes on. At last it is installed by hand, with the README's own words.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ "$1" == --boot ]]; then # ROOT: in namespaces of its own, from below
  root=$2
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
  chmod 1777 "$root/tmp"
  mkdir "$root"/dev/{net,pts,shm}
  for node in null zero full random urandom tty net/tun; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ip link set lo up
  hostname warden-rig
  mkdir -p "$root/old"
  cd "$root"
  pivot_root . old
  exec /usr/bin/env -i container=rig PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /bin/sh -c 'umount -l /old && exec /lib/systemd/systemd' <dev/null >dev/null 2>&1
fi

package=$(realpath "$1")
if [[ -z "${WARDEN_RIG_CONTAINED:-}" ]]; then
  ((EUID == 0)) || { echo "systemd.sh: needs root, for namespaces" >&2; exit 1; }
  [[ -c /dev/net/tun ]] || { echo "systemd.sh: this machine has no /dev/net/tun" >&2; exit 1; }
  "$here/install.sh" debootstrap openvpn lab mariadb dns
  WARDEN_RIG_CONTAINED=1 exec "$here/contain.sh" "${BASH_SOURCE[0]}" "$@"
fi
unset WARDEN_RIG_CONTAINED
# shellcheck source=tests/rig/root.sh
source "$here/root.sh"
clean_root systemd adduser,init-system-helpers,systemd,systemd-sysv,openvpn,iproute2,iputils-ping,procps,socat
docs=$here/../../docs
# shellcheck source=tests/rig/systemd-mysql.sh
source "$here/systemd-mysql.sh"

# ---- The machine -----------------------------------------------------------------------------------

# A control group of its own, so that this systemd sees and touches no other's.
groups=/sys/fs/cgroup
[[ -e "$groups/cgroup.procs" ]] || groups=$groups/unified
group=$groups/warden-rig.$$.$RANDOM
# shellcheck disable=SC2317  # called by the trap
clear_machine() {
  end_elsewhere
  [[ -z "${machine:-}" ]] || cut_off
  find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
  clear_root
}
trap clear_machine EXIT
mkdir "$group"
cut_off() { { kill -KILL "$machine" && wait "$machine"; } 2>/dev/null || true; }

boot() { # -> $pid, the systemd, and $machine, what holds its namespaces
  ( echo "$BASHPID" >"$group/cgroup.procs"
    exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup "${BASH_SOURCE[0]}" --boot "$root" ) 9>&- &
  machine=$!
  within 60 has_child
  pid=$(tr -d ' ' <"/proc/$machine/task/$machine/children")
  within 120 running
}
has_child() { [[ -n "$(<"/proc/$machine/task/$machine/children")" ]]; }
running() { [[ "$(inside systemctl is-system-running 2>/dev/null)" =~ ^(running|degraded)$ ]]; }
inside() {
  nsenter -t "$pid" -m -u -i -n -p -C -r -w \
    /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}
within() { # SECONDS COMMAND... : polls until it holds; fails when the time is up
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}
warden() { inside runuser -u ovpn-warden -- ovpn-warden "$@"; }
unit() { inside systemctl "$1" --no-pager ovpn-warden; }
main() { inside systemctl show -p MainPID --value ovpn-warden; }
lines() { inside journalctl -u ovpn-warden -o cat --no-pager; }
# Of this run of the daemon.
said() { inside journalctl -b "_PID=$(main)" -o cat --no-pager | grep -F "\"event\":\"$1\""; }
install_() { cp "$1" "$root/root/new.deb" && inside dpkg -i --force-confold /root/new.deb; }

# ---- A client, and what may not change under it ----------------------------------------------------

client_network() { # a network of its own for clients
  inside sh -ec 'ip netns add client
    ip link add to-client type veth peer name to-server netns client
    ip addr add 192.0.2.1/24 dev to-client; ip link set to-client up
    ip -n client link set lo up; ip -n client addr add 192.0.2.2/24 dev to-server; ip -n client link set to-server up
    ip -n client route add default via 192.0.2.254'
}
start_client() { # UNIT
  inside systemd-run -q --unit="$1" ip netns exec client openvpn --cd /etc/openvpn/client --config client.conf --auth-user-pass login
}

address() { inside ip netns exec client ping -n -c 3 -i 0.2 -W 2 10.8.0.1; }
session() { warden --json session list | grep -oE '"id": ?"[^"]*"' | head -n 1; }
goes_on() { # the same tunnel, the same session, the same OpenVPN
  address || { echo "nothing through the tunnel"; return 1; }
  (($(inside journalctl -u client -o cat | grep -c 'Initialization Sequence Completed') == 1)) || { echo "it has connected again"; return 1; }
  [[ "$(session)" == "$first" && -n "$first" ]] || { echo "the session is $(session), not $first"; return 1; }
  [[ "$(inside systemctl show -p MainPID --value openvpn-server@warden)" == "$server" ]] || { echo "OpenVPN is another"; return 1; }
}
another() { [[ "$(main)" != "$1" && "$(main)" != 0 ]]; }
at_socket() { # USER: what the console answers to who came by the proxy
  printf 'GET / HTTP/1.0\r\nX-Forwarded-User: anna\r\n\r\n' |
    inside timeout 20 setpriv --reuid "$1" --regid "$1" --clear-groups socat -,ignoreeof UNIX:/run/ovpn-warden-console/console.sock
}
cannot() { ! "$@"; }
# What a process is free to do that the unit forbids, by the directive, in alphabetical order.
freedoms() { # PID
  local its=$1 name set path
  local -A directives=([CapInh]=CapabilityBoundingSet [CapPrm]=CapabilityBoundingSet [CapEff]=CapabilityBoundingSet
    [CapBnd]=CapabilityBoundingSet [CapAmb]=AmbientCapabilities)
  inside cat "/proc/$its/status" >"$dir/status" || { echo nobody; return; }
  value() { sed -n "s/^$1:[[:space:]]*//p" "$dir/status"; }
  # As the daemon, or as root, which no mode keeps out, where the daemon is.
  may_write() { inside nsenter -t "$its" -m setpriv "${@:2}" sh -c "touch '$1' && rm '$1'" 2>"$dir/refused"; }
  {
    for set in "${!directives[@]}"; do [[ "$(value "$set")" == 0000000000000000 ]] || echo "${directives[$set]}"; done
    [[ "$(value NoNewPrivs)" == 1 ]] || echo NoNewPrivileges
    [[ "$(value Seccomp)" == 2 ]] || echo SystemCallFilter
    name=$(inside id -u ovpn-warden)
    [[ "$(value Uid)" == "$name"$'\t'"$name"$'\t'"$name"$'\t'"$name" ]] || echo User
    inside awk '$5 == "/" { last = $6 } END { exit last !~ /^ro(,|$)/ }' "/proc/$its/mountinfo" || echo ProtectSystem
    for path in /x /etc/x /usr/x /var/x /var/lib/x; do
      ! may_write "$path" --reuid "$(value Uid | cut -f1)" --regid "$(value Gid | cut -f1)" --clear-groups || echo ProtectSystem
      { ! may_write "$path" && grep -q 'Read-only file system' "$dir/refused"; } || echo ProtectSystem
    done
  } | sort -u | xargs
}
boxed() { # PID WHAT-IT-IS-FREE-TO-DO
  local seen
  seen=$(freedoms "$1")
  [[ "$seen" == "$2" ]] || { echo "free of: $seen"; return 1; }
}
nice_hashes() { # the unit lets them
  local found
  found=$(inside ps -L -o comm=,ni= -p "$(main)" | awk '/^hash-/ { print $2 }' | sort -u | xargs)
  [[ "$found" == 5 ]] || { echo "their nice values are: $found"; return 1; }
  # Linux 6.12 and later say so; there is none to be set before.
  found=$(inside sh -c 'for task in "/proc/$0/task/"*; do grep -q "^hash-" "$task/comm" && cat "$task/sched"; done' "$(main)" |
    sed -n 's/^se\.slice *: *//p' | sort -u | xargs)
  [[ "$found" == "${found:+10000000}" ]] || { echo "their slices are: $found"; return 1; }
}
pausing_hashes() { # it lets them do that, too: each has a timer of its own, by proc(5)
  local threads timers
  threads=$(inside ps -L -o comm= -p "$(main)" | grep -c '^hash-')
  timers=$(inside cat "/proc/$(main)/timers" | grep -c '^notify: signal/tid\.')
  ((threads > 0 && timers == threads)) || { echo "$threads threads and $timers timers"; return 1; }
}
light() { # the unit makes it so, and the kernel knows it where it shares processors between units
  local group weight
  [[ "$(inside systemctl show -p CPUWeight --value ovpn-warden)" == 10 ]] || { inside systemctl show -p CPUWeight ovpn-warden; return 1; }
  group=$(inside systemctl show -p ControlGroup --value ovpn-warden)
  weight=$(inside sh -c "cat /sys/fs/cgroup$group/cpu.weight 2>/dev/null" || true)
  [[ -z "$weight" || "$weight" == 10 ]] || { echo "its weight is $weight"; return 1; }
}
everything='AmbientCapabilities CapabilityBoundingSet NoNewPrivileges ProtectSystem SystemCallFilter User'

newer "$package"
boot

echo "== install"
ok "dpkg installs it" install_ "$package"
ok "the unit is enabled" unit is-enabled
ok "and started; it has told systemd that it is ready" unit is-active
ok "it waits for OpenVPN" within 10 said link.lost
ok "journald has JSON lines" grep -q '^{"timestamp":"' <(lines)

# As docs/console.md says.
grep '^d /run/ovpn-warden-console' "$docs/console.md" >"$root/etc/tmpfiles.d/ovpn-warden-console.conf"
mkdir "$root/etc/systemd/system/ovpn-warden.service.d"
{ echo '[Service]'; grep '^ReadWritePaths=' "$docs/console.md"; } >"$root/etc/systemd/system/ovpn-warden.service.d/console.conf"
inside systemd-tmpfiles --create /etc/tmpfiles.d/ovpn-warden-console.conf
cat >>"$root/etc/ovpn-warden/config.toml" <<'CONF'
relay = "unix:///run/ovpn-warden/openvpn.sock"
[console]
listen = "unix:///run/ovpn-warden-console/console.sock"
proxy_header = "X-Forwarded-User"
CONF
inside systemctl daemon-reload
ok "the configuration is accepted" warden check
ok "systemctl restart takes it" unit restart
ok "the relay has its socket" within 5 inside test -S /run/ovpn-warden/openvpn.sock
ok "the proxy's user gets at the console" grep -q 'Signed in: <b>anna</b>' <(at_socket www-data)
ok "but not at the daemon's secrets" cannot inside setpriv --reuid www-data --regid www-data --clear-groups cat /etc/ovpn-warden/mgmt.pw
ok "nobody else gets at the console" cannot at_socket nobody

echo "== a client of a real OpenVPN"
"$here/pki.sh" "$root/etc/openvpn/server" >/dev/null
cp "$root"/etc/openvpn/server/{ca.crt,client.crt,client.key,tls-crypt.key} "$root/etc/openvpn/client/"
sed 's|management.pw|/etc/ovpn-warden/mgmt.pw|' "$root/usr/share/doc/ovpn-warden/openvpn-server.conf" >"$root/etc/openvpn/server/warden.conf"
sed 's/^remote .*/remote 192.0.2.1 1194 udp/' "$here/../../conf/client.ovpn" >"$root/etc/openvpn/client/client.conf"
password='correct horse battery staple'
printf 'alice\n%s\n' "$password" >"$root/etc/openvpn/client/login"
chmod 600 "$root/etc/openvpn/client/login"
client_network
ok "the user and the device are added" eval "warden user add alice --password-stdin <<<'$password' && warden device add alice 02:00:5e:10:00:01"
ok "openvpn-server@warden starts" inside systemctl enable --now openvpn-server@warden
ok "the daemon has attached" within 15 said link.up
ok "a client is started" start_client client
ok "and gets through" within 20 address
ok "it has a session" within 10 session
first=$(session)
server=$(inside systemctl show -p MainPID --value openvpn-server@warden)
ok "which journald tells of" said session.opened
# With systemd's own lines about the unit between ours.
story() {
  local command
  command=$(sed -n 's/^ *\(journalctl .* | jq .*\)/\1/p' "$here/../../README.md")
  # shellcheck disable=SC2086,SC2016
  inside ${command%% | *} | sh -c "${command#* | }" | jq -r .event | sort -u | xargs | grep -F 'auth.allowed session.opened'
}
ok "the README's line tells her story" story

echo "== its box, while it serves her"
ok "no capabilities, no new ones, calls filtered, not root, everything read-only" boxed "$(main)" ''
kept=/var/lib/ovpn-warden/x
ok "but what it keeps" inside nsenter -t "$(main)" -m setpriv --reuid ovpn-warden --regid ovpn-warden --clear-groups sh -c "touch $kept && rm $kept"
ok "a service of nothing but a name" inside systemd-run -q --unit=bare -p AmbientCapabilities=CAP_CHOWN sleep infinity
ok "is free to do all of that" boxed "$(inside systemctl show -p MainPID --value bare)" "$everything"
inside systemctl stop bare
ok "its hashing threads come after all others" nice_hashes
ok "and pause" pausing_hashes
ok "of a full processor it gets a tenth of what OpenVPN gets" light

echo "== the unit, under it"
old=$(main)
sed -i '$a [log]\nlevel = "debug"' "$root/etc/ovpn-warden/config.toml"
ok "systemctl reload is taken" unit reload
ok "by the same process" test "$(main)" == "$old"
ok "and told" within 5 said config.reloaded
ok "systemctl restart" unit restart
ok "the session is adopted" within 15 said session.adopted
ok "and the client goes on" goes_on
old=$(main)
inside kill -KILL "$old"
ok "a daemon that is killed is started again" within 15 another "$old"
ok "the session is adopted" within 15 said session.adopted
ok "and the client goes on" goes_on
old=$(main)
inside kill -STOP "$old"
ok "one that hangs is ended by the watchdog and started again" within 60 another "$old"
ok "the session is adopted" within 15 said session.adopted
ok "and the client goes on" goes_on
ok "systemctl stop" unit stop
ok "takes less than its time-out and is clean" test "$(inside systemctl show -p Result --value ovpn-warden)" == success
ok "the daemon has said so" grep -q '"event":"daemon.stopping"' <(lines)
ok "nothing is left in /run" cannot inside test -e /run/ovpn-warden
ok "systemctl start" unit start
ok "the session is adopted" within 15 said session.adopted
ok "and the client goes on" goes_on

echo "== upgrade"
old=$(main)
ok "dpkg upgrades it" install_ "$dir/newer.deb"
ok "the new one runs" another "$old"
ok "the session is adopted" within 15 said session.adopted
ok "and the client goes on" goes_on
ok "the unit is still enabled" unit is-enabled

echo "== power cut"
cut_off
boot
ok "after it the unit is active" within 30 unit is-active
ok "and attached to OpenVPN" within 30 said link.up
closed() { warden --json session list --all | tr -d '\n ' | grep -F "${first//[[:space:]]/}" | grep -q '"cause":"server_restarted"'; }
ok "the session of before is closed" within 15 closed

mysql_in_its_box

echo "== remove"
secret=$(<"$root/etc/ovpn-warden/mgmt.pw")
ok "dpkg removes it" inside dpkg -r ovpn-warden
ok "the daemon is stopped" cannot unit is-active
ok "OpenVPN is not" inside systemctl is-active openvpn-server@warden
ok "dpkg purges it" inside dpkg -P ovpn-warden
ok "systemd knows no such unit" cannot inside systemctl cat ovpn-warden

echo "== by hand, as the README says, on a machine that never had it"
readme=$here/../../README.md
by_hand() { # BEGIN : runs what stands in the README between backquotes and has these words; it is built already
  local command
  command=$(tr -s '\n ' ' ' <"$readme" | grep -o '`[^`]*`' | tr -d '`' | grep -F -m 1 -- "$1") || { echo "README.md has no $1"; return 1; }
  inside sh -ec "cd /root/checkout && ${command#make build && }"
}
inside userdel ovpn-warden
rm -rf "$root"/var/lib/ovpn-warden "$root"/etc/systemd/system/ovpn-warden*
mkdir -p "$root/root/checkout/target/release"
dpkg-deb --fsys-tarfile "$package" | tar -xO ./usr/bin/ovpn-warden >"$root/root/checkout/target/release/ovpn-warden"
cp -r "$here/../../conf" "$root/root/checkout/"
ok "the program" by_hand 'install -m 0755'
ok "its user" by_hand 'useradd --system'
ok "its folder" by_hand 'install -d -o root'
ok "a secret's file" by_hand 'install -m 0640 -g'
ok "which is not for everybody" test "$(inside stat -c '%U:%G %a' /etc/ovpn-warden/mgmt.pw)" == "root:ovpn-warden 640"
inside cp -p /etc/ovpn-warden/mgmt.pw /etc/ovpn-warden/database.url
echo "$secret" >"$root/etc/ovpn-warden/mgmt.pw"
echo 'sqlite:///var/lib/ovpn-warden/warden.db' >"$root/etc/ovpn-warden/database.url"
sed -n '/^ *\[database\]$/,/^ *limit_s/s/^ *//p' "$readme" >"$root/etc/ovpn-warden/config.toml"
ok "the unit" by_hand 'install -m 0644'
ok "it runs" within 15 unit is-active
ok "attached to the OpenVPN that runs" within 15 said link.up
follow() { inside timeout 2 journalctl -fu ovpn-warden || (($? == 124)); }
ok "journalctl -fu shows it" grep -q '"event":"link.up"' <(follow)
installed() { inside runuser -u ovpn-warden -- /usr/local/bin/ovpn-warden "$@"; }
ok "the first commands work" eval "installed user add bob --password-stdin <<<'$password' && installed session list"
((failed == 0)) && echo "all held"
exit "$failed"
