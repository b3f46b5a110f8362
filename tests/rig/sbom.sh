#!/usr/bin/env bash
# sbom.sh [FILE] : what the shipped program is made of, as CycloneDX JSON (default: target/ovpn-warden.cdx.json).
# By cargo-cyclonedx, installed into .rig/tools if it is missing. Every crate that is linked in, its version, licence and checksum.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
version=0.5.9
tools=${WARDEN_RIG_DIR:-$top/.rig}/tools
out=${1:-${CARGO_TARGET_DIR:-$top/target}/ovpn-warden.cdx.json}

if [[ "$("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null)" != *" $version" ]]; then
  "$here/install.sh" build
  mkdir -p "$tools"
  echo "installing cargo-cyclonedx $version (two minutes, once)"
  cargo install -q cargo-cyclonedx --version "$version" --locked --root "$tools" --target-dir "$tools/target" --no-track
  rm -rf "$tools/target"
fi
cd "$top"
# It writes beside Cargo.toml only.
name=ovpn-warden-sbom
trap 'rm -f "$top/$name.json"' EXIT
PATH="$tools/bin:$PATH" cargo cyclonedx -q --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu \
  --override-filename "$name"
mkdir -p "$(dirname "$out")"
mv "$name.json" "$out"

# It has to name what is linked in: no more, no less.
listed=$(grep -o '"purl": "pkg:cargo/[^"?]*' "$out" | sed 's/.*cargo\///' | sort -u)
linked=$(cargo tree --locked --edges normal --prefix none --target x86_64-unknown-linux-gnu --format '{p}' |
  awk '{ sub(/^v/, "", $2); print $1 "@" $2 }' | sort -u)
missing=$(comm -13 <(echo "$listed") <(echo "$linked"))
[[ -z "$missing" ]] || { echo "sbom.sh: $out misses: $missing" >&2; exit 1; }
echo "$out: $(echo "$listed" | wc -l) components"
