# shellcheck shell=bash
# root.sh : sourced by what needs a clean Debian of its own: makes it once by debootstrap, kept in .rig, and lays a
# throw-away layer above it. Whoever sources it runs in the namespaces of contain.sh.
suite=bookworm
cache=${WARDEN_RIG_DIR:-$here/../../.rig}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

clean_root() { # NAME PACKAGE,...: sets $dir, a folder that goes at the end, and $root, the Debian
  local base=$cache/$1-$suite uri
  exec 9>"$base.lock"
  flock 9
  if [[ ! -e "$base/.complete" ]]; then
    echo "making a clean Debian $suite with $2 (some minutes, once)"
    rm -rf "$base"
    # shellcheck disable=SC2016  # apt expands these itself
    uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" { print $2; exit }')
    debootstrap --variant=minbase --include="$2" "$suite" "$base" "$uri" >"$base.log" 2>&1 ||
      { tail -n 20 "$base.log"; exit 1; }
    : >"$base/.complete"
  fi
  dir=$(mktemp -d "${TMPDIR:-/tmp}/warden-deb.XXXXXX")
  trap clear_root EXIT
  trap 'exit 130' INT TERM
  mount -t tmpfs tmpfs "$dir"
  mkdir "$dir"/{upper,work,root}
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
  root=$dir/root
}
clear_root() {
  umount -l "$dir/root/proc" "$dir/root" "$dir" 2>/dev/null || true
  rm -rf "$dir"
}

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
gone() { [[ ! -e "$root$1" ]] || { echo "$1 is still there"; return 1; }; }
has() { grep -q -- "$2" "$root$1"; }

newer() { # PACKAGE : $dir/newer.deb, the same with a higher version, and with another default configuration
  mkdir "$dir/newer"
  dpkg-deb -R "$1" "$dir/newer"
  sed -i 's/^Version: .*/&+1/' "$dir/newer/DEBIAN/control"
  echo '# a later version' >>"$dir/newer/etc/ovpn-warden/config.toml"
  dpkg-deb -Zgzip -z1 --build --root-owner-group "$dir/newer" "$dir/newer.deb" >/dev/null
}
