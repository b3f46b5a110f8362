#!/usr/bin/env bash
# deb.sh PACKAGE.deb : what `make test-deb` calls. Installs, upgrades, removes and purges the package in a
# clean Debian of its own (debootstrap, kept in .rig), and looks at what it leaves at each step. Without systemd, as
# a container has it; systemd.sh is about the unit.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=$(realpath "$1")
if [[ -z "${WARDEN_RIG_CONTAINED:-}" ]]; then
  "$here/install.sh" debootstrap
  WARDEN_RIG_CONTAINED=1 exec "$here/contain.sh" "${BASH_SOURCE[0]}" "$@"
fi
unset WARDEN_RIG_CONTAINED
# shellcheck source=tests/rig/root.sh
source "$here/root.sh"
clean_root deb adduser,man-db,init-system-helpers
mount -t proc proc "$root/proc"

inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
warden() { inside runuser -u ovpn-warden -- ovpn-warden "$@"; }
is() { # FILE "OWNER:GROUP MODE"
  local found
  found=$(inside stat -c '%U:%G %a' "$1")
  [[ "$found" == "$2" ]] || { echo "$1 is $found, not $2"; return 1; }
}
add_alice() { warden user add alice --password-stdin <<<"correct horse battery staple"; }
apt_() { cp "$1" "$root/tmp/" && inside apt install -y "/tmp/${1##*/}"; }
install_() { cp "$1" "$root/tmp/new.deb" && inside dpkg -i --force-confold /tmp/new.deb; }

newer "$package"

echo "== install"
ok "apt install takes it, with nothing but a minimal Debian" apt_ "$package"
ok "the program runs" inside ovpn-warden --version
ok "there is a system user without a shell" inside sh -c 'getent passwd ovpn-warden | grep -q ":/var/lib/ovpn-warden:/usr/sbin/nologin$"'
ok "/etc/ovpn-warden is for root and the daemon" is /etc/ovpn-warden root:ovpn-warden\ 750
ok "the configuration too" is /etc/ovpn-warden/config.toml root:ovpn-warden\ 640
ok "and the management password" is /etc/ovpn-warden/mgmt.pw root:ovpn-warden\ 640
ok "which is random and long" test "$(wc -c <"$root/etc/ovpn-warden/mgmt.pw")" -gt 30
ok "/var/lib/ovpn-warden is the daemon's" is /var/lib/ovpn-warden ovpn-warden:ovpn-warden\ 700
ok "the unit is enabled" test -L "$root/etc/systemd/system/multi-user.target.wants/ovpn-warden.service"
ok "the unit starts this program" has /lib/systemd/system/ovpn-warden.service '^ExecStart=/usr/bin/ovpn-warden run$'
ok "the configuration is accepted as it is" warden check
ok "the first commands work" add_alice
ok "there are manual pages" inside sh -c 'gzip -dc /usr/share/man/man1/ovpn-warden-session.1.gz | grep -q "^\.TH"'
ok "and completions" has /usr/share/bash-completion/completions/ovpn-warden complete
ok "and what operators copy" test -e "$root/usr/share/doc/ovpn-warden/default.toml" -a -e "$root/usr/share/doc/ovpn-warden/fail2ban/filter.conf"

echo "== upgrade"
echo '# changed by hand' >>"$root/etc/ovpn-warden/config.toml"
password=$(<"$root/etc/ovpn-warden/mgmt.pw")
ok "dpkg upgrades it" install_ "$dir/newer.deb"
ok "a changed configuration stays" has /etc/ovpn-warden/config.toml '^# changed by hand$'
ok "its mode too" is /etc/ovpn-warden/config.toml root:ovpn-warden\ 640
ok "the management password stays" test "$(<"$root/etc/ovpn-warden/mgmt.pw")" == "$password"
ok "the users stay" warden user show alice
ok "the command that an upgrade asks for works" inside runuser -u ovpn-warden -- ovpn-warden migrate
ok "the unit stays enabled" test -L "$root/etc/systemd/system/multi-user.target.wants/ovpn-warden.service"

echo "== remove"
ok "dpkg removes it" inside dpkg -r ovpn-warden
ok "the program is gone" gone /usr/bin/ovpn-warden
ok "the configuration is not" test -e "$root/etc/ovpn-warden/config.toml"
ok "the database is not" test -e "$root/var/lib/ovpn-warden/warden.db"

echo "== again, and purge"
ok "dpkg installs it again" install_ "$package"
ok "the users are there" warden user show alice
ok "dpkg purges it" inside dpkg -P ovpn-warden
ok "configuration and password are gone" gone /etc/ovpn-warden
ok "the unit's link is gone" gone /etc/systemd/system/multi-user.target.wants/ovpn-warden.service
ok "the database is never removed" test -e "$root/var/lib/ovpn-warden/warden.db"
((failed == 0)) && echo "all held"
exit "$failed"
