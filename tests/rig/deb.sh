#!/usr/bin/env bash
# deb.sh PACKAGE.deb : what `make test-deb` calls. Installs, upgrades, removes and purges the package in a
# clean Debian of its own (debootstrap, kept in .rig), and looks at what it leaves at each step.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=$(realpath "$1")
if [[ -z "${WARDEN_RIG_CONTAINED:-}" ]]; then
  "$here/install.sh" debootstrap
  WARDEN_RIG_CONTAINED=1 exec "$here/contain.sh" "${BASH_SOURCE[0]}" "$@"
fi
unset WARDEN_RIG_CONTAINED
cache=${WARDEN_RIG_DIR:-$here/../../.rig}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
suite=bookworm
base=$cache/deb-$suite
exec 9>"$base.lock"
flock 9

if [[ ! -e "$base/.complete" ]]; then
  echo "making a clean Debian $suite (a minute, once)"
  rm -rf "$base"
  # shellcheck disable=SC2016  # apt expands these itself
  uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" { print $2; exit }')
  debootstrap --variant=minbase --include=adduser,man-db,init-system-helpers "$suite" "$base" "$uri" >"$base.log" 2>&1 ||
    { tail -n 20 "$base.log"; exit 1; }
  : >"$base/.complete"
fi

# Everything happens in a layer above it, in the mount namespace of contain.sh.
dir=$(mktemp -d "${TMPDIR:-/tmp}/warden-deb.XXXXXX")
cleanup() {
  umount -l "$dir/root/proc" "$dir/root" "$dir" 2>/dev/null || true
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mount -t tmpfs tmpfs "$dir"
mkdir "$dir"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
mount -t proc proc "$dir/root/proc"
root=$dir/root

failed=0
ok() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$dir/out" 2>&1; then echo "ok    $what"; else
    echo "FAIL  $what"
    tail -n 15 "$dir/out"
    failed=1
  fi
}
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
warden() { inside runuser -u ovpn-warden -- ovpn-warden "$@"; }
is() { # FILE "OWNER:GROUP MODE"
  local found
  found=$(inside stat -c '%U:%G %a' "$1")
  [[ "$found" == "$2" ]] || { echo "$1 is $found, not $2"; return 1; }
}
gone() { [[ ! -e "$root$1" ]] || { echo "$1 is still there"; return 1; }; }
has() { grep -q -- "$2" "$root$1"; }
add_alice() { warden user add alice --password-stdin <<<"correct horse battery staple"; }
install_() { cp "$1" "$root/tmp/new.deb" && inside dpkg -i --force-confold /tmp/new.deb; }

# The same with a higher version, and with another default configuration: an upgrade.
mkdir "$dir/newer"
dpkg-deb -R "$package" "$dir/newer"
sed -i 's/^Version: .*/&+1/' "$dir/newer/DEBIAN/control"
echo '# a later version' >>"$dir/newer/etc/ovpn-warden/config.toml"
dpkg-deb --build --root-owner-group "$dir/newer" "$dir/newer.deb" >/dev/null

echo "== install"
ok "dpkg installs it, with nothing but a minimal Debian" install_ "$package"
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
