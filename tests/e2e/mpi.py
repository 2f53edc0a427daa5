#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Under mpirun: the same numbers, a rank that is killed, a rank that is told to leave. Skipped (77) without mpirun or the
plug-in.

Usage: mpi.py [CASE...]
"""
import functools
import os
import shutil
import signal
import sys

import lockstep as ls
import tracing

EPOCHS, EVERY = 160, 20
SKIPPED = 77


def words(job, ranks=2, transport="mpi"):
    return ls.MPIRUN + ["-n", str(ranks), ls.BINARY, "train", job, "--json", "--quiet", "--transport", transport]


def ranks_of(job):
    return [pid for pid in ls.processes(job, "train") if not ls.processes(job, "mpirun").count(pid)]


def with_job(case):
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            job = ls.small_job(folder, epochs=EPOCHS, every_steps=EVERY)
            expected = ls.train(job, os.path.join(folder, "undisturbed"), "--workers", "1")
            return case(folder, job, os.path.join(folder, "out"), expected)
    return run


def disturbed(folder, job, out, expected, number, statuses, *texts, transport="mpi"):
    """A signal to one rank ends all of them within 5 s with one sentence; the same command goes on. mpirun's exit status
    is that of the rank which it saw end first, killed (137) or not."""
    process = ls.start(words(job, 2, transport))
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        os.kill(ranks_of(job)[1], number)
        stdout, err = process.communicate(timeout=5)
        if process.returncode not in statuses:
            raise ls.Failed(f"exit status {process.returncode}: {err[-600:]}")
        ls.says((process.returncode, stdout, err), process.returncode, *texts)
    finally:
        if process.poll() is None:
            process.terminate()  # mpirun takes its ranks along
            process.wait(timeout=20)
        ls.end(process)
    ls.none_left(folder, 2)
    ls.same(ls.summary(ls.run(words(job, 3, transport))[1]), expected)


@with_job
def same_numbers(folder, job, out, expected):
    for ranks in (2, 3):
        ls.same(ls.train(job, os.path.join(folder, f"o{ranks}"), mpi=ranks), expected)


@with_job
def composed_hosts(folder, job, out, expected):
    """Ranks on hosts of several sizes: shared memory inside each and MPI between them, same numbers."""
    for hosts in ("aab", "abba"):
        ranks = [["-n", "1", "-x", f"LOCKSTEP_HOST={host}", *words(job, 1, "hybrid-mpi")[len(ls.MPIRUN) + 2:],
                  "--set", f"run.checkpoint.directory={os.path.join(folder, hosts)}"] for host in hosts]
        # What stands before the first rank's words is for that rank only.
        told = ls.summary(ls.run(ls.MPIRUN + [word for rank in ranks for word in [":", *rank]][1:],
                                 env=ls.environment(ASAN_OPTIONS="detect_leaks=0"))[1])
        ls.same(told, expected)
        if told["transport"] != "hybrid-mpi":
            raise ls.Failed(f"{hosts} went over {told['transport']}")


@with_job
def rank_killed(folder, job, out, expected):
    disturbed(folder, job, out, expected, signal.SIGKILL, (6, 137), "worker 1", "lost")


@with_job
def composed_rank_killed(folder, job, out, expected):
    disturbed(folder, job, out, expected, signal.SIGKILL, (6, 137), "worker 1", "lost", transport="hybrid-mpi")


def rank_0_of(job):
    for pid in ranks_of(job):
        with open(f"/proc/{pid}/environ", encoding="utf-8") as file:
            if "OMPI_COMM_WORLD_RANK=0" in file.read().split("\0"):
                return pid
    raise ls.Failed("there is no rank 0")


@with_job
def rank_0_killed(folder, job, out, expected):
    """The coordinator goes with it: one of the others says so, once, also as JSON."""
    process = ls.start(words(job, 3))
    try:
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        os.kill(rank_0_of(job), signal.SIGKILL)
        stdout, err = process.communicate(timeout=10)
    finally:
        ls.end(process)
    ls.says((process.returncode, stdout, err), process.returncode, "rank 0", "is gone")
    told = [line for line in stdout.split("\n") if line]
    if process.returncode not in (6, 137) or len(told) != 1 or ls.summary(stdout)["exit_status"] != 6:
        raise ls.Failed(f"status {process.returncode}, standard output was {stdout!r}")
    ls.none_left(folder, 2)
    ls.same(ls.summary(ls.run(words(job, 3))[1]), expected)


@with_job
def rank_told(folder, job, out, expected):
    disturbed(folder, job, out, expected, signal.SIGTERM, (130,), "stopped", "saved")


def each_told():
    """A rank that leaves first takes rank 0 along: it must have spoken by then, on both outputs, however late its turn on
    the processor comes. A race: several tries."""
    for number in (signal.SIGINT, signal.SIGTERM) * 4:
        with ls.Folder() as folder:
            job = ls.small_job(folder, epochs=20000, every_steps=EVERY)
            process = ls.start(words(job, 4))
            try:
                ls.wait_until(lambda: ls.steps_saved(os.path.join(folder, "out")), "a checkpoint")
                first = rank_0_of(job)
                os.setpriority(os.PRIO_PROCESS, first, 19)
                os.kill([pid for pid in ranks_of(job) if pid != first][-1], number)
                stdout, err = process.communicate(timeout=15)
            finally:
                ls.end(process)
            ls.says((process.returncode, stdout, err), 130, "stopped", "saved")
            told = [line for line in stdout.split("\n") if line]
            if len(told) != 1 or ls.summary(stdout)["exit_status"] != 130:
                raise ls.Failed(f"standard output was {stdout!r}")
            ls.none_left(folder, 2)


@with_job
def bad_job(folder, job, out, expected):
    """What is wrong with the job is said once, by the first rank, on standard error and as JSON."""
    for extra, status, text in ((["--set", "epochs=0"], 3, "epochs"), (["--polka"], 2, "--polka"),
                                (["--set", "model=no.json"], 4, "no.json")):
        result = ls.run(words(job, 3) + extra, check=False)
        ls.says(result, status, text)
        told = [line for line in result[1].split("\n") if line]
        if len(told) != 1 or ls.summary(result[1])["exit_status"] != status:
            raise ls.Failed(f"standard output was {result[1]!r}")
    if os.path.exists(out):
        raise ls.Failed("it left a checkpoint directory")


@with_job
def other_number_of_workers(folder, job, out, expected):
    ls.says(ls.run(words(job, 2) + ["--workers", "3"], check=False), 2, "--workers 3", "started 2")
    for extra in (["--set", "run.workers=3"], ["--set", "run={workers: 3}"]):
        ls.says(ls.run(words(job, 2) + extra, check=False), 2, "run.workers=3", "started 2", "leave run.workers out")
    ls.same(ls.train(job, out, "--workers", "2", mpi=2), expected)
    ls.same(ls.train(job, out, "--set", "run.workers=2", mpi=2), expected)


def bench_ranks():
    """The launch says how many ranks a bench has, before anything is checked against their number; what is wrong with its
    command line is said once."""
    def bench(ranks, *extra):
        return ls.run([*ls.MPIRUN, "-n", str(ranks), ls.BINARY, "bench", "allreduce", "--backend", "hybrid-mpi", "--sizes",
                       "4K", "--rounds", "3", *extra], check=False)

    for ranks, hosts in ((5, 3), (4, 4)):
        status, told, err = bench(ranks, "--hosts", str(hosts), "--json")
        if status != 0 or ls.summary(told)["ranks"] != ranks:
            raise ls.Failed(f"{ranks} ranks on {hosts} hosts: status {status}: {told[-300:]}{err[-600:]}")
    for extra, text in ((("--ranks", "2"), "--ranks 2, but the MPI launcher started 3"), (("--polka",), "--polka"),
                        (("--hosts", "4"), "--hosts is from 1 to the 3 ranks, not 4")):
        result = bench(3, *extra)
        ls.says(result, 2, text)
        if result[2].count(text) != 1:
            raise ls.Failed(f"said {result[2].count(text)} times: {result[2][-900:]}")


@with_job
def foreign_launcher(folder, job, out, expected):
    """A launcher that MPI does not speak with makes each process a world of its own; none of them trains."""
    words = [ls.BINARY, "train", job, "--json", "--quiet"]
    for extra in ({"PMI_RANK": 0, "PMI_SIZE": 3, "PMI_FD": 9}, {"OMPI_COMM_WORLD_SIZE": 2}):
        # What Open MPI leaves in memory is not looked at, as under mpirun.
        result = ls.run(words, env=ls.environment(ASAN_OPTIONS="detect_leaks=0", **extra), check=False)
        ls.says(result, 3, "processes were started, but MPI sees 1")
    if os.path.exists(out):
        raise ls.Failed("it trained")


def available():
    """Whether mpirun is here and the binary finds its plug-in."""
    if shutil.which("mpirun") is None:
        return False
    with ls.Folder() as folder:
        status, _, err = ls.run(words(ls.small_job(folder, epochs=1), 1), check=False)
        return status == 0 or "plug-in" not in err


@with_job
def traced(folder, job, out, expected):
    path = os.path.join(folder, "trace.json")
    job = ls.small_job(folder, epochs=tracing.EPOCHS)
    ls.train(job, os.path.join(folder, "traced"), "--trace", path, mpi=2)
    tracing.check(path, 2)


def traced_to_a_death():
    """A rank is killed: what the others did until then is in one file."""
    tracing.survivors("tcp", [*ls.MPIRUN, "-n", "3"])


CASES = [same_numbers, composed_hosts, traced, traced_to_a_death, bad_job, other_number_of_workers, bench_ranks,
         foreign_launcher, rank_killed, composed_rank_killed, rank_told, each_told, rank_0_killed]

if __name__ == "__main__":
    if not available():
        print("skipped: no mpirun, or no MPI plug-in")
        sys.exit(SKIPPED)
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
