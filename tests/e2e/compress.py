#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compression of gradients as a user meets it: it learns, it goes on where it stopped, it is refused where it would
break the promise of exactness, and a job without it is what it always was.

Usage: compress.py [CASE...]
"""
import functools
import json
import os
import sys

import lockstep as ls

INVALID = 3
METHODS = ("bf16", "{name: top_k, ratio: 0.05}", "{name: power_sgd, rank: 2}",
           "{name: power_sgd, rank: 1, start_step: 7}")
# Two kernels that are worth compressing: 12 x 64 and 64 x 48; top_k sends what is below 1,024 elements whole.
MODEL = ls.sequential((ls.SMALL_FEATURES,), ls.dense("hidden", 64, "relu"), ls.dense("more", 48, "relu"),
                      ls.dense("out", ls.SMALL_CLASSES, "softmax"))
WORLDS = (["--workers", "2", "--transport", "shm"], ["--workers", "2", "--transport", "tcp"],
          ["--workers", "3", "--transport", "tcp"], ["--workers", "2", "--replicas", "2"])


def with_job(case):
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            job = ls.small_job(folder, epochs=6)
            ls.write(folder, "model.json", json.dumps(MODEL))
            return case(folder, job, os.path.join(folder, "out"))
    return run


def compressed(method, *words):
    return ["--set", "math=fast", "--set", f"compression={method}", *words]


@with_job
def stop_and_resume(folder, job, out):
    """Stopped in odd places, it ends with the bits of a run without a stop. Every fourth batch is a short one."""
    for number, method in enumerate(METHODS):
        for place, world in enumerate((WORLDS[0], WORLDS[1 + number % 3])):
            mark = f"{number}-{place}"
            words = compressed(method, *world, "--set", "batch.size=48")
            whole = ls.train(job, os.path.join(folder, "whole" + mark), *words, "--max-steps", "17")
            for steps in (3, 8, 13, 17):
                told = ls.train(job, os.path.join(folder, "cut" + mark), *words, "--max-steps", str(steps))
            ls.same(told, whole)


@with_job
def carrier_and_execution(folder, job, out):
    """What carries the bytes does not show, and neither do buckets: an eager step has one for each variable."""
    for number, method in enumerate(METHODS):
        expected = ls.train(job, os.path.join(folder, f"first{number}"), *compressed(method, *WORLDS[0]))
        for place, words in enumerate((WORLDS[1], ["--workers", "1", "--replicas", "2"],
                                       ["--workers", "2", "--set", "run.execution=eager"])):
            told = ls.train(job, os.path.join(folder, f"other{number}-{place}"), *compressed(method, *words))
            ls.same(told, expected)


@with_job
def across_hosts(folder, job, out):
    """Two workers share a host, the third is on another one."""
    hosts = [{"LOCKSTEP_HOST": name} for name in "aab"]
    for number, method in enumerate(METHODS):
        words = compressed(method)
        told = ls.cluster(job, os.path.join(folder, f"a{number}"), hosts, *words)
        if told["transport"] != "hybrid":
            raise ls.Failed(f"it went over {told['transport']}")
        ls.same(told, ls.train(job, os.path.join(folder, f"b{number}"), *words, "--workers", "3"))


def used_again():
    """Sums that batch normalisation uses within the step are not compressed; what is shared by two calls is, once."""
    with ls.Folder() as folder:
        job = os.path.join(ls.MNIST, "tied.yaml")
        for number, method in enumerate(METHODS):
            words = compressed(method, "--max-steps", "8")
            expected = ls.train(job, os.path.join(folder, f"a{number}"), *words, "--workers", "3")
            mirrored = ls.train(job, os.path.join(folder, f"b{number}"), *words, "--workers", "1", "--replicas", "3")
            ls.same(mirrored, expected)
            told = json.loads(ls.run([ls.BINARY, "inspect", os.path.join(folder, f"a{number}"), "--json"])[1])
            paths = [t["path"] for t in told["tensors"] if t["path"].startswith("compression/residual/0/")]
            if any("norm" in p for p in paths) or len([p for p in paths if "shared/kernel" in p]) != 1:
                raise ls.Failed(f"{method} compresses {paths}")


@with_job
def another_world(folder, job, out):
    """It goes on with more and fewer workers, and alone."""
    for number, method in enumerate(METHODS):
        where = out + str(number)
        for place, world in enumerate(("2", "4", "1", "3", "2")):
            told = ls.train(job, where, *compressed(method, "--workers", world), "--max-steps", str(5 * place + 4))
            if told["steps"] != 5 * place + 4:
                raise ls.Failed(f"{told['steps']} steps with {method} and {world} workers")
        if told["loss"] > 1.6:
            raise ls.Failed(f"{method} does not learn: {told['loss']}")


@with_job
def refused(folder, job, out):
    ls.says(ls.train(job, out, "--set", "compression=bf16", check=False), INVALID, "compression", "math: fast")
    ls.says(ls.train(job, out, *compressed("power_sdg"), check=False), INVALID, "did you mean power_sgd?")
    ls.train(job, out, "--set", "math=fast", "--max-steps", "5")
    ls.says(ls.train(job, out, *compressed("bf16"), check=False), INVALID, "compression", "--fresh")
    ls.train(job, out + "2", *compressed("top_k"), "--max-steps", "5")
    other = compressed("{name: top_k, ratio: 0.5}")
    ls.says(ls.train(job, out + "2", *other, check=False), INVALID, "compression.ratio")


@with_job
def off(folder, job, out):
    """none is as if there were no such key: the same fingerprint, the same bits, the same tensors."""
    expected = ls.train(job, out)
    ls.same(ls.train(job, out + "2", "--set", "compression=none", "--workers", "3"), expected)
    plans = [json.loads(ls.run([ls.BINARY, "plan", job, "--json", *words])[1])
             for words in ([], ["--set", "compression=none"], compressed("top_k"))]
    if plans[0] != plans[1] or plans[0]["fingerprint"] == plans[2]["fingerprint"]:
        raise ls.Failed(f"{plans}")
    if "compression" in ls.run([ls.BINARY, "inspect", out])[1]:
        raise ls.Failed("a checkpoint without compression has tensors of it")


@with_job
def what_is_told(folder, job, out):
    """plan tells what it saves and costs, inspect what it keeps."""
    for method in METHODS:
        told = json.loads(ls.run([ls.BINARY, "plan", job, "--json", *compressed(method)])[1])
        less = 0 < told["moved_bytes_per_step"] < told["moved_bytes_without_compression"]
        if not less or told["compression_bytes"] == 0:
            raise ls.Failed(f"{method}: {told}")
    ls.train(job, out, *compressed("power_sgd", "--workers", "3"), "--max-steps", "5")
    told = json.loads(ls.run([ls.BINARY, "inspect", out, "--json"])[1])
    found = {t["path"]: t for t in told["tensors"] if t["role"] == "compression"}
    for name, shape in (("compression/residual/2/more/kernel", [64, 48]),
                        ("compression/power_sgd/more/kernel", [2, 48])):
        if name not in found or found[name]["shape"] != shape:
            raise ls.Failed(f"{name} is not among {sorted(found)}")
    ls.run([ls.BINARY, "evaluate", job, *compressed("power_sgd"), "--checkpoint", out])


@with_job
def bf16_wire(folder, job, out):
    """Sums that travel in 16 bits: over tcp they are others, and learn as well; where no message carries them they stay."""
    wire = ["--set", "math=fast", "--set", "wire=bf16"]
    ls.says(ls.train(job, out, "--set", "wire=bf16", check=False), INVALID, "wire", "math: fast")
    ls.says(ls.train(job, out, *wire, "--set", "compression=top_k", check=False), INVALID, "wire", "compression")
    plain = ls.train(job, os.path.join(folder, "plain"), "--set", "math=fast", "--transport", "tcp")
    ls.train(job, os.path.join(folder, "wire"), *wire, "--transport", "tcp", "--max-steps", "8")
    told = ls.train(job, os.path.join(folder, "wire"), *wire, "--transport", "tcp")
    if told["params_sha256"] == plain["params_sha256"] or abs(told["loss"] - plain["loss"]) > 0.02 * plain["loss"]:
        raise ls.Failed(f"{told} beside {plain}")
    ls.same(ls.train(job, os.path.join(folder, "whole"), *wire, "--transport", "tcp"), told)
    alone = [ls.train(job, os.path.join(folder, f"alone{n}"), "--workers", "1", *words)
             for n, words in enumerate((wire, wire[:2]))]
    ls.same(*alone)


@with_job
def bf16_wire_is_told(folder, job, out):
    """Whether wire: bf16 comes to anything is told before, at the start and at the end."""
    wire = ["--set", "math=fast", "--set", "wire=bf16", "--max-steps", "3"]
    none, between = "wire: bf16 has no effect", "bf16 between hosts"
    for n, (words, planned, told) in enumerate(((["--transport", "tcp"], "bf16", "bf16"),
                                                (["--transport", "mpi"], "bf16", None),
                                                (["--transport", "hybrid"], between, "f32"), ([], between, "f32"),
                                                (["--transport", "shm"], "f32", "f32"),
                                                (["--transport", "nccl"], "f32", None),
                                                (["--workers", "1"], "f32", "f32"))):
        plan = json.loads(ls.run([ls.BINARY, "plan", job, "--json", *wire, *words])[1])
        text = ls.run([ls.BINARY, "plan", job, *wire, *words])[1]
        moved = plan["moved_bytes_per_step"] < plan["moved_bytes_without_compression"]
        if plan["wire"] != planned or moved != (planned == "bf16") or (none in text) != (planned == "f32") \
                or (between in text) != (planned == between):
            raise ls.Failed(f"{words}: {plan}, {text}")
        if told is None:
            continue
        command = [ls.BINARY, "train", job, "--set", f"run.checkpoint.directory={out}{n}", *wire, *words]
        _, text, err = ls.run(command)
        if (none in text) != (told == "f32") or (none in err) != (told == "f32"):
            raise ls.Failed(f"{words}: {text}, {err}")
        if ls.summary(ls.run(command + ["--json"])[1])["wire"] != told:
            raise ls.Failed(f"{words}: not {told}")
    if "wire" in ls.summary(ls.run([ls.BINARY, "train", job, "--json", "--max-steps", "3"])[1]):
        raise ls.Failed("a job without the key tells of it")


def mnist():
    """An epoch of the example's perceptron: close to what it reaches uncompressed (0.964)."""
    reached = []
    with ls.Folder() as folder:
        job = os.path.join(ls.MNIST, "mlp.yaml")
        least = {"none": 0.958, "bf16": 0.958, "top_k": 0.925, "power_sgd": 0.948}
        for method in least:
            words = compressed(method, "--workers", "2", "--set", "epochs=1")
            told = ls.train(job, os.path.join(folder, method), *words)
            reached.append(f"{method} {told['val_accuracy']:.4f}")
            if told["val_accuracy"] < least[method]:
                raise ls.Failed(f"{method} reaches {told['val_accuracy']} instead of {least[method]}")
    return ", ".join(reached)


CASES = [(f.__name__, f) for f in (stop_and_resume, carrier_and_execution, across_hosts, used_again, another_world,
                                   refused, off, what_is_told, bf16_wire, bf16_wire_is_told, mnist)]


def fast_is_there():
    """math: fast needs the plug-in of a library, which a build may lack."""
    with ls.Folder() as folder:
        return ls.run([ls.BINARY, "plan", ls.small_job(folder), "--set", "math=fast"], check=False)[0] == 0


if __name__ == "__main__":
    if not fast_is_there():
        print("math: fast does not run here: skipped")
        sys.exit(77)
    ls.run_cases(CASES, sys.argv[1:])
