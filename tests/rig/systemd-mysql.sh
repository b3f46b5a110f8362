# shellcheck shell=bash
# systemd-mysql.sh : sourced by systemd.sh, whose words it uses: the package's daemon, boxed in, with a MariaDB on another host.

# ---- Another host, as the machine sees one ---------------------------------------------------------

# A network of its own at the other end of a wire, with a MariaDB that takes nothing but TLS, and a name server.
here_v4=198.51.100.1 there_v4=198.51.100.10
here_v6=2001:db8:5::1 there_v6=2001:db8:5::10
# The same host, by an address that its certificate does not name.
other_v4=198.51.100.11
names=(db.example.net db6.example.net)

there() { nsenter -t "$elsewhere" -n "$@"; }
sql_there() { "$here/db.sh" sql "$dir/db" <<<"$1"; } # SQL

begin_elsewhere() {
  local name san
  unshare --net sleep infinity 9>&- &
  elsewhere=$!
  within 10 has_own_network
  there ip link set lo up
  there ip link add to-warden type veth peer name to-db netns "$pid"
  there sh -ec "ip addr add $there_v4/24 dev to-warden; ip addr add $other_v4/24 dev to-warden; ip addr add $there_v6/64 dev to-warden nodad; ip link set to-warden up"
  inside sh -ec "ip addr add $here_v4/24 dev to-db; ip addr add $here_v6/64 dev to-db nodad; ip link set to-db up"
  within 10 reaches "$there_v4"
  within 10 reaches "$there_v6"

  # What is there is kept by db.sh: an authority, and a certificate of these names. And an authority that signed none.
  "$here/pki.sh" "$dir/db/pki"
  "$here/pki.sh" "$dir/stranger"
  san=,IP:$there_v4,IP:$there_v6
  for name in "${names[@]}"; do san+=,DNS:$name; done
  ln -s ca.crt "$dir/db/pki/ca.pem"
  openssl req -new -key "$dir/db/pki/server.key" -subj /CN=database -out "$dir/db/pki/server.csr"
  sign_as_operations_say "$dir/db/pki" "${san#,}"
  mv "$dir/db/pki/server.pem" "$dir/db/pki/server.crt"
  # Its own tables tell who has come, and how each connection is encrypted.
  WARDEN_RIG_OPTIONS="--bind-address=* --require-secure-transport=ON --performance-schema=ON --general-log=ON --log-output=TABLE" \
    there "$here/db.sh" start mariadb "$dir/db" >"$dir/db.vars"
  port=$(sed -n 's|^URL=.*:\([0-9]*\)/$|\1|p' "$dir/db.vars")

  nsenter -t "$elsewhere" -n dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --no-resolv --no-hosts --user=root --bind-interfaces \
    --listen-address="$there_v4" --host-record="${names[0]},$there_v4" --host-record="${names[1]},$there_v6" 9>&- &
  names_pid=$!
  echo "nameserver $there_v4" >"$root/etc/resolv.conf"
  within 10 inside getent hosts "${names[0]}" >/dev/null
}
reaches() { inside ping -n -c 1 -W 1 "$1" >/dev/null; }
has_own_network() { [[ "$(readlink "/proc/$elsewhere/ns/net")" != "$(readlink /proc/self/ns/net)" ]]; }

# shellcheck disable=SC2317  # called by the trap
end_elsewhere() {
  # It may not write to a folder that goes.
  [[ ! -e "$dir/db/pid" ]] || "$here/db.sh" stop "$dir/db" || true
  for process in ${names_pid:-} ${elsewhere:-}; do { kill "$process" && wait "$process"; } 2>/dev/null || true; done
}

# ---- The database's side ---------------------------------------------------------------------------

secret=canary-of-the-database seen=0
# The one row of a session, as columns.
row() { sql_there "SELECT CONCAT_WS(' ', $1) FROM vpn.sessions"; }
row_is() { [[ "$(row "$1")" == "$2" ]] || { echo "the row is $(row "$1"), not $2"; return 1; }; }
connections() { # COLUMNS : of each that the daemon's account has there, made since the last `restarted`
  sql_there "SELECT $1 FROM information_schema.PROCESSLIST p JOIN performance_schema.threads t ON t.PROCESSLIST_ID = p.ID
    JOIN performance_schema.status_by_thread s USING (THREAD_ID) WHERE p.USER = 'vpn' AND p.ID > $seen AND s.VARIABLE_NAME = 'Ssl_cipher'"
}
in_secret() { # all of them, and there is one
  local found
  found=$(connections s.VARIABLE_VALUE)
  [[ -n "$found" ]] && ! grep -qv '^TLS_' <<<"$found" || { echo "the ciphers are: $found"; return 1; }
}
comes_from() { # ADDRESS : the daemon, and from nowhere else
  local found
  found=$(connections "DISTINCT REGEXP_REPLACE(p.HOST, ':[0-9]+\$', '')")
  [[ "$found" == "$1" ]] || { echo "it comes from: $found"; return 1; }
}
nobody_came() { [[ -z "$(connections p.ID)" && "$(sql_there "SELECT COUNT(*) FROM mysql.general_log WHERE command_type = 'Connect' AND user_host LIKE '%vpn%'")" == 0 ]]; }

# ---- The operator's --------------------------------------------------------------------------------

set_url() { # HOST PARAMETERS : the file is there, with its mode
  echo "mysql://vpn:$secret@$1:$port/vpn$2" >"$root/etc/ovpn-warden/database.url"
}
as_operations_say() { # BEGIN : runs the line of operations.md that begins so
  local line
  line=$(sed -n "s|^    \($1.*\)|\1|p" "$docs/operations.md" | sed 's/  #.*//' | head -n 1)
  [[ -n "$line" ]] || { echo "operations.md has no $1"; return 1; }
  inside sh -ec "cd /root && $line"
}
sign_as_operations_say() { # FOLDER NAMES
  local line
  line=$(sed -n 's|^    \(openssl x509 -req .*\)|\1|p' "$docs/operations.md")
  [[ "$line" == *DNS:db1.example.com* ]] || { echo "operations.md does not say how a certificate is signed"; return 1; }
  (cd "$1" && eval "${line/DNS:db1.example.com/$2}" 2>/dev/null)
}
is_refused() { # WORDS : by `check`, with 4 and these words, and nothing of the secret
  local told code=0
  told=$(warden check --connect 2>&1) || code=$?
  echo "$code: $told"
  ((code == 4)) && grep -qF -- "$1" <<<"$told" && ! grep -qF "$secret" <<<"$told"
}
restarted() {
  seen=$(sql_there "SELECT CONNECTION_ID()")
  unit restart
}
tells() { said "$1" | grep -F -- "$2"; } # EVENT WORDS
warns() { inside journalctl -b "_PID=$(main)" -o cat --no-pager | grep '^warning: ' | grep -F -- "$1"; } # WORDS
mend_as_told() { # what stands behind the semicolon
  local mends
  mends=$(warns readable | sed 's/.*; //')
  [[ "$(grep -c '^chmod ' <<<"$mends")" == 2 ]] && inside sh -ec "$mends"
}

# ---- What has to hold ------------------------------------------------------------------------------

mysql_in_its_box() {
  local ca='?ssl-ca=/etc/ovpn-warden/db-ca.pem' unit_more=$root/etc/systemd/system/ovpn-warden.service.d/more.conf old id
  local named="ssl-ca in database.url has to name" url=/etc/ovpn-warden/database.url
  echo "== MySQL on another host, whose certificate nobody knows"
  begin_elsewhere
  sql_there "CREATE DATABASE vpn; CREATE USER 'vpn'@'%' IDENTIFIED BY '$secret'; GRANT ALL ON vpn.* TO 'vpn'@'%'"
  sed -i 's|^# \(\[database\]\)|\1|; s|^# \(url_file = \)|\1|' "$root/etc/ovpn-warden/config.toml"
  ok "the file of the URL, as operations.md says" as_operations_say 'install -m 0640 -g ovpn-warden /dev/null'
  set_url "${names[0]}" ""
  ok "check refuses, and says what is missing" is_refused "$named"
  ok "the unit starts" unit restart
  ok "and the log says the same" within 15 tells store.down "$named"
  client_network
  ok "a client comes" start_client early
  ok "and is told to try again" within 60 tells auth.denied backend_unavailable
  ok "it has no tunnel" cannot address
  inside systemctl stop early
  cp "$dir/stranger/ca.crt" "$root/root/ca.pem"
  ok "another authority is put where operations.md says" as_operations_say 'install -m 0640 -g ovpn-warden ca.pem'
  set_url "${names[0]}" "$ca"
  ok "check refuses that" is_refused "/etc/ovpn-warden/db-ca.pem is not the certificate of its authority"
  cp "$dir/db/pki/ca.crt" "$root/root/ca.pem"
  ok "the right one takes its place" as_operations_say 'install -m 0640 -g ovpn-warden ca.pem'
  set_url "$other_v4" "$ca"
  ok "an address that the certificate does not name is refused" is_refused "not valid for name \"$other_v4\""
  ok "the database has heard no name and no password" nobody_came

  echo "== with name and authority, in its box"
  set_url "${names[0]}" "$ca"
  ok "the tables can be made" warden migrate
  ok "people and devices be added" eval "warden user add alice --password-stdin <<<'$password' && warden device add alice 02:00:5e:10:00:01"
  ok "the unit starts" unit restart
  ok "and is attached" within 15 said link.up
  ok "a client comes" start_client encrypted
  ok "and gets through" within 30 address
  ok "its row is in MariaDB" within 10 row_is "server, user_name, state" "openvpn alice active"
  ok "the database has heard both now" cannot nobody_came
  ok "every connection there is encrypted" in_secret
  set_url "${names[0]}" "?ssl-mode=DISABLED"
  ok "another would not be taken" is_refused "Access denied"
  set_url "${names[0]}" "$ca"
  ok "the daemon is as boxed in as without" boxed "$(main)" ''
  ok "its hashing threads come after all others" nice_hashes
  old=$(main)
  inside kill -KILL "$old"
  ok "a daemon that is killed is started again" within 15 another "$old"
  ok "the session is adopted from there" within 15 said session.adopted
  ok "and the client goes on" address
  id=$(row id)
  ok "an operator ends it" warden session kill "$id" --yes
  ok "its row is closed" within 15 row_is "user_name, state, cause, ended_at IS NOT NULL" "alice closed admin 1"

  echo "== by IPv6, with a certificate of its own, and with nothing else to reach"
  set_url "${names[1]}" "$ca"
  ok "the unit starts with a name that has an IPv6 address only" restarted
  ok "and comes from there" within 15 comes_from "$here_v6"
  set_url "[$there_v6]" "$ca"
  ok "it starts with that address" restarted
  ok "and comes from there" within 15 comes_from "$here_v6"
  sql_there "ALTER USER 'vpn'@'%' REQUIRE X509"
  inside install -g ovpn-warden -m 0640 /dev/null /etc/ovpn-warden/db.key
  cat "$dir/db/pki/client.key" >"$root/etc/ovpn-warden/db.key"
  install -m 0644 "$dir/db/pki/client.crt" "$root/etc/ovpn-warden/db.pem"
  set_url "${names[0]}" "$ca&ssl-cert=/etc/ovpn-warden/db.pem&ssl-key=/etc/ovpn-warden/db.key"
  printf '[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost %s\n' "$there_v4" >"$unit_more"
  inside systemctl daemon-reload
  ok "it starts" restarted
  ok "and comes with them" within 15 comes_from "$here_v4"
  ok "every connection is encrypted" in_secret
  sed -i "s/ $there_v4\$/ $other_v4/" "$unit_more"
  inside systemctl daemon-reload
  ok "it starts with another host allowed" restarted
  ok "and does not get to this one" within 15 said store.down
  rm "$unit_more"
  inside systemctl daemon-reload

  echo "== files of secrets, and files that it does not see"
  inside chmod 0644 "$url" /etc/ovpn-warden/db.key
  ok "it starts when everybody can read them" restarted
  ok "and is in use" within 15 in_secret
  ok "the file of the URL is told" warns "$url is readable by every user of this machine; chmod 0640 $url"
  ok "and the key" warns "/etc/ovpn-warden/db.key is readable by every user of this machine; chmod 0640 /etc/ovpn-warden/db.key"
  ok "the words that mend it do" mend_as_told
  ok "it starts" restarted
  ok "and has nothing to say" within 15 in_secret
  ok "of them any more" cannot warns readable
  inside sh -c 'install -d /home/op && install -m 0644 /root/ca.pem /home/op/ca.pem'
  set_url "${names[0]}" "?ssl-ca=/home/op/ca.pem"
  ok "an authority in somebody's home" restarted
  ok "is told with the unit's part in it" within 15 tells store.down "cannot read /home/op/ca.pem: Permission denied (os error 13); the unit keeps /home, /root and /tmp from it"
}
