#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 to a trained model: installs what is missing, builds, trains MNIST on two workers. Run again it
# goes on from the checkpoint. What follows the command is for lockstep train, e.g. --fresh --overwrite.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
--help | -h) sed -n '3,4s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac

# shellcheck disable=SC2086
install_missing $BUILD_PACKAGES
say "building"
build release -DLS_TESTS=OFF
LOCKSTEP=$ROOT/build/release/lockstep
JOB=$ROOT/examples/mnist/mlp.yaml

say "training MNIST on two workers: lockstep train examples/mnist/mlp.yaml --workers 2"
"$LOCKSTEP" train "$JOB" --workers 2 "$@"
say "evaluating the checkpoint on the 10,000 test images"
"$LOCKSTEP" evaluate "$JOB"
ROOT_OPTION=""
[ "$(id -u)" != 0 ] || ROOT_OPTION="--allow-run-as-root " # Open MPI asks root for it
cat <<TEXT

Where to go on (in $ROOT):
  build/release/lockstep train examples/mnist/mlp.yaml --workers 3 --fresh --overwrite    # the same bits
  build/release/lockstep train examples/mnist/cnn.yaml                                    # a convolutional model
  mpirun ${ROOT_OPTION}-n 2 build/release/lockstep train examples/mnist/cnn.yaml
  build/release/lockstep --help, README.md, docs/
TEXT
