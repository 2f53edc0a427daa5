#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed, stopped or told to leave, at random moments: the others end within 5 s and say who it was,
nothing is left behind, and the same command goes on to the numbers of an undisturbed run.

Usage: kills.py [--seeds N] [CASE...]
"""
import functools
import atexit
import os
import shutil
import random
import re
import signal
import sys
import tempfile
import time

import lockstep as ls

SEEDS = 3
EPOCHS, EVERY, STEPS = 160, 20, 800  # long enough to be killed in, over in a second
PEER, INTERRUPTED = 6, 130
END_S = 5  # within which everybody else must have ended


def with_job(case):
    """Gives a case a folder with a job that runs long enough to be killed."""
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            return case(folder, ls.small_job(folder, epochs=EPOCHS, every_steps=EVERY))
    return run


@functools.cache
def undisturbed():
    """The numbers of a run that nobody touches; every case has the same job."""
    with ls.Folder() as folder:
        job = ls.small_job(folder, epochs=EPOCHS, every_steps=EVERY)
        return ls.train(job, os.path.join(folder, "out"), "--workers", "1")


def train_words(job, out, *words):
    return [ls.BINARY, "train", job, "--json", "--quiet", "--set", f"run.checkpoint.directory={out}", *words]


# Where the coordinators of this script put their meeting places: other jobs of the machine have theirs elsewhere.
RUNTIME = tempfile.mkdtemp(prefix="kills-")
os.environ["XDG_RUNTIME_DIR"] = RUNTIME
atexit.register(shutil.rmtree, RUNTIME, True)


def meeting_places():
    """Directories in which workers meet; a coordinator removes its own."""
    return {name for name in os.listdir(RUNTIME) if re.fullmatch(r"lockstep-[A-Za-z0-9]{6}", name)}


def moment(out, generator):
    """A random moment: as soon as workers exist, or when some checkpoint is there and a little later."""
    target = generator.choice([0, 0, EVERY, 2 * EVERY, generator.randrange(STEPS // 3)])
    if target:
        ls.wait_until(lambda: (ls.steps_saved(out) or [0])[-1] >= target, f"step {target}")
    return target


def spin(generator):
    """Lets up to 3 ms pass, so that a kill meets any phase of a step."""
    until = time.monotonic() + generator.uniform(0, 0.003)
    while time.monotonic() < until:
        pass


def outcome(process, seconds=END_S):
    """(status, stdout, stderr) of a process that must end by itself within so many seconds."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def each_seed(check):
    """Runs check(generator) for every seed; a failure names its seed."""
    for seed in range(SEEDS):
        try:
            check(random.Random(seed))
        except (ls.Failed, OSError, ValueError) as error:
            raise ls.Failed(f"seed {seed}: {error}") from error
        except Exception as error:
            raise ls.Failed(f"seed {seed}: {type(error).__name__}: {error}") from error


def resumed(folder, job, out, generator, expected):
    """The same command on another number of workers reaches the undisturbed numbers."""
    words = ["--workers", str(generator.choice([1, 2, 3])), "--transport", generator.choice(["auto", "tcp"])]
    ls.same(ls.train(job, out, *words), expected)
    ls.none_left(folder)


# --- lockstep train --------------------------------------------------------------------------------------------------

@with_job
def worker_killed(folder, job):
    """train names the worker and the signal, with exit status 6."""
    expected, places = undisturbed(), meeting_places()

    def check(generator):
        out = tempfile.mkdtemp(dir=folder)
        workers = generator.choice([1, 2, 3])
        process = ls.start(train_words(job, out, "--workers", str(workers), "--transport",
                                       generator.choice(["shm", "tcp"])))
        try:
            ls.wait_until(lambda: len(ls.workers_of(out)) == workers, "the start of every worker")
            moment(out, generator)
            spin(generator)
            alive = ls.workers_of(out)
            if not alive:
                raise ls.Failed(f"the job ended too early: {process.communicate()}")
            victim = generator.choice(alive)
            os.kill(victim, signal.SIGKILL)
            ls.says(outcome(process), PEER, "worker ", f"(pid {victim})", "signal 9")
        finally:
            ls.end(process)
        ls.none_left(out, 1)
        resumed(out, job, out, generator, expected)
    each_seed(check)
    ls.wait_until(lambda: meeting_places() <= places, "removal of the meeting places", 1)


@with_job
def every_worker_killed(folder, job):
    out = os.path.join(folder, "out")
    process = ls.start(train_words(job, out, "--workers", "3"))
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        for victim in ls.workers_of(out):
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass  # train was faster
        ls.says(outcome(process), PEER, "signal 9")
    finally:
        ls.end(process)
    ls.none_left(folder, 1)


@with_job
def launcher_killed(folder, job):
    """The workers end with their launcher, whatever they are doing."""
    expected = undisturbed()

    def check(generator):
        out = tempfile.mkdtemp(dir=folder)
        process = ls.start(train_words(job, out, "--workers", str(generator.choice([2, 3]))))
        try:
            ls.wait_until(lambda: ls.workers_of(out), "the start of a worker")
            moment(out, generator)
            spin(generator)
            process.kill()
            process.wait()
            ls.none_left(out, END_S)
        finally:
            ls.end(process)
        resumed(out, job, out, generator, expected)
    each_seed(check)


def signalled(folder, job, number):
    expected, places = undisturbed(), meeting_places()

    def check(generator):
        out = tempfile.mkdtemp(dir=folder)
        process = ls.start(train_words(job, out, "--workers", str(generator.choice([1, 2, 3]))))
        try:
            moment(out, generator)
            ls.wait_until(lambda: ls.workers_of(out), "the start of a worker")
            process.send_signal(number)
            status, stdout, err = outcome(process)
            sentence = ls.says((status, stdout, err), INTERRUPTED, "stopped")
            if "before all its workers had joined" not in sentence:
                ls.says((status, stdout, err), INTERRUPTED, "saved", "same command")
                told = ls.summary(stdout)
                if told["finished"] or ls.steps_saved(out)[-1] != told["steps"]:
                    raise ls.Failed(f"saved {ls.steps_saved(out)}, and the summary says {told}")
        finally:
            ls.end(process)
        ls.none_left(out, 1)
        resumed(out, job, out, generator, expected)
    each_seed(check)
    ls.wait_until(lambda: meeting_places() <= places, "removal of the meeting places", 1)


@with_job
def told_by_sigterm(folder, job):
    signalled(folder, job, signal.SIGTERM)


@with_job
def told_by_ctrl_c(folder, job):
    signalled(folder, job, signal.SIGINT)


@with_job
def told_by_ctrl_c_at_a_terminal(folder, job):
    """A terminal sends Ctrl-C to the whole group of processes; the workers leave it to their launcher."""
    expected, out = undisturbed(), os.path.join(folder, "out")
    process = ls.start(train_words(job, out, "--workers", "2"), start_new_session=True)
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        os.killpg(process.pid, signal.SIGINT)
        ls.says(outcome(process), INTERRUPTED, "saved")
    finally:
        ls.end(process)
    ls.none_left(out, 1)
    ls.same(ls.train(job, out), expected)


@with_job
def second_ctrl_c(folder, job):
    """A worker that hangs keeps the first one from ending in order; a second one, later, leaves within a second."""
    out = os.path.join(folder, "out")
    process = ls.start(train_words(job, out, "--workers", "2"))
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        os.kill(ls.workers_of(out)[0], signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=0.6)  # from half a second on another signal counts
            raise ls.Failed("the first Ctrl-C did not wait for the workers")
        except ls.subprocess.TimeoutExpired:
            pass
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=1)
        if status != INTERRUPTED:
            raise ls.Failed(f"exit status {status}")
        ls.none_left(folder, 1)
    finally:
        ls.end(process)
        for pid in ls.processes(folder):
            os.kill(pid, signal.SIGKILL)


@with_job
def worker_hangs(folder, job):
    """A stopped worker is noticed by its silence, named, and killed with the rest."""
    expected, out = undisturbed(), os.path.join(folder, "out")
    process = ls.start(train_words(job, out, "--workers", "2"))
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        victim = ls.workers_of(out)[1]
        os.kill(victim, signal.SIGSTOP)
        began = time.monotonic()
        sentence = ls.says(outcome(process, 15), PEER, f"(pid {victim})", "has not answered")
        ended = time.monotonic() - began
    finally:
        ls.end(process)
        for pid in ls.processes(folder):
            os.kill(pid, signal.SIGCONT)
    ls.none_left(folder, 1)
    ls.same(ls.train(job, out), expected)
    return f"{sentence[10:60]}... after {ended:.1f} s"


@with_job
def worker_told(folder, job):
    """SIGTERM to one worker (its host is being taken away) saves and ends the whole job."""
    expected, out = undisturbed(), os.path.join(folder, "out")
    process = ls.start(train_words(job, out, "--workers", "3"))
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        os.kill(ls.workers_of(out)[1], signal.SIGTERM)
        status, stdout, err = outcome(process)
        ls.says((status, stdout, err), INTERRUPTED, "stopped")
        if ls.steps_saved(out)[-1] != ls.summary(stdout)["steps"]:
            raise ls.Failed("it did not save")
    finally:
        ls.end(process)
    ls.none_left(folder, 1)
    ls.same(ls.train(job, out, "--workers", "2"), expected)


# --- clusters made by hand -------------------------------------------------------------------------------------------

class Cluster:
    """A coordinator and workers by hand, killed at the end."""

    def __init__(self, job, out, workers, *words):
        self.common = ["--set", f"run.checkpoint.directory={out}", "--workers", str(workers), *words]
        self.env, self.job, self.workers = ls.environment(LOCKSTEP_SECRET=ls.SECRET), job, []
        self.head = ls.start([ls.BINARY, "coordinator", job, "--json", "--quiet", *self.common],
                             env=ls.environment(LOCKSTEP_SECRET=ls.SECRET, LOCKSTEP_LOG="info"))

    def __enter__(self):
        self.where = "127.0.0.1:" + self.head.stdout.readline().split("port ")[1].split()[0]
        return self

    def join(self, count, *words):
        for _ in range(count):
            self.workers.append(ls.start([ls.BINARY, "worker", self.job, "--coordinator", self.where, *self.common,
                                          *words], env=self.env))

    def __exit__(self, *_):
        for process in self.workers + [self.head]:
            ls.end(process)


@with_job
def cluster_worker_killed(folder, job):
    """The others and the coordinator end by themselves, each with a sentence about the one that was killed."""
    expected = undisturbed()

    def check(generator):
        out, count = tempfile.mkdtemp(dir=folder), generator.choice([2, 3])
        with Cluster(job, out, count, "--transport", generator.choice(["shm", "tcp"])) as cluster:
            cluster.join(count)
            moment(out, generator)
            spin(generator)
            victim = generator.choice(cluster.workers)
            cluster.workers.remove(victim)
            began = ls.steps_saved(out)
            victim.kill()
            victim.wait()
            if not began and cluster.head.poll() is None and len(cluster.workers) + 1 == count:
                # It may have gone before it joined: the coordinator then waits for another, which ends it as well.
                for process in [cluster.head, *cluster.workers]:
                    process.terminate()
                statuses, named = (PEER, INTERRUPTED), []
            else:
                statuses, named = (PEER,), [f"(pid {victim.pid})"]
            status, stdout, err = outcome(cluster.head)
            if status not in statuses:
                raise ls.Failed(f"coordinator: {status}: {err}")
            ls.says((status, stdout, err), status, *named)
            for worker in cluster.workers:
                status, stdout, err = outcome(worker)
                if status == -signal.SIGTERM and INTERRUPTED in statuses:
                    continue  # told before it could listen
                if status not in statuses:
                    raise ls.Failed(f"worker: {status}: {err}")
                sentence = ls.says((status, stdout, err), status)
                if named and f"pid {victim.pid}" not in sentence and "rank " not in sentence:
                    raise ls.Failed(f"it does not say who died: {sentence}")
                # Of workers with one replica each the number is the rank, as it is in the coordinator's sentence.
                if any(rank != number for rank, number in re.findall(r"rank (\d+) \(worker (\d+),", sentence)):
                    raise ls.Failed(f"it numbers the workers as the coordinator does not: {sentence}")
            ls.end(victim)
        resumed(out, job, out, generator, expected)
    each_seed(check)


@with_job
def cluster_worker_killed_before_they_meet(folder, job):
    """A worker that dies after it was counted in and before the group has formed does not keep the others waiting."""
    for transport in ("shm", "tcp"):
        for place in (0, 1):
            out = tempfile.mkdtemp(dir=folder)
            with Cluster(job, out, 2, "--transport", transport) as cluster:
                cluster.join(1, "--index", str(place))
                ls.wait_until(lambda: "1 of 2" in cluster.head.stderr.readline(), "the join")
                victim = cluster.workers.pop()
                os.kill(victim.pid, signal.SIGSTOP)
                cluster.join(1, "--index", str(1 - place))
                ls.wait_until(lambda: "2 of 2" in cluster.head.stderr.readline(), "the other join")
                victim.kill()
                victim.wait()
                ls.says(outcome(cluster.head), PEER, f"(pid {victim.pid})")
                ls.says(outcome(cluster.workers[0]), PEER, f"(pid {victim.pid})")
                ls.end(victim)
    ls.none_left(folder, 1)


@with_job
def cluster_coordinator_killed(folder, job):
    """Every worker ends with a sentence that names the coordinator's address."""
    expected = undisturbed()

    def check(generator):
        out, count = tempfile.mkdtemp(dir=folder), generator.choice([1, 2, 3])
        with Cluster(job, out, count, "--transport", generator.choice(["shm", "tcp"])) as cluster:
            cluster.join(count)
            target = moment(out, generator)
            if not target:
                ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
            spin(generator)
            cluster.head.kill()
            cluster.head.wait()
            for worker in cluster.workers:
                ls.says(outcome(worker), PEER, "coordinator", cluster.where)
        resumed(out, job, out, generator, expected)
    each_seed(check)


@with_job
def cluster_told(folder, job):
    """SIGTERM to the coordinator, or to any worker, saves and ends all of it in order."""
    expected = undisturbed()

    def check(generator):
        out = tempfile.mkdtemp(dir=folder)
        with Cluster(job, out, 2) as cluster:
            cluster.join(2)
            moment(out, generator)
            ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
            generator.choice([cluster.head, *cluster.workers]).terminate()
            status, stdout, err = outcome(cluster.head)
            ls.says((status, stdout, err), INTERRUPTED, "stopped")
            if ls.steps_saved(out)[-1] != ls.summary(stdout)["steps"]:
                raise ls.Failed("it did not save")
            for worker in cluster.workers:
                status, _, err = outcome(worker)
                if status not in (0, INTERRUPTED):
                    raise ls.Failed(f"a worker ended with {status}: {err}")
        resumed(out, job, out, generator, expected)
    each_seed(check)


@with_job
def cluster_told_while_it_waits(folder, job):
    """A coordinator whose workers have not all come leaves at once, and so does the one that came."""
    out = os.path.join(folder, "out")
    with Cluster(job, out, 2) as cluster:
        cluster.join(1)
        ls.wait_until(lambda: "joined" in cluster.head.stderr.readline(), "the join")
        cluster.head.terminate()
        ls.says(outcome(cluster.head), INTERRUPTED, "joined")
        ls.says(outcome(cluster.workers[0]), INTERRUPTED, "joined")
    ls.none_left(folder, 1)


CASES = [worker_killed, every_worker_killed, launcher_killed, told_by_sigterm, told_by_ctrl_c,
         told_by_ctrl_c_at_a_terminal, second_ctrl_c, worker_hangs, worker_told, cluster_worker_killed,
         cluster_worker_killed_before_they_meet, cluster_coordinator_killed, cluster_told, cluster_told_while_it_waits]

if __name__ == "__main__":
    chosen = sys.argv[1:]
    if chosen[:1] == ["--seeds"]:
        SEEDS, chosen = int(chosen[1]), chosen[2:]
    ls.run_cases([(case.__name__, case) for case in CASES], chosen)
