#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as launchers send them: twice within a moment, to the whole process group, while workers start. All
are one wish for an orderly end; only a second one half a second later leaves at once.

Usage: signals.py [CASE...]
"""
import functools
import os
import signal
import sys
import time

import lockstep as ls

STOPPED = 130
AGAIN_S = 0.5  # a second signal counts from here


def with_job(case):
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            return case(folder, ls.small_job(folder, epochs=1000000, every_steps=20))
    return run


def catches(pid):
    """Whether a process has its handler for SIGTERM."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        caught = [line for line in file if line.startswith("SigCgt")][0].split()[1]
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


class Training:
    """lockstep train in a process group of its own."""

    def __init__(self, folder, job, workers, *words):
        self.folder = folder
        self.out = os.path.join(folder, "out")
        self.process = ls.start([ls.BINARY, "train", job, "--json", "--quiet", "--workers", workers, *words],
                                start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in ls.workers_of(self.folder):
            os.kill(pid, signal.SIGKILL)
        ls.end(self.process)

    def stops(self, *texts):
        """It ends with 130, one sentence and the object that says the same."""
        stdout, err = self.process.communicate(timeout=30)
        ls.says((self.process.returncode, stdout, err), STOPPED, *texts)
        if ls.summary(stdout)["exit_status"] != STOPPED:
            raise ls.Failed(stdout)
        ls.none_left(self.folder)


@with_job
def two_at_once(folder, job):
    """Both signals in one moment are one wish: what was trained is saved."""
    for _ in range(3):
        with Training(folder, job, 2) as training:
            before = (ls.steps_saved(training.out) or [0])[-1]
            ls.wait_until(lambda: (ls.steps_saved(training.out) or [0])[-1] > before, "a checkpoint")
            os.kill(training.process.pid, signal.SIGTERM)
            os.kill(training.process.pid, signal.SIGINT)
            training.stops("stopped in order and saved")


@with_job
def whole_group(folder, job):
    """A batch system signals every process: in training, and twice."""
    with Training(folder, job, 3) as training:
        ls.wait_until(lambda: ls.steps_saved(training.out), "a checkpoint")
        os.killpg(training.process.pid, signal.SIGTERM)
        os.killpg(training.process.pid, signal.SIGTERM)
        training.stops("saved")


@with_job
def group_while_starting(folder, job):
    """The same as soon as the command's handler stands, or some of its workers exist, with handlers or without."""
    for number in (signal.SIGTERM, signal.SIGINT):
        for count in (0, 1, 2, 3, 4, 4, 4, 4):
            with Training(folder, job, 4, "--fresh", "--overwrite") as training:
                pid = training.process.pid
                ls.wait_until(lambda: catches(pid) and len(ls.workers_of(folder)) >= count, f"{count} workers")
                os.killpg(pid, number)
                training.stops("stopped")


@with_job
def again_later(folder, job):
    """A second signal after half a second leaves at once, workers too."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with Training(folder, job, 2) as training:
            before = (ls.steps_saved(training.out) or [0])[-1]
            ls.wait_until(lambda: (ls.steps_saved(training.out) or [0])[-1] > before, "a checkpoint")
            os.kill(ls.workers_of(folder)[0], signal.SIGSTOP)  # the orderly end cannot come
            training.process.send_signal(number)
            first = time.monotonic()
            ls.wait_until(lambda: time.monotonic() - first > AGAIN_S / 2, "a moment")
            training.process.send_signal(number)
            ls.wait_until(lambda: time.monotonic() - first > AGAIN_S + 0.1, "the time from which it counts")
            if training.process.poll() is not None:
                raise ls.Failed(f"a repeated signal ended it: {training.process.returncode}")
            training.process.send_signal(number)
            if training.process.wait(timeout=5) != 128 + number:
                raise ls.Failed(f"exit status {training.process.returncode}")
            ls.none_left(folder)


def killed_bench():
    """A bench that is killed leaves its directory, and the next one removes it, as well as its own."""
    with ls.Folder() as folder:
        words = [ls.BINARY, "bench", "allreduce", "--rounds"]
        short = [*words, "1", "--ranks", "1", "--sizes", "8"]
        env = ls.environment(XDG_RUNTIME_DIR=folder)
        process = ls.start([*words, "1000", "--ranks", "3", "--sizes", "16M"], env=env)
        try:
            left = ls.wait_until(lambda: [name for name in os.listdir(folder) if os.path.exists(
                os.path.join(folder, name, "lock"))], "the bench's directory")
            ls.run(short, env=env)
            if os.listdir(folder) != left:
                raise ls.Failed(f"of {left} one that is in use went: {os.listdir(folder)}")
            process.kill()
            process.wait()
        finally:
            ls.end(process)
        ls.wait_until(lambda: not ls.run(short, env=env)[0] and not os.listdir(folder),
                      "the end of the directory that was left")  # its ranks hold it until they have ended too


CASES = [killed_bench, two_at_once, whole_group, group_while_starting, again_later]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
