#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs that go on: finished ones, longer ones, changed ones, on other workers; weights out and in; what a person sees
meanwhile; and evaluate and predict on what was saved.

Usage: resume.py [CASE...]
"""
import ast
import functools
import os
import pty
import select
import struct
import sys
import time
import zipfile

import lockstep as ls

INVALID, FILES, BUSY = 3, 4, 8


def with_job(case):
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            return case(folder, ls.small_job(folder, epochs=6), os.path.join(folder, "out"))
    return run


def text_of(job, out, *words):
    """What train prints for a person; (stdout, stderr)."""
    return ls.run([ls.BINARY, "train", job, "--set", f"run.checkpoint.directory={out}", *words])[1:]


def arrays(path):
    """{name: (shape, floats)} of an .npz of little-endian f32."""
    found = {}
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            data = file.read(name)
            length = struct.unpack("<H", data[8:10])[0]
            head = ast.literal_eval(data[10:10 + length].decode())
            if head["descr"] != "<f4" or head["fortran_order"]:
                raise ls.Failed(f"{name} is {head}")
            rest = data[10 + length:]
            found[name.removesuffix(".npy")] = head["shape"], struct.unpack(f"<{len(rest) // 4}f", rest)
    return found


def npy_floats(path):
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<H", data[8:10])[0]
    head, rest = ast.literal_eval(data[10:10 + length].decode()), data[10 + length:]
    if head["descr"] != "<f4":
        raise ls.Failed(f"{path} is {head}")
    return head["shape"], struct.unpack(f"<{len(rest) // 4}f", rest)


@with_job
def finished_job(folder, job, out):
    """Run again, a finished job says so, trains no step and writes no checkpoint."""
    first = ls.train(job, out)
    before = ls.checkpoints(out)
    again = ls.train(job, out)
    ls.same(again, first)
    if not again["finished"] or again["loss"] != first["loss"] or again["accuracy"] != first["accuracy"]:
        raise ls.Failed(f"{again} instead of {first}")
    stdout, _ = text_of(job, out, "--workers", "3")
    if "already finished" not in stdout.lower() or first["params_sha256"] not in stdout:
        raise ls.Failed(f"it said {stdout!r}")
    if "throughput" in stdout or "first step" in stdout:
        raise ls.Failed(f"it tells the speed of no step: {stdout!r}")
    if ls.checkpoints(out) != before:
        raise ls.Failed("the checkpoints changed")


@with_job
def more_epochs(folder, job, out):
    """A longer run is the shorter one and then the rest."""
    expected = ls.train(job, os.path.join(folder, "whole"), "--set", "epochs=9")
    ls.train(job, out)
    ls.same(ls.train(job, out, "--set", "epochs=9"), expected)
    fewer = ls.run([ls.BINARY, "train", job, "--json", "--quiet", "--set", "epochs=2"], check=False)
    if fewer[0] == 0:
        ls.same(ls.summary(fewer[1]), expected)  # it is beyond them already
    else:
        ls.says(fewer, INVALID, "epochs")


@with_job
def max_steps(folder, job, out):
    expected = ls.train(job, os.path.join(folder, "whole"))
    for steps in (1, 3, 5, 6, 13, 1000):
        told = ls.train(job, out, "--max-steps", str(steps))
        if told["steps"] != min(steps, 30):
            raise ls.Failed(f"{told['steps']} steps instead of {steps}")
    ls.same(told, expected)
    if told["loss"] != expected["loss"] or told["accuracy"] != expected["accuracy"]:
        raise ls.Failed("loss or accuracy depends on where it stopped")


@with_job
def changed_learning_rate(folder, job, out):
    """It is for the user to change, and counts from there."""
    expected = ls.train(job, os.path.join(folder, "whole"))
    ls.train(job, out, "--max-steps", "10")
    changed = ls.train(job, out, "--set", "optimizer.learning_rate=0.01")
    if changed["steps"] != expected["steps"] or changed["params_sha256"] == expected["params_sha256"]:
        raise ls.Failed(f"{changed}")


@with_job
def other_worlds(folder, job, out):
    """Stopped every few steps and resumed in another shape each time, it arrives where it would have."""
    expected = ls.train(job, os.path.join(folder, "whole"), "--workers", "1")
    shapes = [["--workers", "3"], ["--workers", "1", "--threads", "2"], ["--workers", "2", "--transport", "tcp"],
              ["--workers", "2", "--set", "run.execution=eager"], ["--workers", "1", "--replicas", "2"],
              ["--workers", "5", "--transport", "shm"], ["--workers", "2", "--set", "run.micro_shards=1"],
              ["--workers", "1", "--set", "run.strategy=one_device"], ["--workers", "1", "--set", "run.isa=ref"]]
    for number, shape in enumerate(shapes):
        told = ls.train(job, out, "--max-steps", str(3 * (number + 1)), *shape)
        if told["steps"] != 3 * (number + 1):
            raise ls.Failed(f"{told['steps']} steps with {shape}")
    ls.same(ls.train(job, out, "--workers", "8"), expected)


@with_job
def default_directory(folder, job, out):
    """A job file that names no directory saves at its end, in out/ and the file's name beside it."""
    expected = ls.train(job, out)
    with open(job, encoding="utf-8") as file:
        text = file.read()
    ls.write(folder, "job.yaml", text.replace("  checkpoint: {directory: out, every_steps: 5, keep: 2}\n", ""))
    told = ls.summary(ls.run([ls.BINARY, "train", job, "--json", "--quiet"])[1])
    ls.same(told, expected)
    if told["checkpoint"] != os.path.join(out, "job") or ls.steps_saved(told["checkpoint"]) != [30]:
        raise ls.Failed(f"{told['checkpoint']} holds {ls.steps_saved(told['checkpoint'])}")


@with_job
def kept_checkpoints(folder, job, out):
    """keep: 2 keeps two, whole ones, and nothing half-written."""
    ls.train(job, out)
    if ls.steps_saved(out) != [25, 30]:
        raise ls.Failed(f"kept {ls.steps_saved(out)}")
    strange = [n for n in os.listdir(out) if n not in ("LATEST", "LOCK", "journal", "step-25", "step-30")]
    if strange:
        raise ls.Failed(f"left {strange}")
    for step in ("step-25", "step-30"):
        ls.run([ls.BINARY, "inspect", os.path.join(out, step)])


@with_job
def fresh(folder, job, out):
    """--fresh begins anew where nothing stands; it overwrites only where that was said."""
    expected = ls.train(job, out, "--fresh")
    before = ls.checkpoints(out)
    ls.says(ls.run([ls.BINARY, "train", job, "--fresh"], check=False), BUSY, out, "--overwrite")
    if ls.checkpoints(out) != before:
        raise ls.Failed("the checkpoints changed")
    ls.says(ls.run([ls.BINARY, "train", job, "--fresh", "--overwrite", "--set", "data.validation.labels=gone.npy"],
                   check=False), FILES, "gone.npy")  # a job that cannot be trained removes nothing
    if ls.checkpoints(out) != before:
        raise ls.Failed("a job that does not begin removed an earlier one's checkpoints")
    other = ls.train(job, out, "--fresh", "--overwrite", "--set", "seed=8")
    if other["params_sha256"] == expected["params_sha256"]:
        raise ls.Failed("another seed gave the same numbers")
    ls.same(ls.train(job, out, "--fresh", "--overwrite"), expected)


@with_job
def half_removed(folder, job, out):
    """What a kill of --fresh --overwrite or somebody else leaves (no manifest, no LATEST) does not stop the next run."""
    expected = ls.train(job, out)
    for step in ls.steps_saved(out):
        os.remove(os.path.join(out, f"step-{step}", "manifest.json"))
    ls.says(ls.run([ls.BINARY, "train", job, "--quiet"], check=False), 5, "manifest.json", "--fresh --overwrite")
    os.remove(os.path.join(out, "LATEST"))
    os.mkdir(os.path.join(out, "step-99"))
    ls.same(ls.train(job, out), expected)
    if ls.steps_saved(out) != [25, 30] or not os.path.isdir(os.path.join(out, "step-99")):
        raise ls.Failed(f"kept {os.listdir(out)}")


@with_job
def weights_out_and_in(folder, job, out):
    """What --save-weights writes is where initial_weights begins."""
    path = os.path.join(folder, "w.npz")
    trained = ls.train(job, out, "--save-weights", path)
    weights = arrays(path)
    if {name: shape for name, (shape, _) in weights.items()} != {
            "hidden/kernel": (12, 16), "hidden/bias": (16,), "out/kernel": (16, 5), "out/bias": (5,)}:
        raise ls.Failed(f"{ {name: shape for name, (shape, _) in weights.items()} }")
    begun = os.path.join(folder, "w2.npz")
    ls.train(job, os.path.join(folder, "on"), "--set", "initial_weights=w.npz", "--set", "optimizer.learning_rate=1.0e-30",
             "--max-steps", "1", "--save-weights", begun)
    if arrays(begun) != weights:
        raise ls.Failed("it did not begin with the weights")
    told = ls.summary(ls.run([ls.BINARY, "evaluate", job, "--json"])[1])
    if abs(told["loss"] - trained["val_loss"]) > 1e-12:
        raise ls.Failed(f"{told['loss']} instead of {trained['val_loss']}")


@with_job
def plain_progress(folder, job, out):
    """In a file progress is plain lines on stderr, and --quiet is silent."""
    stdout, stderr = text_of(job, out)
    if "\r" in stderr or "\x1b" in stderr or "\r" in stdout or "\x1b" in stdout:
        raise ls.Failed("control characters in a file")
    lines = [line for line in stderr.split("\n") if line.startswith("epoch ")]
    for epoch in range(1, 7):
        if not any(line.startswith(f"epoch {epoch}/6 ") and "val_loss" in line and "val_accuracy" in line
                   for line in lines):
            raise ls.Failed(f"no line for epoch {epoch}: {stderr}")
    if "Finished after 30 steps" not in stdout or out not in stdout:
        raise ls.Failed(f"it ended with {stdout!r}")
    stdout, stderr = text_of(job, os.path.join(folder, "other"), "--quiet", "--json")
    if stderr or stdout.count("\n") != 1:
        raise ls.Failed(f"--quiet --json said {stdout!r} and {stderr!r}")


def at_a_terminal(words):
    """Runs a command on a pseudo-terminal: (status, all it showed)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(words[0], words, ls.environment())
    shown, until = b"", time.monotonic() + ls.DEADLINE_S
    while time.monotonic() < until:
        if select.select([terminal], [], [], 1)[0]:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                break  # the other end is closed
            if not chunk:
                break
            shown += chunk
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@with_job
def loss_that_is_not_finite(folder, job, out):
    """Said once, with the step; training goes on to its end, and every epoch keeps its lines in their order."""
    with open(os.path.join(folder, "x.npy"), "rb") as file:
        data = bytearray(file.read())
    data[-4:] = struct.pack("<f", float("nan"))
    ls.write(folder, "nan.npy", bytes(data))
    shown, err = text_of(job, out, "--set", "data.train.features=nan.npy")
    told = [line for line in err.split("\n") if line.startswith("the loss is ")]
    if len(told) != 1 or " from step " not in told[0] or "not a finite number" not in shown:
        raise ls.Failed(f"{shown} {err}")
    if "-nan" in err or "loss nan" not in err:
        raise ls.Failed(err)
    quiet = ls.run([ls.BINARY, "train", job, "--quiet", "--fresh", "--overwrite", "--set", "data.train.features=nan.npy",
                    "--set", f"run.checkpoint.directory={out}"])[2].strip().split("\n")
    if len(quiet) != 1 or not quiet[0].startswith("the loss is not a number from step "):
        raise ls.Failed(quiet)
    lines = [line for line in err.split("\n") if line.startswith("epoch ") and "step 5/5" in line]
    expected = [f"epoch {epoch}/6" for epoch in range(1, 7) for _ in range(2)]
    if [line.split("  ")[0] for line in lines] != expected or ["val_loss" in line for line in lines] != [False, True] * 6:
        raise ls.Failed(err)


@with_job
def bar_at_a_terminal(folder, job, out):
    job = ls.small_job(folder, epochs=1500, every_steps=500)  # some tenths of a second: bars are drawn ten times one
    status, shown = at_a_terminal([ls.BINARY, "train", job, "--set", f"run.checkpoint.directory={out}"])
    if status != 0:
        raise ls.Failed(f"status {status}: {shown[-300:]}")
    if "\r\x1b[K" not in shown or "[====" not in shown or "samples/s" not in shown:
        raise ls.Failed(f"no bar in {shown[:600]!r}")
    if "Finished after 7500 steps" not in shown:
        raise ls.Failed(f"no summary in {shown[-600:]!r}")


@with_job
def predictions(folder, job, out):
    """predict's outputs are the same bits after training on any workers, and its best classes are evaluate's accuracy."""
    outputs = set()
    for workers in ("1", "3"):
        place = os.path.join(folder, f"o{workers}")
        ls.train(job, place, "--workers", workers)
        for threads in ("1", "2"):
            path = os.path.join(folder, "p.npy")
            ls.run([ls.BINARY, "predict", job, "--checkpoint", place, "--output", path, "--threads", threads])
            with open(path, "rb") as file:
                outputs.add(file.read())
    if len(outputs) != 1:
        raise ls.Failed(f"{len(outputs)} different outputs")
    shape, values = npy_floats(path)
    if shape != (ls.SMALL_SAMPLES, ls.SMALL_CLASSES):
        raise ls.Failed(f"shape {shape}")
    with open(os.path.join(folder, "y.npy"), "rb") as file:
        labels = struct.unpack(f"<{ls.SMALL_SAMPLES}i", file.read()[-4 * ls.SMALL_SAMPLES:])
    rows = [values[i * ls.SMALL_CLASSES:(i + 1) * ls.SMALL_CLASSES] for i in range(ls.SMALL_SAMPLES)]
    right = sum(row.index(max(row)) == label for row, label in zip(rows, labels))
    told = ls.summary(ls.run([ls.BINARY, "evaluate", job, "--checkpoint", place, "--json"])[1])
    if abs(told["accuracy"] - right / ls.SMALL_SAMPLES) > 1e-12 or told["samples"] != ls.SMALL_SAMPLES:
        raise ls.Failed(f"{told} instead of {right} right")
    # The same from a file, whose last batch is short.
    with open(os.path.join(folder, "x.npy"), "rb") as file:
        data = file.read()[-4 * ls.SMALL_SAMPLES * ls.SMALL_FEATURES:]
    ls.write(folder, "few.npy", ls.npy("<f4", (37, ls.SMALL_FEATURES), data[:37 * 4 * ls.SMALL_FEATURES]))
    ls.run([ls.BINARY, "predict", job, "--checkpoint", place, "--input", os.path.join(folder, "few.npy"), "--output",
            path])
    if npy_floats(path) != ((37, ls.SMALL_CLASSES), values[:37 * ls.SMALL_CLASSES]):
        raise ls.Failed("a row depends on the rows beside it")


@with_job
def elsewhere(folder, job, out):
    """Paths of a job are relative to its file, whatever the current directory is."""
    expected = ls.train(job, out)
    told = ls.summary(ls.run([ls.BINARY, "train", "job.yaml", "--json", "--quiet", "--fresh", "--overwrite"],
                             cwd=folder)[1])
    ls.same(told, expected)
    told = ls.summary(ls.run([ls.BINARY, "train", os.path.join("..", os.path.basename(folder), "job.yaml"), "--json",
                              "--quiet"], cwd=folder)[1])
    ls.same(told, expected)


CASES = [finished_job, more_epochs, max_steps, changed_learning_rate, other_worlds, default_directory,
         kept_checkpoints, fresh, half_removed, weights_out_and_in, plain_progress,
         loss_that_is_not_finite, bar_at_a_terminal, predictions, elsewhere]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
