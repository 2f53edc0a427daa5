#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The project's lint: layers, homes of third-party headers, sizes, banned calls, formatting, --help against the docs.

Usage: lint.py [--binary build/release/lockstep]. Exit status 1 where something is found.
core/layers.txt has the layers, tests/lint/exceptions.txt the files and functions that may be longer (it only shrinks).
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE_LIMIT, FUNCTION_LIMIT, PARAMETER_LIMIT, COLUMN_LIMIT = 800, 70, 6, 120
BANNED = re.compile(r"\b(malloc|calloc|realloc|strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|rand|srand|strtok|"
                    r"setjmp|longjmp|alloca|pthread_create|pthread_cond_wait|pthread_cond_timedwait|"
                    r"pthread_cond_clockwait|pthread_mutex_timedlock)\s*\(")
CODE_DIRECTORIES = ("core", "collective", "strategies", "coordinator", "worker", "cli")


def sources(*suffixes):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.split("\n")
    return sorted(n for n in names if n.endswith(suffixes) and os.path.isfile(os.path.join(ROOT, n)))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def read_layers():
    layers, homes = {}, []
    for line in read("core/layers.txt").split("\n"):
        line = line.split("#")[0].strip()
        if line.startswith("home "):
            words = line.split()
            homes.append((words[1], words[2:]))
        elif ":" in line:
            name, may = line.split(":", 1)
            layers[name.strip()] = may.split()
    return layers, homes


def layer_of(path, layers):
    fitting = [l for l in layers if path.startswith(l + "/")]
    return max(fitting, key=len) if fitting else None


def check_cycles(layers):
    """The table itself must have no cycle."""
    found, done = [], set()

    def visit(layer, trail):
        if layer in trail:
            found.append("core/layers.txt: cycle " + " -> ".join(trail[trail.index(layer):] + [layer]))
            return
        if layer in done:
            return
        for below in layers.get(layer, []):
            visit(below, trail + [layer])
        done.add(layer)

    for layer in layers:
        visit(layer, [])
    return found


def check_includes(name, text, layers, homes):
    found, own = [], layer_of(name, layers)
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        quoted, header = match.group(1) == '"', match.group(2)
        if quoted and ".." in header:
            found.append(f"{name}:{number}: includes by ../")
        target = layer_of(header, layers)
        if own and target and target != own and target not in layers[own]:
            found.append(f"{name}:{number}: {own} may not include {header}")
        if quoted and target and header.endswith("_internal.h") and target != own:
            found.append(f"{name}:{number}: {header} is internal to {target}")
        for word, places in homes:
            if (header == word or header.startswith(word + "/")) and \
                    not any(name.startswith(p + "/") for p in places + ["tests"]):
                found.append(f"{name}:{number}: <{header}> belongs in {' or '.join(places)} only")
    return found


def strip_comments(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', text)


def functions(text):
    """(name, first line, lines, parameters) of every function definition: a line at the left margin that opens one."""
    lines = strip_comments(text).split("\n")
    start = None
    for i, line in enumerate(lines):
        if line == "{" and start is None:
            head, k = "", i - 1
            while k >= 0 and lines[k].strip() and not lines[k].startswith(("}", "#")) and not lines[k].endswith(";"):
                head = lines[k].strip() + " " + head
                k -= 1
            match = re.search(r"([A-Za-z_][A-Za-z0-9_]*)\s*\((.*)\)\s*$", head.strip())
            if match:
                start = (match.group(1), i, match.group(2))
        elif line == "}" and start is not None:
            name, begin, parameters = start
            depth, count = 0, 0 if parameters.strip() in ("", "void") else 1
            for c in parameters:
                depth += c == "("
                depth -= c == ")"
                count += c == "," and depth == 0
            yield name, begin, i - begin - 1, count
            start = None


def check_sizes(name, text, exceptions):
    found, count = [], text.count("\n")
    if count > FILE_LIMIT and name not in exceptions:
        found.append(f"{name}: {count} lines; the limit is {FILE_LIMIT}")
    for function, line, length, parameters in functions(text):
        key = f"{name}:{function}"
        if length > FUNCTION_LIMIT and key not in exceptions:
            found.append(f"{name}:{line}: {function} has {length} lines; the limit is {FUNCTION_LIMIT}")
        if parameters > PARAMETER_LIMIT + 1 and key not in exceptions:
            found.append(f"{name}:{line}: {function} has {parameters} parameters; the limit is {PARAMETER_LIMIT} "
                         "and the error")
    return found


def check_text(name, text):
    found = []
    if name.endswith((".c", ".h")) and not text.startswith("/* SPDX-License-Identifier: Apache-2.0 */"):
        found.append(f"{name}:1: no SPDX line")
    code = strip_comments(text)
    if not name.startswith(("core/base/", "tests/")) and not name.endswith("_plugin.c"):
        for number, line in enumerate(code.split("\n"), 1):
            match = BANNED.search(line)
            if match:
                found.append(f"{name}:{number}: {match.group(1)} is banned; core/base has what replaces it")
    if name.startswith(CODE_DIRECTORIES) and not name.startswith("cli/"):
        for number, line in enumerate(code.split("\n"), 1):
            if re.search(r"(?<![>.\w])(printf|puts|putchar|exit|_exit|abort)\s*\(", line) and "snprintf" not in line:
                found.append(f"{name}:{number}: only cli prints or ends the process")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > COLUMN_LIMIT:
            found.append(f"{name}:{number}: {len(line)} columns; the limit is {COLUMN_LIMIT} (comments too)")
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            found.append(f"{name}:{number}: unfinished by its own words")
    return found


def check_headers(names):
    """Every header compiles alone."""
    found, build = [], os.path.join(ROOT, "build", "release", "generated")
    for name in names:
        if name.startswith("core/device/cpu/isa/"):
            continue
        result = subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-I", ROOT, "-I", build, "-fsyntax-only",
                                 "-x", "c", "-"], input=f'#include "{name}"\n', capture_output=True, text=True, cwd=ROOT)
        if result.returncode != 0:
            found.append(f"{name}: does not compile alone: {result.stderr.splitlines()[0]}")
    return found


def check_format(names):
    if shutil.which("clang-format") is None:
        return ["clang-format is missing; scripts/test.sh installs it"]
    result = subprocess.run(["clang-format", "--dry-run", "-Werror"] + names, capture_output=True, text=True, cwd=ROOT)
    files = sorted({line.split(":")[0] for line in result.stderr.split("\n") if "clang-format" in line})
    return [f"{f}: not formatted; run clang-format -i" for f in files]


def check_help(binary):
    """Every option that --help shows stands in docs/cli.md, and the other way round."""
    found, docs = [], read("docs/cli.md")
    top = subprocess.run([binary, "--help"], capture_output=True, text=True).stdout
    commands = re.findall(r"^  (\w+) +\S", top.split("Commands:")[1], flags=re.M)
    known = set()
    for command in commands:
        if not re.search(rf"^## lockstep {command}\b", docs, flags=re.M):
            found.append(f"docs/cli.md: no section \"## lockstep {command}\"")
            continue
        section = re.split(r"^## ", docs.split(f"## lockstep {command}", 1)[1], flags=re.M)[0]
        text = subprocess.run([binary, command, "--help"], capture_output=True, text=True).stdout
        for option in re.findall(r"^  (--[a-z-]+)", text, flags=re.M):
            known.add(option)
            if option != "--help" and f"`{option}" not in section:
                found.append(f"docs/cli.md: lockstep {command} lacks {option}")
    for option in set(re.findall(r"^\| `(--[a-z-]+)", docs, flags=re.M)) - known:
        found.append(f"docs/cli.md: {option} is no option")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary")
    arguments = parser.parse_args()
    layers, homes = read_layers()
    exceptions = {l.split("#")[0].strip() for l in read("tests/lint/exceptions.txt").split("\n")}
    names, found = sources(".c", ".h", ".cu"), check_cycles(layers)
    for name in names:
        text = read(name)
        found += check_includes(name, text, layers, homes) + check_sizes(name, text, exceptions)
        found += check_text(name, text)
    found += check_headers([n for n in names if n.endswith(".h") and n.startswith(CODE_DIRECTORIES)])
    found += check_format(names)
    if arguments.binary:
        found += check_help(arguments.binary)
    for line in found:
        print(line)
    print(f"lint: {len(names)} files, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
