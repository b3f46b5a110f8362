#!/usr/bin/env bash
# tool.sh NAME VERSION WHILE : builds a program of crates.io into .rig/tools/bin, and says how long that takes. Several
# callers may share .rig: each builds in a folder of its own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${WARDEN_RIG_DIR:-$(cd "$here/../.." && pwd)/.rig}/tools
"$here/install.sh" build
mkdir -p "$tools"
built=$(mktemp -d "$tools/$1.XXXXXX")
trap 'rm -rf "$built"' EXIT
trap 'exit 130' INT TERM
echo "installing $1 $2 ($3, once)"
# Not the project's own target folder: there it would rebuild what differs in features only.
cargo install -q "$1" --version "$2" --locked --root "$tools" --target-dir "$built" --no-track --force
