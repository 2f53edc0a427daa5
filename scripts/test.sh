#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests: installs what is missing, builds, lints, runs the release suite and the unit tests under address and
# undefined-behaviour sanitizers. --full adds clang-tidy, the rest of the suite under these sanitizers, the suite under the
# thread sanitizer, the build without optional dependencies, longer fuzzing, every input of exp, log and tanh, and the whole
# matrix of workers, threads and transports.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

FULL=0
for word in "$@"; do
  case "$word" in
  --full) FULL=1 ;;
  --help | -h) sed -n '3,7s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) echo "test.sh knows --full, not $word" >&2; exit 2 ;;
  esac
done

# shellcheck disable=SC2046,SC2086
install_missing $BUILD_PACKAGES $TEST_PACKAGES $([ "$FULL" = 0 ] || echo "$FULL_PACKAGES")
PASSED=0 FAILED=0 SKIPPED=0
LOG=$(mktemp)

# However it ends, the last line counts.
finish() {
  local status=$?
  rm -f "$LOG"
  [ "$status" = 0 ] || [ "$FAILED" != 0 ] || FAILED=1
  printf '\n%d passed, %d failed, %d skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
  [ "$FAILED" = 0 ] || exit 1
}
trap finish EXIT

# failure SENTENCE: one that no test program counts.
failure() {
  echo "failed: $1" >&2
  FAILED=$((FAILED + 1))
}

# suite NAME PRESET [ctest argument...]: builds the preset, runs ctest and adds its counts.
suite() {
  local name=$1 preset=$2
  shift 2
  say "building ($preset)"
  build "$preset" || { failure "the build of $preset, so there is no $name"; return; }
  say "$name"
  ctest --test-dir "$ROOT/build/$preset" --output-on-failure -j "$JOBS" "$@" 2>&1 | tee "$LOG" | grep -vE '^ *Start ' || true
  local total failed skipped
  total=$(sed -nE 's/.*tests passed, [0-9]+ tests failed out of ([0-9]+).*/\1/p' "$LOG" | tail -1)
  failed=$(sed -nE 's/.*tests passed, ([0-9]+) tests failed out of [0-9]+.*/\1/p' "$LOG" | tail -1)
  skipped=$(grep -cE '\*\*\*Skipped' "$LOG" || true)
  if [ -z "$total" ] || [ "$total" = 0 ]; then
    failure "no test ran in the $name"
    return
  fi
  PASSED=$((PASSED + total - failed - skipped)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
}

# step NAME COMMAND...: one test that is a command.
step() {
  local name=$1
  shift
  say "$name"
  if "$@"; then PASSED=$((PASSED + 1)); else failure "$name"; fi
}

say "building (release)"
build release -DLS_TESTS=ON -DLS_EXAMPLES=ON
step "lint" python3 "$ROOT/tests/lint/lint.py" --binary "$ROOT/build/release/lockstep"
suite "release suite" release -LE full
suite "unit tests under the address and undefined-behaviour sanitizers" asan -L 'unit|fuzz|conformance' -LE full
if [ "$FULL" = 1 ]; then
  step "clang-tidy" python3 "$ROOT/tests/lint/tidy.py" --build "$ROOT/build/release"
  suite "rest of the suite under those sanitizers" asan -LE 'unit|fuzz|conformance|full'
  # A process ends at its first race, so that a worker's race is seen by whoever waits for it.
  TSAN_OPTIONS="halt_on_error=1 suppressions=$ROOT/tests/support/tsan.supp" \
    suite "suite under the thread sanitizer" tsan -LE full
  suite "rest of the release suite" release -L full
  suite "unit tests of the minimal build" minimal -L unit -LE full
  suite "fuzzing" fuzz -L fuzz
fi
