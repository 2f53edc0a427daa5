#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs a build into a temporary prefix and builds examples/c/sequential.c against it, as a user would.

Usage: install.py BUILD_DIRECTORY C_COMPILER [CXX_COMPILER]. Once by find_package, once by pkg-config; both programs
must run and agree, the header must compile by itself with strict flags, and the archive's symbols must carry our names.
"""
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(ROOT, "examples", "mnist", "data")
SOURCE = os.path.join(ROOT, "examples", "c", "sequential.c")
# lockstep__: what protoc-c makes of the package of core/wire/message.proto.
PREFIXES = ("ls_", "lsi_", "lockstep__")
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
LISTS = """cmake_minimum_required(VERSION 3.25)
project(User LANGUAGES C)
find_package(Lockstep 0.1 REQUIRED)
add_executable(sequential {source})
target_link_libraries(sequential PRIVATE Lockstep::lockstep)
"""


def run(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def found_by_cmake(prefix, folder, compiler):
    source = os.path.join(folder, "user")
    os.mkdir(source)
    with open(os.path.join(source, "CMakeLists.txt"), "w", encoding="utf-8") as f:
        f.write(LISTS.format(source=SOURCE))
    build = os.path.join(folder, "user-build")
    run("cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={compiler}",
        "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", build)
    return os.path.join(build, "sequential")


def found_by_pkg_config(prefix, folder, compiler):
    places = [os.path.join(path, "pkgconfig") for path, folders, _ in os.walk(prefix) if "pkgconfig" in folders]
    environment = dict(os.environ, PKG_CONFIG_PATH=":".join(places))
    flags = run("pkg-config", "--cflags", "--libs", "lockstep", env=environment).split()
    program = os.path.join(folder, "by-pkg-config")
    run(compiler, "-std=c11", *STRICT, SOURCE, "-o", program, *flags)
    return program


def check_headers(prefix, compiler, cxx):
    include = "-I" + os.path.join(prefix, "include")
    text = "#include <lockstep.h>\nint main(void) { return LS_OK; }\n"
    run(compiler, "-std=c11", *STRICT, include, "-fsyntax-only", "-x", "c", "-", input=text)
    if cxx and shutil.which(cxx):
        run(cxx, "-std=c++17", *STRICT, include, "-fsyntax-only", "-x", "c++", "-", input=text)
    loose = [f for f in os.listdir(os.path.join(prefix, "include")) if f not in ("lockstep", "lockstep.h")]
    if loose:
        sys.exit(f"include/ holds {', '.join(loose)} beside lockstep.h and lockstep/")


def check_symbols(prefix):
    archive = next(os.path.join(path, "liblockstep.a") for path, _, names in os.walk(prefix) if "liblockstep.a" in names)
    names = {line.split()[-1] for line in run("nm", "-g", "--defined-only", archive).split("\n")
             if len(line.split()) == 3}
    foreign = sorted(n for n in names if not n.startswith(PREFIXES))
    if not names or foreign:
        sys.exit(f"liblockstep.a: {len(names)} symbols, of which not ours: {', '.join(foreign[:20])}")
    return len(names)


def main():
    build, compiler = sys.argv[1:3]
    cxx = sys.argv[3] if len(sys.argv) > 3 else None
    folder = tempfile.mkdtemp(prefix="lockstep-install-")
    try:
        prefix = os.path.join(folder, "prefix")
        run("cmake", "--install", build, "--prefix", prefix)
        run(os.path.join(prefix, "bin", "lockstep"), "version")
        check_headers(prefix, compiler, cxx)
        symbols = check_symbols(prefix)
        results = [run(find(prefix, folder, compiler), DATA, 2)
                   for find in (found_by_cmake, found_by_pkg_config)]
        if "params_sha256" not in results[0] or results[0] != results[1]:
            sys.exit(f"the two programs differ:\n{results[0]}\n{results[1]}")
    finally:
        shutil.rmtree(folder)
    print(f"install: find_package and pkg-config, one result; {symbols} symbols")


if __name__ == "__main__":
    main()
