# SPDX-License-Identifier: Apache-2.0
# What the scripts share: where the project is, installing what is missing, building. To be sourced.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
JOBS=$(nproc)

say() { printf '\n== %s\n' "$*"; }

# Debian packages: what building needs, and what the tests and optional plug-ins need beside it.
BUILD_PACKAGES="gcc cmake ninja-build pkg-config libuv1-dev libprotobuf-c-dev protobuf-c-compiler libjansson-dev
  libyaml-dev libdeflate-dev libssl-dev libxxhash-dev libopenmpi-dev openmpi-bin libopenblas-dev"
TEST_PACKAGES="libcriterion-dev libmpfr-dev clang clang-format python3"
FULL_PACKAGES="clang-tidy" # of scripts/test.sh --full

# install_missing PACKAGE...: asks the package manager only where something is missing, so that it works offline after.
install_missing() {
  local missing=""
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || { echo "These packages are needed, please install them:$missing" >&2; exit 4; }
  local sudo=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "Run this as root or install sudo; these packages are missing:$missing" >&2; exit 4; }
    sudo=sudo
  fi
  say "installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
}

# build PRESET [option...]: configures and builds into build/PRESET. Its own checks, so that a caller may test its status.
build() {
  local preset=$1 log
  shift
  log=$(mktemp) || return 1
  if ! (cd "$ROOT" && cmake --preset "$preset" "$@") >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
  cmake --build "$ROOT/build/$preset" -j "$JOBS" -- --quiet
}
