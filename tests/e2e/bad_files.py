#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad files that a job reads: missing, cut, of another kind, of numbers that do not fit.

Usage: bad_files.py [CASE...]
"""
import gzip
import json
import os
import struct
import sys

import lockstep as ls
from refusal import INVALID, FILES, DAMAGED, fails, train_fails, with_job, edit, read


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


@with_job
def no_plain_files(folder):
    """A pipe, a directory or a device in place of a file is said at once, and not waited for."""
    os.mkfifo(os.path.join(folder, "pipe"))
    for place, kind in ((os.path.join(folder, "pipe"), "pipe"), (folder, "directory"), ("/dev/zero", "device")):
        for command in ("train", "plan", "evaluate", "coordinator"):
            fails(folder, [command, place], FILES, place, kind, env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
        for key in ("model", "data.train.features", "data.train.labels", "data.validation.features",
                    "initial_weights"):
            train_fails(folder, FILES, place, kind, words=["--set", f"{key}={place}"])


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


CASES = [missing_files, no_plain_files, npy_files, idx_files, labels, shapes, models]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
