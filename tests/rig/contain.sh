#!/usr/bin/env bash
# contain.sh COMMAND [ARG...] : runs COMMAND so that whatever it starts ends with it, whatever happens.
#
# COMMAND becomes process 1 of a process and a mount namespace of its own. When it ends, or when this
# script is killed (SIGKILL too), the kernel kills all that is left in there and drops its mounts.
# SIGINT, SIGTERM and SIGHUP are passed on, so that COMMAND's own trap runs first.
# Where namespaces are not allowed (not root) COMMAND runs as it is.
set -euo pipefail

# pdeathsig: bash -> unshare; kill-child: unshare -> COMMAND. default-signal: a background job of a
# script starts with SIGINT ignored, and could then never trap it.
wall=(unshare --mount --pid --fork --kill-child --mount-proc)
if ! "${wall[@]}" true 2>/dev/null; then exec "$@"; fi

setpriv --pdeathsig KILL "${wall[@]}" env --default-signal=INT,QUIT "$@" <&0 &
wall_pid=$!

pass_on() { # SIGNAL: to COMMAND, because unshare itself blocks these signals
  local pids
  read -ra pids <"/proc/$wall_pid/task/$wall_pid/children" || true
  ((${#pids[@]} == 0)) || kill -s "$1" "${pids[@]}" 2>/dev/null || true
}
for signal in INT TERM HUP; do
  # shellcheck disable=SC2064  # the name is meant to be fixed now
  trap "pass_on $signal" "$signal"
done

# A trapped signal ends `wait` early; the command's own end is what counts.
while :; do
  status=0
  wait "$wall_pid" || status=$?
  kill -0 "$wall_pid" 2>/dev/null || exit "$status"
done
