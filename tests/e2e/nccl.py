#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The transport nccl as a user meets it: the numbers of every other one, a killed worker, a library that is missing, sums
in any order. It runs on what LOCKSTEP_NCCL_LIBRARY and LOCKSTEP_CUDART_LIBRARY name: in the tests a stand-in, which shows
nothing of a GPU; on a machine with GPUs the real ones.

Usage: nccl.py [CASE...]
"""
import functools
import os
import signal
import sys

import cluster
import lockstep as ls

EPOCHS, EVERY = 160, 20
INVALID, PEER = 3, 6
NCCL = ("--transport", "nccl", "--workers")


def with_job(case):
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            return case(folder, ls.small_job(folder, epochs=EPOCHS, every_steps=EVERY), os.path.join(folder, "out"))
    return run


def mnist_has_the_same_numbers():
    """Gradients of half a million values: rounds of several segments."""
    job = os.path.join(ls.MNIST, "mlp.yaml")
    with ls.Folder() as folder:
        expected = ls.train(job, os.path.join(folder, "one"), "--workers", "1", "--max-steps", "12")
        for words in (("2",), ("3",), ("2", "--replicas", "2")):
            got = ls.train(job, os.path.join(folder, "_".join(words)), *NCCL, *words, "--max-steps", "12")
            if got["transport"] != "nccl":
                raise ls.Failed(f"it went over {got['transport']}")
            ls.same(got, expected)


@with_job
def composed_hosts(folder, job, out):
    """Workers on pretended hosts: shared memory inside each and NCCL between them, same numbers."""
    expected = ls.train(job, os.path.join(folder, "undisturbed"), "--workers", "1")
    with cluster.Cluster(job, out, "--workers", "3", "--transport", "hybrid-nccl") as apart:
        head = apart.coordinator(LOCKSTEP_HOST="a")
        workers = [apart.worker(LOCKSTEP_HOST=host) for host in "aab"]
        said, err = head.communicate(timeout=ls.DEADLINE_S)
        if head.returncode != 0 or err or ls.summary(said)["transport"] != "hybrid-nccl":
            raise ls.Failed(f"status {head.returncode}: {err} {said[-300:]}")
        ls.same(ls.summary(said), expected)
        for worker in workers:
            worker.communicate(timeout=ls.DEADLINE_S)


@with_job
def worker_killed(folder, job, out):
    expected = ls.train(job, os.path.join(folder, "undisturbed"), "--workers", "1")
    process = ls.start([ls.BINARY, "train", job, "--json", "--quiet", *NCCL, "3"])
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        os.kill(ls.workers_of(folder)[1], signal.SIGKILL)
        stdout, err = process.communicate(timeout=5)
        ls.says((process.returncode, stdout, err), PEER, "worker")
    finally:
        ls.end(process)
    ls.none_left(folder, 5)
    ls.same(ls.train(job, out, *NCCL, "2"), expected)


@with_job
def library_is_missing(folder, job, out):
    env = ls.environment(LOCKSTEP_NCCL_LIBRARY="/nowhere/libnccl.so.2")
    result = ls.train(job, out, *NCCL, "2", env=env, check=False)
    ls.says(result, INVALID, "'nccl' needs NVIDIA's libnccl.so.2", "/nowhere/libnccl.so.2", "LOCKSTEP_NCCL_LIBRARY")
    ls.none_left(folder, 5)


@with_job
def any_order_where_fast(folder, job, out):
    """All ranks have the same sums, or the votes of the steps would differ. A build may lack the library of math: fast."""
    if ls.run([ls.BINARY, "plan", job, "--set", "math=fast"], check=False)[0] != 0:
        return "left out, math: fast does not run here"
    got = ls.train(job, out, *NCCL, "3", "--set", "math=fast", "--max-steps", "40")
    if got["steps"] != 40 or got["transport"] != "nccl":
        raise ls.Failed(f"{got}")
    return "it ran"


CASES = [mnist_has_the_same_numbers, composed_hosts, worker_killed, library_is_missing, any_order_where_fast]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
