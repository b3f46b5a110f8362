#!/usr/bin/env bash
# fuzz.sh run SECONDS [TARGET...]   fuzzes each target for so long, one after the other
# fuzz.sh keep [TARGET...]          puts what was found since into fuzz/corpus, minimised
# fuzz.sh sums                      executions and seconds of all runs here, by libFuzzer's own counters
#
# cargo-fuzz is installed into .rig/tools if it is missing. libFuzzer's instrumentation is an unstable option of the
# compiler: a nightly toolchain is used if there is one, and otherwise the project's own, told by RUSTC_BOOTSTRAP=1 to
# take such options; each run says which. WARDEN_FUZZ_TOOLCHAIN=own or nightly decides.
# The first eighth of a run has short inputs, and libFuzzer learns from each comparison what an input lacks; six
# eighths do without that, which is some times faster (fuzz/compares.c); the last has long inputs.
# What a run finds stays in .rig/fuzz/TARGET, so that the next one begins with it. An input that fails is kept in
# fuzz/artifacts/TARGET. WARDEN_FUZZ_SANITIZER=address adds AddressSanitizer: slower, and nothing that is
# fuzzed has unsafe code of its own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
version=0.13.2
rig=${WARDEN_RIG_DIR:-$top/.rig}
tools=$rig/tools
runs=$rig/fuzz/runs.tsv # target, longest input, executions, seconds: a line for each run
most=160     # inputs of one corpus that the fuzzer found
longest=1024 # bytes of one of them
large=4096   # bytes of a long input
# Each target, and the bytes of a short input: most of what there is to find is found in those.
declare -A short=(
  [bounds]=256 [command]=256 [config_line]=256 [console]=128 [csv]=256 [cuts]=256 [decode]=512 [device]=256 [engine]=512 [framer]=256 [hash]=192 [hours]=128
  [lexer]=128 [message]=512 [model]=256 [reencode]=512 [relay]=96 [response]=192 [tap]=256 [words]=128
)
mapfile -t all < <(printf '%s\n' "${!short[@]}" | sort)

fail() { echo "fuzz.sh: $*" >&2; exit 1; }

action=${1:-}
shift || true
case $action in
  run)
    seconds=${1:-}
    [[ "$seconds" =~ ^[1-9][0-9]*$ ]] || fail "how many seconds for each target? '$seconds' is no number"
    shift
    ;;
  keep | sums) ;;
  *) fail "run SECONDS [TARGET...], keep [TARGET...] or sums" ;;
esac
targets=("$@")
((${#targets[@]})) || targets=("${all[@]}")
for target in "${targets[@]}"; do
  [[ -n "${short[$target]:-}" ]] || fail "no target '$target'; there are: ${all[*]}"
done

if [[ "$action" == sums ]]; then
  [[ -f "$runs" ]] || fail "nothing has run here yet"
  sort "$runs" | awk -F'\t' '
    function row(name, n, s) {
      while (match(n, /[0-9][0-9][0-9][0-9](,|$)/)) n = substr(n, 1, RSTART) "," substr(n, RSTART + 1)
      printf "| %s | %s | %d |\n", name, n, s
    }
    { count[$1] += $3; time[$1] += $4; executions += $3; seconds += $4 }
    !seen[$1]++ { names[++many] = $1 }
    END {
      print "| target | executions | seconds |\n|---|---|---|"
      for (i = 1; i <= many; i++) row("`" names[i] "`", sprintf("%.0f", count[names[i]]), time[names[i]])
      row("all", sprintf("%.0f", executions), seconds)
    }'
  exit
fi

toolchain=${WARDEN_FUZZ_TOOLCHAIN:-$(cargo +nightly --version >/dev/null 2>&1 && echo nightly || echo own)}
case $toolchain in
  nightly)
    cargo=(cargo +nightly)
    "${cargo[@]}" --version >/dev/null || fail "there is no nightly toolchain: WARDEN_FUZZ_TOOLCHAIN=own does without"
    ;;
  own)
    cargo=(cargo)
    export RUSTC_BOOTSTRAP=1
    ;;
  *) fail "WARDEN_FUZZ_TOOLCHAIN is own or nightly" ;;
esac
echo "toolchain: $(cd "$top" && "${cargo[@]}" --version)${RUSTC_BOOTSTRAP:+, with RUSTC_BOOTSTRAP=1}"
command -v c++ >/dev/null || fail "needs a C++ compiler for libFuzzer: apt-get install g++"

export PATH=$tools/bin:$PATH
if [[ "$(cargo-fuzz --version 2>/dev/null)" != "cargo-fuzz $version" ]]; then
  "$here/tool.sh" cargo-fuzz "$version" "a minute"
fi

cd "$top"
"${cargo[@]}" fetch -q --locked --manifest-path fuzz/Cargo.toml || fail "fuzz/Cargo.lock is not up to date"
options=(--sanitizer "${WARDEN_FUZZ_SANITIZER:-none}")
mkdir -p "$rig/fuzz"
echo "building the fuzz targets (some minutes, the first time)"
"${cargo[@]}" fuzz build "${options[@]}" check 2>"$rig/fuzz.log" || { tail -n 40 "$rig/fuzz.log" >&2; fail "the targets do not build"; }

# libFuzzer on one target.
fuzz() { # TARGET CORPUS... OPTION...
  local target=$1
  shift
  mkdir -p "fuzz/artifacts/$target"
  WARDEN_FUZZ_TARGET=$target "${cargo[@]}" fuzz run "${options[@]}" check -- \
    "$@" -artifact_prefix="fuzz/artifacts/$target/" -timeout=10 -rss_limit_mb=2048
}

# Runs one target with inputs up to a length, and adds a line to the list of runs.
part() { # TARGET LENGTH SECONDS COMPARES
  local log=$rig/fuzz/$1.log found=$rig/fuzz/$1 begun executions status=0
  begun=$(date +%s)
  WARDEN_FUZZ_COMPARES=$4 fuzz "$1" "$found" "fuzz/corpus/$1" \
    -max_len="$2" -max_total_time="$3" -print_final_stats=1 >"$log" 2>&1 || status=1
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "${executions:-0}" $(($(date +%s) - begun)) >>"$runs"
  ((status == 0)) || {
    grep -aE -A 3 'panicked at|ERROR: libFuzzer' "$log" >&2 || tail -n 20 "$log" >&2
    echo "the input is in fuzz/artifacts/$1; once it is understood it belongs into fuzz/regressions/$1" >&2
    return 1
  }
  printf '%-12s %12s executions in %s s, of at most %s bytes\n' "$1" "$executions" "$3" "$2"
}

run() { # TARGET
  local eighth=$(((seconds + 7) / 8))
  mkdir -p "$rig/fuzz/$1"
  part "$1" "${short[$1]}" "$eighth" 1 || return 1
  ((seconds <= 2 * eighth)) || part "$1" "${short[$1]}" $((seconds - 2 * eighth)) 0 || return 1
  ((seconds <= eighth)) || part "$1" "$large" "$eighth" 1
}

keep() { # TARGET
  local found=$rig/fuzz/$1 corpus=fuzz/corpus/$1 cover
  cover=$(mktemp -d)
  mkdir -p "$found"
  # The fewest inputs that together reach every branch; those that reach most come first.
  fuzz "$1" "$cover" "$corpus" "$found" \
    -max_len="$longest" -use_counters=0 -set_cover_merge=1 >"$found.log" 2>&1 || {
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
