#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs an example in C and compares the hash of its parameters with that of the command's job.

Usage: examples.py LOCKSTEP JOB STEPS PROGRAM [REPLICAS...]. One run of the program for each number of replicas.
"""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MNIST = os.path.join(ROOT, "examples", "mnist")


def run(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def main():
    lockstep, job, steps, program = sys.argv[1:5]
    with tempfile.TemporaryDirectory(prefix="lockstep-example-") as folder:
        lines = run(lockstep, "train", os.path.join(MNIST, job), "--max-steps", steps, "--workers", 1, "--json",
                    "--quiet", "--set", f"run.checkpoint.directory={folder}")
    wanted = json.loads(lines.strip().split("\n")[-1])["params_sha256"]
    for replicas in sys.argv[5:]:
        output = run(program, os.path.join(MNIST, "data"), steps, replicas)
        found = next((l.split()[1] for l in output.split("\n") if l.startswith("params_sha256 ")), "nothing")
        if found != wanted:
            sys.exit(f"{os.path.basename(program)} on {replicas} replicas gives {found}, {job} gives {wanted}")
    print(f"{os.path.basename(program)}: {wanted} on {', '.join(sys.argv[5:])} replicas, as {job}")


if __name__ == "__main__":
    main()
