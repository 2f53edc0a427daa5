#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One hash over the matrix: workers, replicas, threads, transport, execution, instruction set, micro-shards, and a stop
by SIGTERM with a resume on another world. Every pair of values meets in some cell.

Usage: matrix.py [--models mlp,cnn,tied,short] [--cut N] [--steps N] [--full-length]
--cut N runs N cells a model (spread over the list); without it all run. --full-length adds whole runs of the job with
1, 2 and 3 workers. Cells that this machine cannot run are counted as skipped.
"""
import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys

import lockstep as ls

FACTORS = {
    "workers": [1, 2, 3, 5, 8],
    "replicas": [1, 2],
    "threads": [1, 2],
    "transport": ["shm", "tcp", "mpi2", "mpi3"],
    "execution": ["graph", "eager"],
    "isa": ["ref", "avx2", "avx512", "mixed"],
    "micro": [0, 1, 2],
    "stop": [False, True],
}

CELLS = 40  # a model: the covering cells, filled up with others

MODELS = {
    "mlp": ("mlp.yaml", []),
    "cnn": ("cnn.yaml", []),
    "tied": ("tied.yaml", []),
    # 10,000 samples in batches of 448: step 23 is the short last batch of an epoch, 144 samples.
    "short": ("tied.yaml", ["--set", "data.train.features=data/t10k-images-idx3-ubyte.gz", "--set",
                            "data.train.labels=data/t10k-labels-idx1-ubyte.gz", "--set", "batch.size=448"]),
}


def possible(cell):
    """mpirun gives the number of workers, and a rank is one replica; a mixture needs two workers started by hand."""
    if cell["transport"].startswith("mpi"):
        return cell["workers"] == int(cell["transport"][3:]) and cell["replicas"] == 1 and cell["isa"] != "mixed"
    if cell["isa"] == "mixed":
        return cell["workers"] >= 2 and not cell["stop"]
    return True


def pairs_of(cell):
    items = sorted((k, str(v)) for k, v in cell.items())
    return set(itertools.combinations(items, 2))


def make_cells(seed=1):
    """A greedy covering array (every pair of values that can meet does), filled up to CELLS."""
    names = list(FACTORS)
    everything = [dict(zip(names, values)) for values in itertools.product(*FACTORS.values())]
    everything = [c for c in everything if possible(c)]
    random.Random(seed).shuffle(everything)
    missing = set().union(*(pairs_of(c) for c in everything))
    cells = []
    while missing:
        best = max(everything, key=lambda c: len(pairs_of(c) & missing))
        missing -= pairs_of(best)
        cells.append(best)
    spare = [c for c in everything if c not in cells]
    return cells + spare[:max(0, CELLS - len(cells))]


def words_of(cell, steps):
    words = ["--workers", cell["workers"], "--replicas", cell["replicas"], "--threads", cell["threads"],
             "--max-steps", steps, "--set", f"run.execution={cell['execution']}",
             "--set", f"run.micro_shards={cell['micro']}",
             "--transport", "mpi" if cell["transport"].startswith("mpi") else cell["transport"]]
    return [str(w) for w in words]


def stop_and_resume(job, directory, words, generator, env):
    """SIGTERM at a random time, then on with another world until the job is done."""
    process = subprocess.Popen([ls.BINARY, "train", job, "--json", "--quiet", "--set",
                                f"run.checkpoint.directory={directory}", *words], env=env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        process.wait(timeout=generator.uniform(0.1, 1.0))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=ls.DEADLINE_S)
    # On a busy machine the signal may come before the program listens: then it ends by it and has begun nothing.
    too_early = process.returncode == -signal.SIGTERM and not os.listdir(directory)
    if process.returncode not in (0, 130) and not too_early:
        raise ls.Failed(f"stopped with status {process.returncode}: {err.strip()[-400:]}")
    words = list(words)
    words[1] = str(generator.choice([1, 2, 3, 4]))
    return ls.train(job, directory, *words, env=env)


def run_cell(job, extra, cell, steps, generator):
    with ls.Folder() as directory:
        words = words_of(cell, steps) + extra
        if cell["isa"] == "mixed":
            kinds = [k for k in ("ref", "avx2", "avx512") if ls.supports(k)]
            return ls.cluster(job, directory,
                              [{"LOCKSTEP_ISA": kinds[i % len(kinds)]} for i in range(cell["workers"])], *words)
        env = ls.environment(LOCKSTEP_ISA=cell["isa"])
        if cell["transport"].startswith("mpi"):
            if cell["stop"]:
                ls.train(job, directory, *words[:6], "--max-steps", str(max(1, steps // 2)), *words[8:], env=env,
                         mpi=cell["workers"])
            return ls.train(job, directory, *words, env=env, mpi=cell["workers"])
        if cell["stop"]:
            return stop_and_resume(job, directory, words, generator, env)
        return ls.train(job, directory, *words, env=env)


def can_run(cell, isas):
    if cell["transport"].startswith("mpi") and shutil.which("mpirun") is None:
        return False
    return cell["isa"] == "mixed" or cell["isa"] in isas


def hashes(result):
    return result["params_sha256"], result["state_sha256"], result["steps"]


def describe(cell):
    return " ".join(f"{k}={v}" for k, v in cell.items())


def run_model(name, cells, arguments, isas, counts):
    file, extra = MODELS[name]
    job = os.path.join(ls.MNIST, file)
    expected = {}
    for i, cell in enumerate(cells):
        if not can_run(cell, isas):
            counts["skipped"] += 1
            continue
        # The plain C kernels take seconds a step on the convolutional model.
        slow = cell["isa"] in ("ref", "mixed") and name == "cnn"
        steps = 3 if slow else arguments.steps
        try:
            if steps not in expected:
                with ls.Folder() as directory:
                    expected[steps] = hashes(ls.train(job, directory, "--workers", "1", "--max-steps", str(steps), *extra))
            got = hashes(run_cell(job, extra, cell, steps, random.Random(1000 + i)))
            if got != expected[steps]:
                raise ls.Failed(f"{got} instead of {expected[steps]}")
            counts["passed"] += 1
            print(f"ok    {name} {describe(cell)}", flush=True)
        except (ls.Failed, subprocess.TimeoutExpired) as error:
            counts["failed"] += 1
            print(f"FAIL  {name} {describe(cell)}: {error}", flush=True)


def full_length(name, counts):
    file, extra = MODELS[name]
    ls.DEADLINE_S = 1800  # a whole run of the convolutional model on a busy machine
    expected = None
    for workers in (1, 2, 3):
        with ls.Folder() as directory:
            got = hashes(ls.train(os.path.join(ls.MNIST, file), directory, "--workers", str(workers), *extra))
        expected = expected or got
        counts["passed" if got == expected else "failed"] += 1
        print(f"{'ok   ' if got == expected else 'FAIL '} {name} at full length on {workers} workers: {got[0]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mlp,cnn,tied,short")
    parser.add_argument("--cut", type=int, default=0)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--full-length", action="store_true")
    arguments = parser.parse_args()
    cells, counts = make_cells(), {"passed": 0, "failed": 0, "skipped": 0}
    if arguments.cut:
        cells = cells[::max(1, len(cells) // arguments.cut)][:arguments.cut]
    isas = [i for i in ("ref", "avx2", "avx512") if ls.supports(i)]
    print(f"{len(cells)} cells a model; instruction sets here: {', '.join(isas)}", flush=True)
    for name in arguments.models.split(","):
        run_model(name, cells, arguments, isas, counts)
    if arguments.full_length:
        for name in arguments.models.split(","):
            full_length(name, counts)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
