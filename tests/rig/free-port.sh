#!/usr/bin/env bash
# free-port.sh : prints a TCP port of 127.0.0.1 that nobody listens on.
# Another process may take it before you do, so whoever uses it must be ready to try again.
set -euo pipefail
for _ in {1..100}; do
  port=$((20000 + RANDOM % 12000)) # below the range the kernel gives to outgoing connections
  if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "$port"
    exit 0
  fi
done
echo "free-port.sh: no free port found" >&2
exit 1
