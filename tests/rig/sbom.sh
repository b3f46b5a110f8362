#!/usr/bin/env bash
# sbom.sh [FILE] : what the shipped program is made of, as CycloneDX JSON (default: target/ovpn-warden.cdx.json).
# By cargo-cyclonedx, installed into .rig/tools if it is missing. Every crate that it is built from, its version, licence and checksum.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
version=0.5.9
tools=${WARDEN_RIG_DIR:-$top/.rig}/tools
out=${1:-${CARGO_TARGET_DIR:-$top/target}/ovpn-warden.cdx.json}

"$here/install.sh" build sbom
if [[ "$("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null)" != *" $version" ]]; then
  "$here/tool.sh" cargo-cyclonedx "$version" "two minutes"
fi
cd "$top"
# It writes beside Cargo.toml only. The time is that of the last change: the same source gives the same list.
name=ovpn-warden-sbom target=x86_64-unknown-linux-gnu
trap 'rm -f "$top/$name.json"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock) PATH="$tools/bin:$PATH" \
  cargo cyclonedx -q --format json --spec-version 1.5 --target "$target" --override-filename "$name"

# It lists what Cargo.lock could bring in; what no feature of ours switches on goes, and so do paths of this machine.
built=$(cargo tree --locked --edges normal,build --prefix none --no-dedupe --target "$target" --format '{p}' |
  awk '{ print $1 "@" substr($2, 2) }' | sort -u)
mkdir -p "$(dirname "$out")"
jq --arg built "$built" --arg top "$top" '
  ($built | split("\n")) as $built
  | .components |= map(select(.name + "@" + .version | IN($built[])))
  | [.metadata.component, .components[] | .["bom-ref"]] as $kept
  | .dependencies |= map(select(.ref | IN($kept[])) | if .dependsOn then .dependsOn |= map(select(IN($kept[]))) else . end)
  | (.. | strings) |= (split("path+file://" + $top) | join("path+file://."))
' "$name.json" >"$out"
listed=$(jq -r '.metadata.component, .components[] | .name + "@" + .version' "$out" | sort -u)
[[ "$listed" == "$built" ]] || { diff <(echo "$listed") <(echo "$built") >&2; echo "sbom.sh: that is not what is built" >&2; exit 1; }
echo "$out: $(wc -l <<<"$listed") components"
