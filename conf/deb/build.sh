#!/usr/bin/env bash
# build.sh : what `make deb` calls, after the release binary is built. Writes target/debian/ovpn-warden_VERSION_ARCH.deb.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=3.8.0
target=${CARGO_TARGET_DIR:-target}
tools=${WARDEN_RIG_DIR:-$PWD/.rig}/tools
deb=$tools/bin/cargo-deb

if [[ "$("$deb" --version 2>/dev/null)" != "$version" ]]; then
  tests/rig/tool.sh cargo-deb "$version" "two minutes"
fi

# What is made from the program and from the unit. The package's program is in /usr/bin.
made=target/package
rm -rf "$made"
mkdir -p "$made/man"
program=$target/release/ovpn-warden
"$program" man --dir "$made/man"
for shell in bash zsh fish; do "$program" completions "$shell" >"$made/ovpn-warden.$shell"; done
sed -e 's|/usr/local/bin/|/usr/bin/|; 1,/^\[Unit\]/{/^#/d}' conf/ovpn-warden.service >"$made/ovpn-warden.service"

"$deb" deb --no-build --output "$target/debian/"
