#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Workers that are told their job by the coordinator: the same bits as with a job file, options of their own on top, and
one sentence where that cannot be.

Usage: fetch.py [CASE...]
"""
import os
import shutil
import sys

import lockstep as ls

INVALID, REFUSED = 3, 7
SECRET = ls.environment(LOCKSTEP_SECRET=ls.SECRET)


def coordinator(job, *words, **options):
    """A coordinator by hand; (process, HOST:PORT)."""
    head = ls.start([ls.BINARY, "coordinator", job, "--json", "--quiet", *words], env=SECRET, **options)
    line = head.stdout.readline()
    if "port " not in line:
        raise ls.Failed(f"no port in {line!r}: {head.stderr.read()[-600:]}")
    return head, "127.0.0.1:" + line.split("port ")[1].split()[0]


def worker(where, *words, **options):
    return ls.start([ls.BINARY, "worker", "--coordinator", where, *words], env=SECRET, **options)


def train(job, *words, workers=((), ()), elsewhere="/"):
    """The summary of a job whose workers start in another directory and know the address and the secret alone."""
    head, where = coordinator(job, *words)
    started = [worker(where, *own, cwd=elsewhere) for own in workers]
    try:
        out, err = head.communicate(timeout=ls.DEADLINE_S)
        if head.returncode != 0:
            raise ls.Failed(f"coordinator: status {head.returncode}: {err.strip()[-600:]}")
        for process in started:
            _, said = process.communicate(timeout=30)
            if process.returncode != 0:
                raise ls.Failed(f"worker: status {process.returncode}: {said.strip()[-600:]}")
        return ls.summary(out)
    finally:
        for process in started + [head]:
            ls.end(process)


def same_bits_without_a_job_file():
    """Overrides, --max-steps and a relative checkpoint directory of the coordinator hold for everybody; --threads and
    run.isa of a worker change no bit."""
    with ls.Folder() as folder:
        job = ls.small_job(folder)
        words = ["--workers", "2", "--max-steps", "7", "--set", "seed=11", "--set", "optimizer.learning_rate=0.01"]
        alone = ls.train(job, os.path.join(folder, "alone"), *words)
        told = train(job, *words, "--set", "run.checkpoint.directory=told",
                     workers=(("--threads", "2"), ("--set", "run.isa=ref")))
        ls.same(told, alone)
        assert told["steps"] == 7 and told["workers"] == 2, told
        assert ls.steps_saved(os.path.join(folder, "told")) == [5, 7], os.listdir(folder)
        ls.none_left(folder)


def the_path_is_the_coordinators():
    """A job named relative to the coordinator's directory is found by workers that run elsewhere."""
    with ls.Folder() as folder:
        ls.small_job(folder)
        head = ls.start([ls.BINARY, "coordinator", "job.yaml", "--json", "--quiet", "--workers", "1", "--max-steps", "3"],
                        env=SECRET, cwd=folder)
        only = None
        try:
            line = head.stdout.readline()
            only = worker("127.0.0.1:" + line.split("port ")[1].split()[0], cwd="/")
            out, err = head.communicate(timeout=ls.DEADLINE_S)
            assert head.returncode == 0, err
            assert ls.summary(out)["steps"] == 3, out
            assert only.wait(timeout=30) == 0
        finally:
            for process in [head] + ([only] if only else []):
                ls.end(process)


def says_what_cannot_be():
    """Another secret, an override of its own that makes another job, and data that is not there on this machine."""
    with ls.Folder() as folder:
        job = ls.small_job(folder)
        head, where = coordinator(job, "--workers", "1")
        try:
            other = ls.environment(LOCKSTEP_SECRET="6b" * 32)
            ls.says(ls.run([ls.BINARY, "worker", "--coordinator", where], env=other, check=False), REFUSED,
                    "another secret")
            ls.says(ls.run([ls.BINARY, "worker", "--coordinator", where, "--set", "seed=12"], env=SECRET, check=False),
                    REFUSED, "another job", "fingerprint")
            ls.says(ls.run([ls.BINARY, "worker", "--coordinator", where, "--set", "run.thread=2"], env=SECRET,
                           check=False), INVALID, "run.thread", "did you mean")
            moved = shutil.move(os.path.join(folder, "x.npy"), os.path.join(folder, "z.npy"))
            ls.says(ls.run([ls.BINARY, "worker", "--coordinator", where], env=SECRET, check=False), 4,
                    os.path.join(folder, "x.npy"))
            shutil.move(moved, os.path.join(folder, "x.npy"))
            assert head.poll() is None, "a worker's mistake ended the job"
        finally:
            ls.end(head)


CASES = [(c.__name__, c) for c in (same_bits_without_a_job_file, the_path_is_the_coordinators, says_what_cannot_be)]

if __name__ == "__main__":
    ls.run_cases(CASES, sys.argv[1:])
