#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over the layers' sources, with the checks of .clang-tidy. Kernels of one instruction set are left out: they
are built with flags and builtins that clang-tidy's clang may not know.

Usage: tidy.py --build DIRECTORY [FILE...]
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYERS = ("core", "collective", "strategies", "coordinator", "worker", "cli")
LEFT_OUT = ("core/device/cpu/isa/", "collective/reduce_")


def sources(build):
    """The compiled files of the layers, relative to the project."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        found = {os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT) for entry in json.load(file)}
    return sorted(name for name in found if name.split("/")[0] in LAYERS and not name.startswith(LEFT_OUT))


def check(build, name):
    """(whether it passes, what clang-tidy said) of one file."""
    done = subprocess.run(["clang-tidy", "-p", build, "--quiet", "--extra-arg=-Wno-unknown-warning-option", name],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + ("" if done.returncode == 0 else done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", required=True, help="a build directory with compile_commands.json")
    parser.add_argument("files", nargs="*", help="relative to the project; without any: all")
    words = parser.parse_args()
    names = words.files or sources(words.build)
    build = os.path.abspath(words.build)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for passed, said in pool.map(lambda name: check(build, name), names):
            if not passed:
                failed += 1
                print(said.strip())
    print(f"tidy: {len(names)} files, {failed} with findings")
    sys.exit(1 if failed or not names else 0)


if __name__ == "__main__":
    main()
