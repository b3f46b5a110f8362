#!/usr/bin/env bash
# peers.sh [--short] [--cores-apart] [PEER...] : what `make bench-openvpn` calls. The same OpenVPN with different judges: time
# to the tunnel, logins per second, and how long the traffic of others stands still meanwhile. Writes docs/peers.json, which
# the chart is made of, and prints the table. With an option or peers named (ARGS=--short, ARGS='none ovpn-warden') nothing is
# written. Everything happens in namespaces and on a tmpfs of its own, on all cores, of which the clients have what the server's
# side leaves; --cores-apart: half of them are the server's alone, the others its clients'.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
rig=$top/tests/rig
if [[ -z "${WARDEN_PEERS_INSIDE:-}" ]]; then
  ((EUID == 0)) || { echo "peers.sh: needs root, for network namespaces and tun devices" >&2; exit 1; }
  "$rig/install.sh" build openvpn mariadb python3 peers
  (cd "$top" && cargo build --release --locked --bin ovpn-warden --example hash-alone)
  WARDEN_PEERS_INSIDE=1 exec "$rig/contain.sh" unshare --net "${BASH_SOURCE[0]}" "$@"
fi
trap 'exit 130' INT
trap 'exit 143' TERM HUP
out=$top/docs/peers.json
dir=/run/peers
# A copy of what PAM has, with one service more.
cp -r /etc/pam.d /tmp/pam.$$
mount -t tmpfs tmpfs /etc/pam.d
cp /tmp/pam.$$/* /etc/pam.d/
rm -r /tmp/pam.$$
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$dir" /run/netns /run/lock
cd "$dir"
ip link set lo up
ip netns add client
ip link add to-client type veth peer name to-server netns client
ip addr add 192.0.2.1/24 dev to-client
ip link set to-client up
ip -n client link set lo up
ip -n client addr add 192.0.2.2/24 dev to-server
ip -n client link set to-server up
"$rig/pki.sh" "$dir" client
mapfile -t cores < <(/usr/bin/python3 -c 'import os; print(*sorted(os.sched_getaffinity(0)), sep="\n")')
half=$((${#cores[@]} / 2))
server=$(IFS=, && echo "${cores[*]:0:half}") clients=$(IFS=, && echo "${cores[*]:half}")
if ((half == 0)) || [[ " $* " != *" --cores-apart "* ]]; then
  server=$(IFS=, && echo "${cores[*]}") clients=$server
fi
echo "cores of the server: $server, of its clients: $clients"
taskset -c "$server" "$rig/db.sh" start mariadb "$dir/db" >"$dir/db.env"
status=0
# In a session of its own, as Linux gives shares to sessions; with signals that a background job has not.
taskset -c "$clients" setsid env --default-signal=INT,QUIT /usr/bin/python3 "$here/bench.py" "$dir" "$top" "$out" "$server" "$@" &
wait $! || status=$?
"$rig/db.sh" stop "$dir/db"
exit "$status"
