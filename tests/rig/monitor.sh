#!/usr/bin/env bash
# monitor.sh : openvpn-monitor, of PyPI, in .rig/monitor; prints the Python that has it. Done once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WARDEN_RIG_DIR:-$(cd "$here/../.." && pwd)/.rig}
version=2.0.4
root=$cache/monitor-$version
if [[ ! -e "$root/.complete" ]]; then
  "$here/install.sh" python >&2
  rm -rf "$root"
  mkdir -p "$cache"
  python3 -m venv "$root" >&2
  "$root/bin/pip" -q install --disable-pip-version-check "openvpn-monitor==$version" >&2
  : >"$root/.complete"
fi
echo "$root/bin/python"
