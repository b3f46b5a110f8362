#!/usr/bin/env bash
# fuzz.sh run SECONDS [TARGET...]   fuzzes each target for so long, one after the other
# fuzz.sh keep [TARGET...]          puts what was found since into fuzz/corpus, minimised
#
# cargo-fuzz is installed into .rig/tools if it is missing; a nightly toolchain has to be there. What a run finds
# stays in .rig/fuzz/TARGET, so that the next one begins with it. An input that fails is kept in fuzz/artifacts/TARGET.
# WARDEN_FUZZ_SANITIZER=address adds AddressSanitizer: slower, and this project has no unsafe code of its own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
version=0.13.2
rig=${WARDEN_RIG_DIR:-$top/.rig}
tools=$rig/tools
most=160     # inputs of one corpus that the fuzzer found
longest=1024 # bytes of one of them
all=(framer message reencode command engine)

fail() { echo "fuzz.sh: $*" >&2; exit 1; }

action=${1:-}
shift || true
case $action in
  run)
    seconds=${1:-}
    [[ "$seconds" =~ ^[1-9][0-9]*$ ]] || fail "how many seconds for each target? '$seconds' is no number"
    shift
    ;;
  keep) ;;
  *) fail "run SECONDS [TARGET...] or keep [TARGET...]" ;;
esac
targets=("$@")
((${#targets[@]})) || targets=("${all[@]}")
for target in "${targets[@]}"; do
  [[ " ${all[*]} " == *" $target "* ]] || fail "no target '$target'; there are: ${all[*]}"
done

# libFuzzer's instrumentation is a compiler option that only nightly takes.
cargo +nightly --version >/dev/null 2>&1 || fail "needs a nightly toolchain: rustup toolchain install nightly --profile minimal"
command -v c++ >/dev/null || fail "needs a C++ compiler for libFuzzer: apt-get install g++"

export PATH=$tools/bin:$PATH
if [[ "$(cargo-fuzz --version 2>/dev/null)" != "cargo-fuzz $version" ]]; then
  "$here/install.sh" build
  mkdir -p "$tools"
  echo "installing cargo-fuzz $version (a minute, once)"
  cargo install -q cargo-fuzz --version "$version" --locked --root "$tools" --target-dir "$tools/target" --no-track --force
  rm -rf "$tools/target"
fi

cd "$top"
cargo +nightly fetch -q --locked --manifest-path fuzz/Cargo.toml || fail "fuzz/Cargo.lock is not up to date"
options=(--sanitizer "${WARDEN_FUZZ_SANITIZER:-none}")
echo "building the fuzz targets (some minutes, the first time)"
cargo +nightly fuzz build "${options[@]}" 2>"$rig/fuzz.log" || { tail -n 40 "$rig/fuzz.log" >&2; fail "the targets do not build"; }
limits=(-max_len=4096 -timeout=10 -rss_limit_mb=2048)

run() { # TARGET
  local log=$rig/fuzz/$1.log found=$rig/fuzz/$1
  mkdir -p "$found"
  cargo +nightly fuzz run "${options[@]}" "$1" "$found" "fuzz/corpus/$1" -- \
    "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 >"$log" 2>&1 || {
    grep -aE -A 3 'panicked at|ERROR: libFuzzer' "$log" >&2 || tail -n 20 "$log" >&2
    echo "the input is in fuzz/artifacts/$1; once it is understood it belongs into fuzz/regressions/$1" >&2
    return 1
  }
  local executions
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  printf '%-10s %12s executions in %s s\n' "$1" "$executions" "$seconds"
}

keep() { # TARGET
  local found=$rig/fuzz/$1 corpus=fuzz/corpus/$1 cover
  cover=$(mktemp -d)
  mkdir -p "$found"
  # The fewest inputs that together reach every branch; those that reach most come first.
  cargo +nightly fuzz run "${options[@]}" "$1" "$cover" "$corpus" "$found" -- \
    "${limits[@]}" -max_len="$longest" -use_counters=0 -set_cover_merge=1 >"$found.log" 2>&1 || {
    tail -n 20 "$found.log" >&2
    return 1
  }
  # What has a name of its own was written by hand and stays.
  find "$corpus" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
  find "$cover" -type f -printf '%T@ %p\n' | sort -n | cut -d' ' -f2- | sed -n "1,${most}p" | xargs -d '\n' cp -t "$corpus"
  echo "$1: $(find "$corpus" -type f | wc -l) of $(find "$cover" -type f | wc -l) inputs, $(du -sb "$corpus" | cut -f1) bytes"
  rm -rf "$cover"
}

status=0
for target in "${targets[@]}"; do
  if [[ "$action" == run ]]; then run "$target" || status=1; else keep "$target" || status=1; fi
done
exit "$status"
