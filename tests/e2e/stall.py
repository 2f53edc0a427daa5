#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A rank that rests while the others wait: who waits for whom is said within 2.5 s, once, and the job goes on. A
coordinator that was stopped itself blames nobody for that.

Usage: stall.py [CASE...]
"""
import os
import re
import signal
import sys
import time

import lockstep as ls

SAID = re.compile(r"rank (\d+) \(worker \d+ on [^)]+\)(?: and \d+ more)? waited (\d+\.\d) s in ([^,]+?) "
                  r"(?:through rank \d+ )?for rank (\d+) \(worker (\d+) on [^)]+\), which (.+)")
STEP, REST_S, WITHIN_S = 6, 4, 2.5
PATIENCE_S = 10  # of workers with their coordinator


def rest(transport, workers, slow, *words):
    """Trains with one rank that rests for 4 s before it computes step 6."""
    with ls.Folder() as folder:
        job = ls.small_job(folder)
        plain = ls.train(job, os.path.join(folder, "plain"), "--workers", "1")
        began = time.time()
        process = ls.start([ls.BINARY, "train", job, "--json", "--transport", transport, "--workers", str(workers),
                            "--set", f"run.checkpoint.directory={folder}/out", *words],
                           env=ls.environment(LOCKSTEP_DEBUG_SLOW=f"{slow}:{STEP}:{REST_S * 1000}"))
        try:
            out, err = process.communicate(timeout=60)
        finally:
            ls.end(process)
        if process.returncode != 0:
            raise ls.Failed(f"status {process.returncode}: {err}")
        ls.same(ls.summary(out), plain)
        said = [SAID.fullmatch(line) for line in err.split("\n") if "waited" in line]
        if len(said) != 1 or said[0] is None:
            raise ls.Failed(f"not one sentence about a wait: {err}")
        waiter, seconds, where, whom, _, does = said[0].groups()
        if int(whom) != slow or int(waiter) == slow or not does.startswith(f"is computing step {STEP}"):
            raise ls.Failed(said[0].group(0))
        if not re.fullmatch(rf"(bucket \d+|the vote|the statistics) of step {STEP}", where):
            raise ls.Failed(said[0].group(0))
        if not 2.0 <= float(seconds) <= WITHIN_S:
            raise ls.Failed(f"said after {seconds} s: {said[0].group(0)}")
        return f"{said[0].group(0)} ({time.time() - began:.1f} s in all)"


def over_shm():
    return rest("shm", 2, 1)


def over_tcp():
    return rest("tcp", 3, 1)


def rank_0():
    return rest("shm", 3, 0)


def stopped(seconds):
    """Trains while the coordinator alone is stopped for so long; what is left of the job and what it said."""
    with ls.Folder() as folder:
        job = ls.small_job(folder, epochs=1000000, every_steps=20)
        process = ls.start([ls.BINARY, "train", job, "--json", "--quiet", "--workers", "2"])
        try:
            ls.wait_until(lambda: ls.steps_saved(os.path.join(folder, "out")), "a checkpoint")
            process.send_signal(signal.SIGSTOP)
            since = time.monotonic()
            ls.wait_until(lambda: time.monotonic() - since > seconds, "the time for which it is stopped")
            process.send_signal(signal.SIGCONT)
            if seconds < PATIENCE_S:  # it hears of what was said meanwhile, and of what is said now
                saved = ls.steps_saved(os.path.join(folder, "out"))[-1]
                ls.wait_until(lambda: ls.steps_saved(os.path.join(folder, "out"))[-1] > saved + 100, "a later checkpoint")
                process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
        finally:
            process.send_signal(signal.SIGCONT)
            ls.end(process)
        ls.none_left(folder)
        return process.returncode, err


def coordinator_stopped():
    """A stopped coordinator that goes on takes nobody for dead."""
    status, err = stopped(4)
    if status != 130 or "stopped in order and saved" not in err:
        raise ls.Failed(f"status {status}: {err}")


def coordinator_stopped_for_long():
    """Workers leave one that is silent for 10 s. It says that it was, not only that they have left."""
    status, err = stopped(PATIENCE_S + 1.5)
    if status != 6 or "the coordinator itself stood still for 1" not in err:
        raise ls.Failed(f"status {status}: {err}")


CASES = [over_shm, over_tcp, rank_0, coordinator_stopped, coordinator_stopped_for_long]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
