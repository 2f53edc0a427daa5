#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Results that cannot be written, or must not be: over what is read, into a full device, to nowhere.

Usage: bad_results.py [CASE...]
"""
import os
import shutil
import subprocess
import sys

import lockstep as ls
from refusal import USAGE, INVALID, FILES, fails, with_job, read, part_of


@with_job
def unwritable_results(folder):
    """Files that the end would write are looked at before the beginning."""
    for option in ("--trace", "--save-weights"):
        place = os.path.join(folder, "nowhere", "file")
        fails(folder, ["train", os.path.join(folder, "job.yaml"), option, place], FILES, option, place)
        if os.path.exists(os.path.join(folder, "out")):
            raise ls.Failed("training had begun")


@with_job
def results_over_inputs(folder):
    """A result never takes the place of a file that is read, of a device or of a directory, and is looked at first."""
    job = os.path.join(folder, "job.yaml")
    os.mkfifo(os.path.join(folder, "pipe"))
    os.symlink("y.npy", os.path.join(folder, "link.npy"))
    before = read(folder, "x.npy"), read(folder, "y.npy"), read(folder, "model.json")
    for words in (["train", job, "--save-weights"], ["train", job, "--trace"],
                  ["predict", job, "--input", os.path.join(folder, "x.npy"), "--output"]):
        for name in ("x.npy", "link.npy", "model.json", "job.yaml"):
            fails(folder, [*words, os.path.join(folder, name)], USAGE, words[-1], name, "is read here")
        fails(folder, [*words, os.path.join(folder, "pipe")], FILES, words[-1], "no plain file")
        fails(folder, [*words, folder], FILES, words[-1], "directory")
        fails(folder, [*words, os.path.join(folder, "nowhere", "f")], FILES, words[-1], "No such file")
        fails(folder, [*words, ""], USAGE, words[-1], "empty value")
    if before != (read(folder, "x.npy"), read(folder, "y.npy"), read(folder, "model.json")):
        raise ls.Failed("a file changed")
    fails(folder, ["evaluate", job, "--checkpoint", job], FILES, "job.yaml is a file", "directory")
    fails(folder, ["inspect", job], FILES, "job.yaml is a file", "directory")
    fails(folder, ["evaluate", job, "--checkpoint", folder], FILES, "there is no checkpoint in " + folder)
    fails(folder, ["evaluate", job], FILES, "lockstep train", "makes one")


def kept_link(folder, name, target):
    if not os.path.islink(name) or os.readlink(name) != target:
        raise ls.Failed(f"{name} is no longer a link to {target}: {os.listdir(folder)}")


@with_job
def results_through_links(folder):
    """A result is written where a link leads, be there a file or not yet, and the link stays."""
    job, away = os.path.join(folder, "job.yaml"), os.path.join(folder, "away")
    os.mkdir(away)
    os.symlink("away/hop", os.path.join(folder, "twice"))
    os.symlink("../away/end", os.path.join(away, "hop"))
    os.symlink(os.path.join(away, "none"), os.path.join(folder, "dangling"))
    ls.run([ls.BINARY, "train", job, "--quiet"])
    for words in (["train", job, "--quiet", "--fresh", "--overwrite", "--max-steps", "9", "--trace"],
                  ["train", job, "--quiet", "--fresh", "--overwrite", "--save-weights"], ["predict", job, "--output"]):
        ls.write(away, "end", "old")
        for name, end in (("twice", "end"), ("dangling", "none")):
            ls.run([ls.BINARY, *words, os.path.join(folder, name)])
            kept_link(folder, os.path.join(folder, "twice"), "away/hop")
            kept_link(folder, os.path.join(away, "hop"), "../away/end")
            kept_link(folder, os.path.join(folder, "dangling"), os.path.join(away, "none"))
            if len(read(away, end)) < 10 or sorted(os.listdir(away)) != sorted({"end", "hop", end}):
                raise ls.Failed(f"{words[-1]} {name}: not written at {end}: {os.listdir(away)}")
        os.remove(os.path.join(away, "none"))


@with_job
def results_over_inputs_through_links(folder):
    """Links that lead nowhere yet are seen through as well: into a checkpoint, to the other result, into a loop."""
    job = os.path.join(folder, "job.yaml")
    ls.run([ls.BINARY, "train", job, "--quiet"])
    for name, target in (("new", "out/step-20/new"), ("a", "same"), ("b", "same"), ("loop", "loop"), ("lost", "no/f")):
        os.symlink(target, os.path.join(folder, name))
    before = ls.contents(os.path.join(folder, "out"))
    for words in (["train", job, "--trace"], ["train", job, "--save-weights"], ["predict", job, "--output"]):
        fails(folder, [*words, os.path.join(folder, "new")], USAGE, words[-1], "belongs to a checkpoint")
        fails(folder, [*words, os.path.join(folder, "loop")], FILES, words[-1], "loop", "levels of symbolic links")
        fails(folder, [*words, os.path.join(folder, "lost")], FILES, words[-1], "lost", "/no: No such file")
    fails(folder, ["train", job, "--trace", "a", "--save-weights", "b"], USAGE, "--save-weights b", "--trace",
          cwd=folder)
    if ls.contents(os.path.join(folder, "out")) != before:
        raise ls.Failed("a file changed")


@with_job
def results_into_descriptors(folder):
    """What leads through /proc is refused, also where standard output is a plain file. Only links of this folder are
    named: a command that took them for files could replace nothing of the machine."""
    job, log = os.path.join(folder, "job.yaml"), os.path.join(folder, "log")
    ls.run([ls.BINARY, "train", job, "--quiet"])
    links = {"standard": "/proc/self/fd/1", "twice": "standard", "fd": "/proc/self/fd"}
    for name, target in links.items():
        os.symlink(target, os.path.join(folder, name))
    for words in (["train", job, "--trace"], ["train", job, "--save-weights"], ["predict", job, "--output"]):
        for place in ("standard", "twice", "fd/1", "/proc/self/fd/1"):
            with open(log, "w", encoding="utf-8") as file:
                done = subprocess.run([ls.BINARY, *words, os.path.join(folder, place)], stdout=file,
                                      stderr=subprocess.PIPE, text=True, check=False, env=ls.environment(),
                                      timeout=ls.DEADLINE_S)
            ls.says((done.returncode, "", done.stderr), FILES, words[-1], place, "belongs to the system")
            for name, target in links.items():
                kept_link(folder, os.path.join(folder, name), target)
            if read(folder, "log"):
                raise ls.Failed(f"{words[-1]} {place}: {read(folder, 'log')[:200]}")


@with_job
def results_over_what_is_read(folder):
    """Nor of what a worker reads, of a part of a checkpoint, or of the other result."""
    job, out = os.path.join(folder, "job.yaml"), os.path.join(folder, "out")
    secret = ls.write(folder, "s3", ls.SECRET + "\n")
    os.chmod(secret, 0o600)
    ls.run([ls.BINARY, "train", job, "--quiet", "--max-steps", "9", "--set", "run.checkpoint.every_steps=9"])
    manifest = os.path.join(out, "step-9", "manifest.json")
    other = os.path.join(folder, "other")
    shutil.copytree(out, other)
    os.symlink(os.path.join("out", "LATEST"), os.path.join(folder, "newest"))

    def contents():
        """Without what the coordinator below writes."""
        return {k: v for k, v in ls.contents(folder).items() if k not in ("out/LOCK", "out/journal")}
    before = contents()
    worker = ["worker", job, "--coordinator", "127.0.0.1:1", "--secret-file", secret]
    for name in ("job.yaml", "model.json", "x.npy", "y.npy", "s3"):
        for option in ("--trace", "--save-weights"):
            fails(folder, [*worker, option, os.path.join(folder, name)], USAGE, option, name, "is read here")
    head = ls.start([ls.BINARY, "coordinator", job, "--workers", "1"], env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    try:
        where = "127.0.0.1:" + head.stdout.readline().split("port ")[1].split()[0]
        for name in ("job.yaml", "model.json", "x.npy"):
            told = ls.run([ls.BINARY, "worker", "--coordinator", where, "--secret-file", secret, "--trace",
                           os.path.join(folder, name)], check=False)
            ls.says(told, USAGE, "--trace", name, "is read here")
    finally:
        ls.end(head)
    fails(folder, [*worker, "--trace", manifest], USAGE, "--trace", "manifest.json", "checkpoint")
    part = part_of(out, 9)
    for place in (manifest, part, os.path.join(out, "LATEST"), os.path.join(out, "LOCK"), os.path.join(out, "journal"),
                  os.path.join(out, "step-9", "new"), os.path.join(folder, "newest"),
                  os.path.join(out, "step-9", "..", "LATEST")):
        for words in (["train", job, "--trace"], ["train", job, "--save-weights"], ["predict", job, "--output"],
                      ["predict", job, "--checkpoint", out, "--output"]):
            fails(folder, [*words, place], USAGE, words[-1], place, "belongs to a checkpoint")
    for place in (other, os.path.join(other, "step-9")):
        fails(folder, ["predict", job, "--checkpoint", place, "--output", part_of(other, 9)], USAGE, "--output",
              "belongs to a checkpoint")
    # Two names of one file, which is there or not.
    for name in ("job2.json", "s3"):
        fails(folder, ["train", job, "--trace", name, "--save-weights", "./" + name, "--max-steps", "9"], USAGE,
              "--save-weights ./" + name, "--trace", cwd=folder)
    if contents() != before:
        raise ls.Failed("a file changed")
    # What stands beside the checkpoints belongs to nobody.
    ls.run([ls.BINARY, "predict", job, "--output", os.path.join(out, "p.npy")])


def closed(*numbers):
    def close():
        for number in numbers:
            os.close(number)
    return close


@with_job
def closed_descriptors(folder):
    """No file and no socket gets the number of a standard descriptor that is closed; the work is done all the same."""
    words = ["train", os.path.join(folder, "job.yaml"), "--workers", "2", "--quiet"]
    for number, numbers in enumerate(((0, 1), (0,), (0, 1, 2), (1, 2), (2,))):
        directory = os.path.join(folder, f"out{number}")
        got, _, err = ls.run([ls.BINARY, *words, "--set", f"run.checkpoint.directory={directory}"], check=False,
                             preexec_fn=closed(*numbers))
        if got != (FILES if 1 in numbers else 0) or ls.steps_saved(directory)[-1] != 20:
            raise ls.Failed(f"{numbers} closed: exit status {got}, {ls.steps_saved(directory)}: {err.strip()[-300:]}")
        if 1 in numbers and 2 not in numbers:
            ls.says((got, "", err), FILES, "cannot write to standard output")
    ls.none_left(folder, 1)


@with_job
def full_standard_output(folder):
    """Results that cannot be written are an error of one sentence, whatever they are."""
    job = os.path.join(folder, "job.yaml")
    ls.run([ls.BINARY, "train", job, "--quiet"])
    for words in (["train", job, "--quiet"], ["train", job, "--quiet", "--json"], ["plan", job],
                  ["plan", job, "--json"], ["evaluate", job], ["evaluate", job, "--json"],
                  ["inspect", os.path.join(folder, "out")], ["version"], ["--version"], ["--help"],
                  ["train", "--help"], ["help", "train"], [],
                  ["predict", job, "--output", os.path.join(folder, "p.npy")]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([ls.BINARY, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                                  env=ls.environment(), timeout=ls.DEADLINE_S)
        ls.says((done.returncode, "", done.stderr), FILES, "cannot write to standard output: No space left on device")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([ls.BINARY, "plan", job, "--json", "--set", "epochs=0"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False, env=ls.environment())
    ls.says((done.returncode, "", done.stderr), INVALID, "epochs")


CASES = [unwritable_results, results_over_inputs, results_through_links, results_over_inputs_through_links,
         results_into_descriptors, results_over_what_is_read, closed_descriptors, full_standard_output]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
