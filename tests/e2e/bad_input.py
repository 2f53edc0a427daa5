#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind: a documented exit status, exactly one sentence that says what and where, no process left
behind, and what stood on disk before is untouched.

Usage: bad_input.py [CASE...]
"""
import functools
import gzip
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import lockstep as ls

USAGE, INVALID, FILES, DAMAGED, PEER, REFUSED, BUSY = 2, 3, 4, 5, 6, 7, 8


def fails(folder, words, status, *texts, env=None, **options):
    """A command that must fail so; nothing of it may be alive afterwards."""
    sentence = ls.says(ls.run([ls.BINARY, *words], env=env, check=False, **options), status, *texts)
    ls.none_left(folder, 1)
    return sentence


def train_fails(folder, status, *texts, words=(), env=None, **options):
    return fails(folder, ["train", os.path.join(folder, "job.yaml"), *words], status, *texts, env=env, **options)


def with_job(case):
    """Gives a case a fresh folder with a small job."""
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            ls.small_job(folder)
            return case(folder)
    return run


def edit(folder, name, old, new):
    path = os.path.join(folder, name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if old not in text:
        raise ls.Failed(f"{old!r} is not in {path}")
    ls.write(folder, name, text.replace(old, new))


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


# --- the command line ------------------------------------------------------------------------------------------------

@with_job
def command_line(folder):
    job = os.path.join(folder, "job.yaml")
    fails(folder, ["trian", job], USAGE, '"trian"', "lockstep train")
    fails(folder, ["dance", job], USAGE, '"dance"', "--help")
    fails(folder, ["train", job, "--worker", "2"], USAGE, "--worker", "--workers")
    fails(folder, ["train", job, "--polka"], USAGE, "--polka", "--help")
    fails(folder, ["train", job, "-w", "2"], USAGE, "-w")
    fails(folder, ["train"], USAGE, "JOB")
    fails(folder, ["train", job, job], USAGE, job)
    fails(folder, ["train", job, "--workers"], USAGE, "--workers")
    fails(folder, ["train", job, "--max-steps", "many"], USAGE, "--max-steps", "many")
    fails(folder, ["train", job, "--json=yes"], USAGE, "--json")
    fails(folder, ["train", job, "--overwrite"], USAGE, "--fresh")
    fails(folder, ["coordinator", job, "--overwrite"], USAGE, "--fresh", env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    fails(folder, ["worker", job], USAGE, "--coordinator")
    for port in ("0", "00"):
        fails(folder, ["worker", job, "--coordinator", "127.0.0.1:" + port], USAGE, "--coordinator", "port 0",
              env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    fails(folder, ["predict", job], USAGE, "--output")
    fails(folder, ["evaluate", job, "--data", "tset"], USAGE, "tset")
    fails(folder, ["train", job, "--save-weights", "/"], FILES, "--save-weights", "directory")
    for word in ("help", "-h", "--help"):
        if ls.run([ls.BINARY, word, "train"])[1] != ls.run([ls.BINARY, "train", "--help"])[1]:
            raise ls.Failed(f"lockstep {word} train does not show the help of train")
    fails(folder, ["help", "trian"], USAGE, "trian", "lockstep train")
    fails(folder, ["bench", "train", "--model", "rnn"], USAGE, "rnn", "mlp")


@with_job
def environment(folder):
    """A variable that cannot be what it says is refused by every command, also as JSON."""
    job = os.path.join(folder, "job.yaml")
    for words in (["train", job], ["plan", job, "--json"], ["inspect", folder], ["version"]):
        fails(folder, words, USAGE, "LOCKSTEP_LOG", "error, warn, info or debug", '"loud"',
              env=ls.environment(LOCKSTEP_LOG="loud"))
        fails(folder, words, USAGE, "LOCKSTEP_HOST", "letters, digits", env=ls.environment(LOCKSTEP_HOST="a b"))
        fails(folder, words, USAGE, "LOCKSTEP_PLUGINS", "a directory", '"/nope"',
              env=ls.environment(LOCKSTEP_PLUGINS="/nope"))
    for name in ("LOCKSTEP_LOG", "LOCKSTEP_HOST", "LOCKSTEP_PLUGINS"):
        ls.run([ls.BINARY, "plan", job], env=ls.environment(**{name: ""}))


@with_job
def settings_of_a_job(folder):
    def rejected(setting, *texts):
        train_fails(folder, INVALID, *texts, words=["--set", setting])
    rejected("optimizer.learning_rat=0.1", "optimizer.learning_rat", "learning_rate")
    rejected("epoch=3", "epoch", "epochs")
    rejected("optimizer.momentum=0.9", "optimizer.momentum", "is not an option of adam")
    rejected("run.wrokers=3", "run.wrokers", "workers")
    rejected("zebra=3", "zebra")
    rejected("batch.size=big", "batch.size", "big")
    rejected("batch.size=0", "batch.size")
    rejected("batch.size=-32", "batch.size")
    rejected("batch.shards=3", "shards")
    rejected("epochs=1.5", "epochs")
    rejected("seed=[1]", "seed")
    rejected("version=2", "version")
    rejected("numerics=9", "numerics")
    rejected("optimizer.name=adamw2", "adamw2", "adam")
    rejected("loss=crossentropy", "crossentropy")
    rejected("metrics=[acuracy]", "acuracy", "accuracy")
    rejected("metrics={a: 1}", "metrics must be a list of names", '{"a":1}')
    rejected("metrics=3", "metrics must be a list of names")
    rejected("metrics=[accuracy, {a: 1}]", "metrics must be a list of names", '{"a":1}')
    rejected("metrics=[accuracy", "--set metrics=[accuracy: it is not valid YAML")
    rejected("run.transport=smoke", "smoke", "shm")
    rejected("run.workers=0", "workers")
    rejected("run.workers=100000", "workers")
    rejected("run.strategy=one_device", "one_device", "multi_worker")
    rejected("run.isa=z80", "z80")
    if not ls.supports("neon"):
        rejected("run.isa=neon", "run.isa takes")
    rejected("run.device=tpu9", "tpu9")
    rejected("math=sloppy", "sloppy")
    rejected("data.train.format=csv", "csv", "idx")


@with_job
def syntax_of_a_job(folder):
    job = read(folder, "job.yaml")
    ls.write(folder, "job.yaml", b"version: 1\nbatch: {size: 32\nepochs: 4\n")
    train_fails(folder, INVALID, "job.yaml", "line")
    ls.write(folder, "job.yaml", job + b"epochs: 5\n")
    train_fails(folder, INVALID, "epochs")
    ls.write(folder, "job.yaml", b"")
    train_fails(folder, INVALID, "job.yaml")
    ls.write(folder, "job.yaml", b"\xff\xfe\x00binary\x00")
    train_fails(folder, INVALID, "job.yaml")
    ls.write(folder, "job.yaml", job.replace(b"model: model.json\n", b""))
    train_fails(folder, INVALID, "model")
    ls.write(folder, "job.yaml", job.replace(b"seed: 7", b"sead: 7"))
    train_fails(folder, INVALID, "sead", "seed", "job.yaml")


# --- files -----------------------------------------------------------------------------------------------------------

@with_job
def missing_files(folder):
    job = os.path.join(folder, "job.yaml")
    for command in ("train", "plan", "evaluate", "coordinator"):
        fails(folder, [command, os.path.join(folder, "no.yaml")], FILES, "no.yaml",
              env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    fails(folder, ["predict", os.path.join(folder, "no.yaml"), "--output", os.path.join(folder, "p.npy")], FILES,
          "no.yaml")
    train_fails(folder, FILES, "nomodel.json", words=["--set", "model=nomodel.json"])
    train_fails(folder, FILES, "nox.npy", words=["--set", "data.train.features=nox.npy"])
    train_fails(folder, FILES, "noy.npy", words=["--set", "data.train.labels=noy.npy"])
    train_fails(folder, FILES, "nov.npy", words=["--set", "data.validation.features=nov.npy"])
    train_fails(folder, FILES, "now.npz", words=["--set", "initial_weights=now.npz"])
    fails(folder, ["train", folder], FILES, folder)  # a directory
    fails(folder, ["evaluate", job], FILES, "out")  # nothing is trained yet
    fails(folder, ["evaluate", job, "--checkpoint", os.path.join(folder, "nockpt")], FILES, "nockpt")
    fails(folder, ["inspect", os.path.join(folder, "nockpt")], FILES, "nockpt")
    if os.path.exists(os.path.join(folder, "out", "LATEST")):
        raise ls.Failed("a checkpoint appeared")


def npy_variants(good):
    header = len(good) - 4 * ls.SMALL_SAMPLES * ls.SMALL_FEATURES
    yield "cut inside its data", good[:-5]
    yield "cut inside its header", good[:20]
    yield "empty", b""
    yield "too long", good + b"12345678"
    yield "no npy", b"PK\x03\x04" + good[4:]
    yield "objects", good.replace(b"'<f4'", b"'|O' ")
    yield "column order", good.replace(b"False", b"True ")
    yield "a shape that overflows", good[:header].replace(b"(160, 12, )", b"(%d, 12, )" % 2**62) + good[header:]
    yield "a negative shape", good.replace(b"(160,", b"(-16,")


@with_job
def npy_files(folder):
    for what, data in npy_variants(read(folder, "x.npy")):
        ls.write(folder, "bad.npy", data)
        try:
            status, _, err = ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), "--set",
                                     "data.train.features=bad.npy"], check=False)
            ls.says((status, "", err), status, "bad.npy")
            if status not in (INVALID, DAMAGED):
                raise ls.Failed(f"exit status {status}: {err}")
        except ls.Failed as error:
            raise ls.Failed(f"{what}: {error}") from error
    ls.none_left(folder, 1)


@with_job
def idx_files(folder):
    x, y = read(folder, "x.npy"), read(folder, "y.npy")
    n, f = ls.SMALL_SAMPLES, ls.SMALL_FEATURES
    values = struct.unpack(f"<{n * f}f", x[-4 * n * f:])
    features = ls.idx(13, (n, f), struct.pack(f">{n * f}f", *values))
    labels = ls.idx(8, (n,), bytes(struct.unpack(f"<{n}i", y[-4 * n:])))
    use = ["--set", "data.train.format=idx", "--set", "data.train.features=x.idx", "--set", "data.train.labels=y.idx"]
    ls.write(folder, "x.idx", features)
    ls.write(folder, "y.idx", labels)
    good = ls.train(os.path.join(folder, "job.yaml"), os.path.join(folder, "o1"), *use, "--max-steps", "3")
    npy = ls.train(os.path.join(folder, "job.yaml"), os.path.join(folder, "o2"), "--max-steps", "3")
    if good["params_sha256"] != npy["params_sha256"]:
        raise ls.Failed("IDX and npy of the same numbers differ")
    huge = struct.pack(">BBBBII", 0, 0, 13, 2, 0xffffffff, 0xffffffff) + features[12:]
    for what, name, data in (("cut", "x.idx", features[:-3]), ("cut in the header", "x.idx", features[:9]),
                             ("empty", "x.idx", b""), ("too long", "x.idx", features + b"0"),
                             ("huge", "x.idx", huge), ("an unknown type", "x.idx", b"\0\0\x77" + features[3:]),
                             ("no IDX", "x.idx", b"GIF89a" + features), ("cut", "y.idx", labels[:-1]),
                             ("cut gzip", "x.idx.gz", gzip.compress(features)[:-40]),
                             ("gzip of nothing", "x.idx.gz", b"\x1f\x8b"),
                             ("too long under gzip", "x.idx.gz", gzip.compress(features + b"0"))):
        ls.write(folder, "x.idx", features)
        ls.write(folder, "y.idx", labels)
        ls.write(folder, name, data)
        words = use + (["--set", "data.train.features=x.idx.gz"] if name.endswith("gz") else [])
        status, _, err = ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), *words], check=False)
        if status not in (INVALID, DAMAGED):
            raise ls.Failed(f"{name} {what}: exit status {status}: {err}")
        ls.says((status, "", err), status, name)
    ls.none_left(folder, 1)


def labels_of(folder, values, descr="<i4", code="i"):
    ls.write(folder, "y2.npy", ls.npy(descr, (len(values),), struct.pack(f"<{len(values)}{code}", *values)))
    return ["--set", "data.train.labels=y2.npy"]


@with_job
def labels(folder):
    n = ls.SMALL_SAMPLES
    train_fails(folder, INVALID, "data.train", "5", words=labels_of(folder, [0] * (n - 1) + [ls.SMALL_CLASSES]))
    train_fails(folder, INVALID, "data.train", "-1", words=labels_of(folder, [-1] + [0] * (n - 1)))
    train_fails(folder, INVALID, "data.train", "labels", words=labels_of(folder, [0.5] * n, "<f4", "f"))
    train_fails(folder, INVALID, "data.train", "159", "160", words=labels_of(folder, [0] * (n - 1)))
    train_fails(folder, INVALID, "labels of one number a sample", "the data has (12)",
                words=["--set", "data.train.labels=x.npy"])
    edit(folder, "job.yaml", ", labels: y.npy}\n  validation", "}\n  validation")
    train_fails(folder, INVALID, "labels")


@with_job
def shapes(folder):
    data = struct.pack("<1760f", *([0.0] * 1760))
    ls.write(folder, "x2.npy", ls.npy("<f4", (160, 11), data))
    wide = struct.pack("<1920d", *([0.0] * 1920))
    path = ls.write(folder, "x3.npy", ls.npy("<f8", (160, 12), wide))
    train_fails(folder, INVALID, "data.train", path, "float64", "float32",
                words=["--set", "data.train.features=x3.npy", "--set", "data.validation.features=x3.npy"])
    ls.write(folder, "x4.npy", ls.npy("<i2", (160, 12), bytes(2 * 1920)))
    train_fails(folder, INVALID, "data.train", "read as int32", "float32",
                words=["--set", "data.train.features=x4.npy", "--set", "data.validation.features=x4.npy"])
    train_fails(folder, INVALID, "data.train", "11", "12", words=["--set", "data.train.features=x2.npy"])
    train_fails(folder, INVALID, "data.validation", "11", "12", words=["--set", "data.validation.features=x2.npy"])
    ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), "--quiet"])
    before = ls.checkpoints(os.path.join(folder, "out"))
    fails(folder, ["predict", os.path.join(folder, "job.yaml"), "--input", os.path.join(folder, "x2.npy"), "--output",
                   os.path.join(folder, "p.npy")], INVALID, "11", "12")
    if os.path.exists(os.path.join(folder, "p.npy")):
        raise ls.Failed("predict left a file")
    if ls.checkpoints(os.path.join(folder, "out")) != before:
        raise ls.Failed("the checkpoints changed")


@with_job
def models(folder):
    def rejected(layer, *texts, then=ls.dense("out", ls.SMALL_CLASSES, "softmax")):
        ls.write(folder, "model.json", json.dumps(ls.sequential((ls.SMALL_FEATURES,), layer, then)))
        train_fails(folder, INVALID, "model.json", *texts)
    rejected({"module": "keras.layers", "class_name": "LSTM", "config": {"name": "memory", "units": 3}}, "LSTM")
    rejected(ls.dense("first", 8, "relu", kernel_regularizer={"class_name": "L2", "config": {"l2": 0.01}}), "first",
             "kernel_regularizer")
    rejected(ls.dense("first", 8, "smelu"), "first", "smelu")
    rejected(ls.dense("first", -1), "first", "units")
    rejected(ls.dense("first", 8, wings=2), "first", "wings")
    rejected({"module": "keras.layers", "class_name": "Conv2D",
              "config": {"name": "conv", "filters": 3, "kernel_size": [3, 3]}}, "conv")
    for text in ('{"class_name": "Sequential"', "", "[1, 2]", '{"class_name": "Sequential"}', "[" * 100000):
        ls.write(folder, "model.json", text)
        train_fails(folder, INVALID, "model.json")


# --- the checkpoint directory ----------------------------------------------------------------------------------------

@with_job
def unwritable_checkpoint_directory(folder):
    ls.write(folder, "file", b"x")
    for place in (os.path.join(folder, "file", "out"), os.path.join(folder, "file"), "/proc/nothing/out",
                  "/dev/null/out"):
        train_fails(folder, FILES, place, words=["--set", f"run.checkpoint.directory={place}"])


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
    for words in (["train", job, "--quiet"], ["train", job, "--quiet", "--json"], ["plan", job], ["plan", job, "--json"],
                  ["evaluate", job], ["evaluate", job, "--json"], ["inspect", os.path.join(folder, "out")], ["version"],
                  ["--version"], ["--help"], ["train", "--help"], ["help", "train"], [],
                  ["predict", job, "--output", os.path.join(folder, "p.npy")]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([ls.BINARY, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                                  env=ls.environment(), timeout=ls.DEADLINE_S)
        ls.says((done.returncode, "", done.stderr), FILES, "cannot write to standard output: No space left on device")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([ls.BINARY, "plan", job, "--json", "--set", "epochs=0"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False, env=ls.environment())
    ls.says((done.returncode, "", done.stderr), INVALID, "epochs")


@with_job
def as_it_was_typed(folder):
    """What is wrong with a value is said of the option that gave it."""
    job = os.path.join(folder, "job.yaml")
    fails(folder, ["train", job, "--workers", "0"], INVALID, "--workers 0: run.workers must be from 1 to 256")
    fails(folder, ["plan", job, "--transport", "smoke"], INVALID, "--transport smoke: run.transport")
    fails(folder, ["evaluate", job, "--threads", "many"], INVALID, "--threads many: run.threads")
    fails(folder, ["train", job, "--set", "run.workers=0"], INVALID, "--set run.workers=0: run.workers")
    fails(folder, ["train", job, "--set", "x.y.z=3"], INVALID, "--set x.y.z=3: x is not a key of a job")
    fails(folder, ["train", job, "--set", "run.checkpiont.keep=3"], INVALID, "--set run.checkpiont.keep=3: run.checkpiont")
    fails(folder, ["train", job, "--set", "data.test.format=npy"], INVALID,
          "--set data.test.format=npy: data.test.features is missing")
    fails(folder, ["train", job, "--workers", ""], USAGE, "--workers", "empty value")
    fails(folder, ["bench", "dance"], USAGE, '"dance"', "train|allreduce|overlap")
    fails(folder, ["bench", "train", "--model", "mlp", "--workers", "1000"], USAGE,
          "--workers is from 1 to 256, not 1000")
    fails(folder, ["bench", "allreduce", "--hosts", "3"], USAGE, "--hosts is for --backend hybrid")
    fails(folder, ["bench", "allreduce", "--backend", "hybrid", "--hosts", "3"], USAGE, "from 1 to the 2 ranks, not 3")


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


def flip(path):
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        data[len(data) * 3 // 4] ^= 1
        file.seek(0)
        file.write(data)


def part_of(out, step):
    folder = os.path.join(out, f"step-{step}")
    return os.path.join(folder, sorted(n for n in os.listdir(folder) if n.startswith("part-"))[0])


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


# --- the network -----------------------------------------------------------------------------------------------------

@with_job
def port_in_use(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        env = ls.environment(LOCKSTEP_SECRET=ls.SECRET)
        job = os.path.join(folder, "job.yaml")
        fails(folder, ["coordinator", job, "--listen", where], BUSY, where, env=env)
        fails(folder, ["coordinator", job, "--listen", "nowhere"], USAGE, "nowhere", env=env)
        fails(folder, ["coordinator", job, "--listen", "127.0.0.1:99999"], USAGE, "99999", env=env)
        fails(folder, ["coordinator", job, "--listen", "203.0.113.7:0"], FILES, "203.0.113.7", env=env)


def limit_descriptors(most):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@with_job
def too_few_descriptors(folder):
    """Connections that the system gives no descriptors for are named as that, and not waited for to the deadline."""
    words = ["--workers", "3", "--transport", "tcp", "--quiet"]
    train_fails(folder, FILES, "Too many open files", "ulimit -n", words=words, preexec_fn=limit_descriptors(20))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(42)]
    began = time.monotonic()
    try:
        train_fails(folder, FILES, "Too many open files", "ulimit -n", words=words, pass_fds=held,
                    env=ls.environment(LOCKSTEP_TCP_STREAMS=8), preexec_fn=limit_descriptors(64))
    finally:
        for number in held:
            os.close(number)
    if time.monotonic() - began > 15:
        raise ls.Failed("it took as long as a worker that is missing")
    ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), *words], preexec_fn=limit_descriptors(64))


@with_job
def workers_that_do_not_belong(folder):
    """Each is refused with its own reason; the coordinator goes on waiting, and the right workers train."""
    job, out = os.path.join(folder, "job.yaml"), os.path.join(folder, "out")
    expected = ls.train(job, os.path.join(folder, "other"))
    head = ls.start([ls.BINARY, "coordinator", job, "--json", "--quiet"], env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    started = []
    try:
        where = "127.0.0.1:" + head.stdout.readline().split("port ")[1].split()[0]
        join = [ls.BINARY, "worker", job, "--coordinator", where]
        right, wrong = ls.environment(LOCKSTEP_SECRET=ls.SECRET), ls.environment(LOCKSTEP_SECRET="6b" * 32)
        ls.says(ls.run(join, env=wrong, check=False), REFUSED, "secret", where)
        ls.says(ls.run(join + ["--set", "seed=8"], env=right, check=False), REFUSED, "job", where)
        ls.says(ls.run(join + ["--index", "7"], env=right, check=False), INVALID, "7")
        ls.says(ls.run(join + ["--index", "x"], env=right, check=False), USAGE, "--index")
        ls.says(ls.run(join + ["--set", "model=no.json"], env=right, check=False), FILES, "no.json")
        if head.poll() is not None:
            raise ls.Failed(f"the coordinator ended: {head.stderr.read()}")
        started = [ls.start(join, env=right) for _ in range(2)]
        stdout, err = head.communicate(timeout=60)
        ls.same(ls.summary(stdout), expected)
        if err:
            raise ls.Failed(f"the coordinator said {err}")
        for worker in started:
            if worker.wait(timeout=20) != 0:
                raise ls.Failed(f"a worker ended with {worker.returncode}: {worker.stderr.read()}")
    finally:
        for process in started + [head]:
            ls.end(process)
    if ls.steps_saved(out)[-1] != 20:
        raise ls.Failed("no checkpoint at the end")


@with_job
def secrets(folder):
    job = os.path.join(folder, "job.yaml")
    for command in (["coordinator", job], ["worker", job, "--coordinator", "127.0.0.1:1"]):
        fails(folder, command, USAGE, "LOCKSTEP_SECRET", "--secret-file")
        fails(folder, command, USAGE, "LOCKSTEP_SECRET", "is needed", "--secret-file",
              env=ls.environment(LOCKSTEP_SECRET=""))
        for place in ("/", "/dev/null"):
            fails(folder, command + ["--secret-file", place], FILES, place + " ", "no regular file")
        fails(folder, command, USAGE, "LOCKSTEP_SECRET", "is not 64", "--secret-file",
              env=ls.environment(LOCKSTEP_SECRET="12345"))
        path = ls.write(folder, "secret", ls.SECRET + "\n")
        os.chmod(path, 0o644)
        fails(folder, command + ["--secret-file", path], FILES, path, "600")
        os.chmod(path, 0o600)
        ls.write(folder, "secret", "zz" * 32)
        fails(folder, command + ["--secret-file", path], INVALID, path, "64")
        fails(folder, command + ["--secret-file", path + "2"], FILES, path + "2")


@with_job
def launcher_without_mpi(folder):
    """A launcher's environment, but no plug-in for MPI: it does not train alone, as if nobody had asked for two."""
    os.mkdir(os.path.join(folder, "empty"))
    for names in ({"OMPI_COMM_WORLD_SIZE": 2, "OMPI_COMM_WORLD_RANK": 0}, {"PMI_SIZE": 2, "PMI_RANK": 0}):
        env = ls.environment(LOCKSTEP_PLUGINS=os.path.join(folder, "empty"), **names)
        sentence = train_fails(folder, INVALID, "MPI", words=["--quiet"], env=env)
    if os.path.exists(os.path.join(folder, "out", "LATEST")):
        raise ls.Failed("a checkpoint appeared")
    return sentence


def outcome(result, status, *texts):
    """The JSON object that a failed command's standard output ends with; it says what standard error says."""
    sentence = ls.says(result, status, *texts)
    last = result[1].rstrip("\n").split("\n")[-1]
    if not last.startswith("{"):
        raise ls.Failed(f"standard output ends with {last!r}")
    told = json.loads(last)
    if told["exit_status"] != status or "lockstep: " + told["error"] != sentence or told["status"] in ("", "ok"):
        raise ls.Failed(f"{told} instead of {sentence!r}")
    return told


@with_job
def failures_in_json(folder):
    """With --json the last line of standard output is an object, however the command ended."""
    job = os.path.join(folder, "job.yaml")
    for words, status in ((["train", job, "--polka", "--json"], USAGE), (["train", "--json", job + "l"], FILES),
                          (["train", job, "--json", "--set", "epochs=0"], INVALID),
                          (["evaluate", job, "--json"], FILES), (["plan", job, "--json", "--set", "run.strategy=one_device"], INVALID),
                          (["train", job, "--json", "--set", "data.train.labels=x.npy"], INVALID)):
        outcome(ls.run([ls.BINARY, *words], check=False), status)
    for number in (signal.SIGTERM, signal.SIGINT):
        head = ls.start([ls.BINARY, "coordinator", job, "--json"], env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
        try:
            line = head.stdout.readline()  # its handlers are there
            head.send_signal(number)
            stdout, err = head.communicate(timeout=20)
            told = outcome((head.returncode, line + stdout, err), 130, "stopped before all its workers had joined")
            if told["status"] != "interrupted":
                raise ls.Failed(str(told))
        finally:
            ls.end(head)
    first = ls.start([ls.BINARY, "train", ls.small_job(folder, epochs=1000000), "--json", "--quiet"])
    try:
        ls.wait_until(lambda: ls.steps_saved(os.path.join(folder, "out")), "a first checkpoint")
        os.kill(ls.workers_of(folder)[0], signal.SIGKILL)
        stdout, err = first.communicate(timeout=20)
        outcome((first.returncode, stdout, err), PEER, "killed by signal 9")
    finally:
        ls.end(first)
    stopped = ls.start([ls.BINARY, "train", job, "--json", "--quiet"])
    try:
        ls.wait_until(lambda: ls.workers_of(folder), "a worker")
        saved = ls.steps_saved(os.path.join(folder, "out"))
        ls.wait_until(lambda: ls.steps_saved(os.path.join(folder, "out")) != saved, "another checkpoint")
        stopped.terminate()
        stdout, err = stopped.communicate(timeout=20)
        told = outcome((stopped.returncode, stdout, err), 130, "saved")
        if told["finished"] or told["steps"] < 1:
            raise ls.Failed(str(told))
    finally:
        ls.end(stopped)


CASES = [command_line, environment, failures_in_json, settings_of_a_job, syntax_of_a_job, missing_files, npy_files,
         idx_files, labels, shapes, models, unwritable_results, results_over_inputs, results_over_what_is_read,
         closed_descriptors, full_standard_output, as_it_was_typed,
         unwritable_checkpoint_directory, full_checkpoint_directory, damaged_checkpoint, all_checkpoints_damaged,
         damaged_manifest, checkpoint_of_another_job, two_in_one_directory, port_in_use, too_few_descriptors, workers_that_do_not_belong,
         secrets, launcher_without_mpi]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
