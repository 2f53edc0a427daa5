#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The trace of a run: a file that parses, with everything that every rank did, each inside what it is a part of.

Usage: tracing.py [CASE...]
"""
import collections
import json
import os
import sys

import lockstep as ls

STEPS, EPOCHS = 10, 2
SLACK_US = 0.002  # three places of a microsecond, twice rounded


def events(path):
    with open(path, encoding="ascii") as file:
        return [e for e in json.load(file) if e["ph"] == "X"]


def nested(track):
    """Events of one track lie inside one another or apart."""
    open_ends = []
    for e in sorted(track, key=lambda e: (e["ts"], -e["dur"])):
        end = e["ts"] + e["dur"]
        while open_ends and open_ends[-1] <= e["ts"] + SLACK_US:
            open_ends.pop()
        if open_ends and end > open_ends[-1] + SLACK_US:
            raise ls.Failed(f"{e} ends behind the event that it lies in, {open_ends[-1]}")
        open_ends.append(end)


def check(path, ranks, steps=STEPS, every=("loading", "forward", "backward", "vote", "commit")):
    """All ranks have all steps, with what belongs to a step inside it, and all the same buckets."""
    found = events(path)
    tracks = collections.defaultdict(list)
    for e in found:
        if e["dur"] < 0 or e["ts"] < 0:
            raise ls.Failed(f"an event before its time: {e}")
        tracks[e["pid"], e["tid"]].append(e)
    for track in tracks.values():
        nested(track)
    if sorted({e["pid"] for e in found}) != list(range(ranks)):
        raise ls.Failed(f"ranks {sorted({e['pid'] for e in found})} of {ranks}")
    buckets = {}
    for rank in range(ranks):
        own = [e for e in found if e["pid"] == rank]
        whole = {e["args"]["step"]: e for e in own if e["name"] == "step"}
        if sorted(whole) != list(range(steps)):
            raise ls.Failed(f"rank {rank} has the steps {sorted(whole)}")
        for step, outer in whole.items():
            inside = [e for e in own if e["args"]["step"] == step and outer["ts"] <= e["ts"] + SLACK_US and
                      e["ts"] + e["dur"] <= outer["ts"] + outer["dur"] + SLACK_US]
            missing = set(every) - {e["name"] for e in inside}
            if missing:
                raise ls.Failed(f"step {step} of rank {rank} is without {sorted(missing)}")
        buckets[rank] = sorted((e["args"]["step"], e["name"], e["args"]["bytes"]) for e in own if e["cat"] == "bucket")
        if ranks > 1 and {b[0] for b in buckets[rank]} != set(range(steps)):
            raise ls.Failed(f"rank {rank} has buckets of the steps {sorted({b[0] for b in buckets[rank]})}")
        if not any(e["name"] == "checkpoint" for e in own):
            raise ls.Failed(f"rank {rank} wrote no checkpoint")
        if sum(e["name"] == "validation step" for e in own) != STEPS // 5 * 5:
            raise ls.Failed(f"rank {rank} has not all validation steps")
    if any(b != buckets[0] for b in buckets.values()):
        raise ls.Failed("ranks have different buckets")
    return found


def traced(transport, workers, replicas=1, *words, mpi=0):
    with ls.Folder() as folder:
        job, path = ls.small_job(folder, epochs=EPOCHS), os.path.join(folder, "trace.json")
        plain = ls.train(job, os.path.join(folder, "plain"), "--workers", "1")
        ls.same(ls.train(job, os.path.join(folder, "out"), "--workers", str(workers), "--replicas", str(replicas),
                         "--transport", transport, "--trace", path, *words, mpi=mpi), plain)
        found = check(path, workers * replicas)
        for e in found:
            if e["name"] == "wait" and not 0 <= e["args"].get("for_rank", 0) < workers * replicas:
                raise ls.Failed(f"a wait for nobody: {e}")
        return f"{len(found)} events"


def alone():
    return traced("auto", 1)


def over_shm():
    return traced("shm", 2)


def over_tcp():
    return traced("tcp", 3)


def replicas_of_a_worker():
    return traced("shm", 2, 2)


def eager():
    with ls.Folder() as folder:
        job, path = ls.small_job(folder, epochs=EPOCHS), os.path.join(folder, "trace.json")
        ls.train(job, os.path.join(folder, "out"), "--trace", path, "--set", "run.execution=eager")
        check(path, 2, every=("loading", "eager step", "vote", "commit"))


def one_worker_traces():
    """Workers by hand of which one alone was asked for a trace: the group agrees, and rank 0 has no file to write."""
    with ls.Folder() as folder:
        job, path = ls.small_job(folder, epochs=EPOCHS), os.path.join(folder, "trace.json")
        common = ["--set", f"run.checkpoint.directory={folder}/out", "--workers", "2"]
        env = ls.environment(LOCKSTEP_SECRET=ls.SECRET)
        head = ls.start([ls.BINARY, "coordinator", job, "--json", "--quiet", *common], env=env)
        where = "127.0.0.1:" + head.stdout.readline().split("port ")[1].split()[0]
        worker = [ls.BINARY, "worker", job, "--coordinator", where, *common]
        started = [ls.start(worker + ["--index", "0", "--trace", path], env=env),
                   ls.start(worker + ["--index", "1"], env=env)]
        try:
            for process in started + [head]:
                process.wait(timeout=ls.DEADLINE_S)
            if head.returncode != 0:
                raise ls.Failed(f"coordinator: {head.returncode}: {head.stderr.read()}")
            check(path, 1)
        finally:
            for process in started + [head]:
                ls.end(process)


def survivors_parts():
    """A worker is killed: what the others did until then is in the file."""
    survivors("shm")


def survivors_parts_over_tcp():
    """The same while a thread carries the gradients."""
    survivors("tcp")


def bench_overlap():
    """No step is shorter than its bound."""
    found = ls.summary(ls.run([ls.BINARY, "bench", "overlap", "--model", "mlp", "--steps", "20", "--json"])[1])
    for name in ("fast", "slowed"):
        row = found[name]
        if row["steps"] != 20 or row["buckets"] < 1 or row["ratio"] < 0.999 or row["bound_ms"] < row["compute_ms"]:
            raise ls.Failed(f"{name}: {row}")
    return f"{found['slowed']['step_ms']} ms of at least {found['slowed']['bound_ms']} ms"


def survivors(transport, launcher=()):
    """launcher: mpirun's words, and the ranks are the workers."""
    worker = "train" if launcher else "worker"
    with ls.Folder() as folder:
        job, out = ls.small_job(folder, epochs=4000, every_steps=20), os.path.join(folder, "out")
        path = os.path.join(folder, "trace.json")
        process = ls.start([*launcher, ls.BINARY, "train", job, "--json", "--quiet", "--set",
                            f"run.checkpoint.directory={out}", "--workers", "3", "--transport", transport, "--trace",
                            path])
        try:
            ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
            os.kill(ls.processes(folder, worker)[-1], ls.signal.SIGKILL)
            process.communicate(timeout=10)
            found = events(path)
            ranks = {e["pid"] for e in found}
            # mpirun may give the status of the rank that was killed.
            if process.returncode not in ((6, 137) if launcher else (6,)) or len(ranks) != 2:
                raise ls.Failed(f"status {process.returncode}, a trace of the ranks {ranks}")
            if [n for n in os.listdir(folder) if n.startswith("trace.json.")]:
                raise ls.Failed(f"parts are left: {os.listdir(folder)}")
            for rank in ranks:
                nested([e for e in found if e["pid"] == rank and e["tid"] == 0])
        finally:
            ls.end(process)


CASES = [alone, over_shm, over_tcp, replicas_of_a_worker, eager, one_worker_traces, survivors_parts,
         survivors_parts_over_tcp, bench_overlap]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
