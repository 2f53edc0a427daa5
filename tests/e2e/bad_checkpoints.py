#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Directories of checkpoints that cannot be written, are damaged, of another job or in use.

Usage: bad_checkpoints.py [CASE...]
"""
import os
import resource
import shutil
import sys

import lockstep as ls
from refusal import INVALID, FILES, DAMAGED, BUSY, fails, train_fails, with_job, edit, read, flip, part_of


@with_job
def unwritable_checkpoint_directory(folder):
    ls.write(folder, "file", b"x")
    for place in (os.path.join(folder, "file", "out"), os.path.join(folder, "file"), "/proc/nothing/out",
                  "/dev/null/out"):
        train_fails(folder, FILES, place, words=["--set", f"run.checkpoint.directory={place}"])


def limit_files(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@with_job
def full_checkpoint_directory(folder):
    """Writes fail beyond a size, as on a full disk; the checkpoints of before stay, and later all goes on."""
    out = os.path.join(folder, "out")
    expected = ls.train(os.path.join(folder, "job.yaml"), os.path.join(folder, "other"))
    ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), "--quiet", "--max-steps", "10"])
    before = ls.checkpoints(out)
    for words in (["--workers", "1"], ["--workers", "2", "--transport", "tcp"]):
        train_fails(folder, FILES, out, "step-15", words=["--quiet", *words], preexec_fn=limit_files(1500))
    after = ls.checkpoints(out)
    if {k: v for k, v in after.items() if k in before} != before:
        raise ls.Failed("the checkpoints of before changed")
    ls.same(ls.train(os.path.join(folder, "job.yaml"), out), expected)
    fails(folder, ["predict", os.path.join(folder, "job.yaml"), "--output", os.path.join(folder, "p.npy")], FILES,
          "p.npy", preexec_fn=limit_files(100))
    if os.path.exists(os.path.join(folder, "p.npy")):
        raise ls.Failed("predict left half a file")
    # A finished job writes nothing but its weights (and a line of its journal).
    train_fails(folder, FILES, "w.npz", words=["--quiet", "--workers", "1", "--set", "run.checkpoint.directory=other",
                                               "--save-weights", os.path.join(folder, "w.npz")],
                preexec_fn=limit_files(1800))
    if os.path.exists(os.path.join(folder, "w.npz")):
        raise ls.Failed("train left half a file of weights")


@with_job
def damaged_checkpoint(folder):
    """The newest is damaged: one warning, the one before is taken, and training arrives at the same numbers."""
    job, out = os.path.join(folder, "job.yaml"), os.path.join(folder, "out")
    expected = ls.train(job, os.path.join(folder, "other"))
    ls.run([ls.BINARY, "train", job, "--quiet", "--max-steps", "10"])
    flip(part_of(out, 10))
    status, stdout, err = ls.run([ls.BINARY, "train", job, "--quiet", "--json"])
    ls.same(ls.summary(stdout), expected)
    if err.count("step-10") != 1 or len(err.strip().split("\n")) != 1 or " warn " not in err:
        raise ls.Failed(f"not one warning: {err!r}")
    ls.run([ls.BINARY, "inspect", os.path.join(out, "step-20")])


@with_job
def all_checkpoints_damaged(folder):
    job, out = os.path.join(folder, "job.yaml"), os.path.join(folder, "out")
    ls.run([ls.BINARY, "train", job, "--quiet", "--max-steps", "10"])
    for step in ls.steps_saved(out):
        flip(part_of(out, step))
    before = ls.checkpoints(out)
    train_fails(folder, DAMAGED, out)
    fails(folder, ["evaluate", job], DAMAGED, out)
    fails(folder, ["inspect", out], DAMAGED, out)
    fails(folder, ["predict", job, "--output", os.path.join(folder, "p.npy")], DAMAGED, out)
    train_fails(folder, BUSY, out, words=["--fresh"])
    if ls.checkpoints(out) != before:
        raise ls.Failed("the checkpoints changed")
    ls.run([ls.BINARY, "train", job, "--quiet", "--fresh", "--overwrite"])


@with_job
def damaged_manifest(folder):
    job, out = os.path.join(folder, "job.yaml"), os.path.join(folder, "out")
    expected = ls.train(job, os.path.join(folder, "other"))
    for damage in (b"", b"{}", b"[" * 5000, b"\0" * 300):
        shutil.rmtree(out, ignore_errors=True)
        ls.run([ls.BINARY, "train", job, "--quiet", "--max-steps", "10"])
        ls.write(os.path.join(out, "step-10"), "manifest.json", damage)
        ls.same(ls.train(job, out), expected)


@with_job
def checkpoint_of_another_job(folder):
    """What differs is named; nothing is overwritten."""
    job, out = os.path.join(folder, "job.yaml"), os.path.join(folder, "out")
    ls.run([ls.BINARY, "train", job, "--quiet", "--max-steps", "10"])
    before = ls.checkpoints(out)
    train_fails(folder, INVALID, "seed", out, words=["--set", "seed=8"])
    train_fails(folder, INVALID, "batch.size", out, words=["--set", "batch.size=16"])
    train_fails(folder, INVALID, "optimizer.name", out, words=["--set", "optimizer.name=sgd"])
    sentence = fails(folder, ["evaluate", job, "--set", "batch.size=16"], INVALID, "batch.size", "cannot evaluate")
    if "resume" in sentence or "--fresh" in sentence:
        raise ls.Failed(sentence)
    train_fails(folder, BUSY, out, "--overwrite", words=["--fresh"])
    model = read(folder, "model.json")
    edit(folder, "model.json", '"units": 16', '"units": 17')
    train_fails(folder, INVALID, "model", out)
    ls.write(folder, "model.json", model)
    x = read(folder, "x.npy")
    ls.write(folder, "x.npy", x[:-1] + bytes([x[-1] ^ 1]))
    train_fails(folder, INVALID, "data.train", out)
    if ls.checkpoints(out) != before:
        raise ls.Failed("the checkpoints changed")


@with_job
def two_in_one_directory(folder):
    job, out = ls.small_job(folder, epochs=1000000, every_steps=50), os.path.join(folder, "out")
    first = ls.start([ls.BINARY, "train", job, "--quiet"])
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a first checkpoint")
        ls.says(ls.run([ls.BINARY, "train", job], check=False), BUSY, out, str(first.pid))
        ls.says(ls.run([ls.BINARY, "train", job, "--fresh", "--overwrite"], check=False), BUSY, str(first.pid))
        if first.poll() is not None:
            raise ls.Failed("the first one ended")
        first.terminate()
        if first.wait(timeout=20) != 130:
            raise ls.Failed(f"the first one ended with {first.returncode}")
    finally:
        ls.end(first)
    ls.none_left(folder)


CASES = [unwritable_checkpoint_directory, full_checkpoint_directory, damaged_checkpoint, all_checkpoints_damaged,
         damaged_manifest, checkpoint_of_another_job, two_in_one_directory]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
