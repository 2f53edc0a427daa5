#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clusters made by hand: a coordinator, and workers that come before it, after it, in any order, with what they have.

Usage: cluster.py [CASE...]
"""
import functools
import os
import socket
import sys

import lockstep as ls


def with_job(case):
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            job = ls.small_job(folder, epochs=20)
            return case(folder, job, ls.train(job, os.path.join(folder, "undisturbed"), "--workers", "1"))
    return run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """Starts coordinator and workers; whatever is left is killed at the end."""

    def __init__(self, job, out, *words):
        self.job, self.words, self.started = job, ["--set", f"run.checkpoint.directory={out}", *words], []
        self.where = f"127.0.0.1:{free_port()}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            ls.end(process)

    def start(self, *words, **environment):
        process = ls.start([ls.BINARY, words[0], self.job, *words[1:], *self.words],
                           env=ls.environment(**{"LOCKSTEP_SECRET": ls.SECRET, **environment}))
        self.started.append(process)
        return process

    def coordinator(self, *words, **environment):
        return self.start("coordinator", "--listen", self.where, "--json", "--quiet", *words, **environment)

    def worker(self, *words, **environment):
        return self.start("worker", "--coordinator", self.where, *words, **environment)


def ends_well(head, workers, expected):
    """All end with status 0, the workers and the coordinator without a word of complaint, with the right numbers."""
    out, err = head.communicate(timeout=ls.DEADLINE_S)
    if head.returncode != 0 or err:
        raise ls.Failed(f"coordinator: status {head.returncode}: {err}")
    ls.same(ls.summary(out), expected)
    for worker in workers:
        out, err = worker.communicate(timeout=20)
        if worker.returncode != 0 or out or err:
            raise ls.Failed(f"worker: status {worker.returncode}: {out}{err}")


@with_job
def workers_come_after(folder, job, expected):
    with Cluster(job, os.path.join(folder, "out"), "--workers", "3") as cluster:
        head = cluster.coordinator()
        line = head.stdout.readline()
        if cluster.where.split(":")[1] not in line:
            raise ls.Failed(f"the coordinator said {line!r}")
        ends_well(head, [cluster.worker() for _ in range(3)], expected)
    ls.none_left(folder, 1)


@with_job
def workers_come_before(folder, job, expected):
    """They try again until the coordinator is there."""
    with Cluster(job, os.path.join(folder, "out"), "--workers", "2") as cluster:
        workers = [cluster.worker("--index", "1"), cluster.worker("--index", "0")]
        for worker in workers:
            try:
                worker.wait(timeout=0.3)
                raise ls.Failed(f"a worker did not wait: {worker.stderr.read()}")
            except ls.subprocess.TimeoutExpired:
                pass
        ends_well(cluster.coordinator(), workers, expected)
    ls.none_left(folder, 1)


@with_job
def nobody_comes(folder, job, expected):
    """A worker without a coordinator says where it looked."""
    with Cluster(job, os.path.join(folder, "out")) as cluster:
        worker = cluster.worker()
        out, err = worker.communicate(timeout=20)
        ls.says((worker.returncode, out, err), 6, cluster.where, "10 s")


@with_job
def join_timeout(folder, job, expected):
    """A coordinator gives up on those who do not come when it was told to, and says who is missing."""
    for words, status, said in ((("1",), 6, "within 1 s"), (("0",), 2, "--join-timeout"), (("soon",), 2, "whole number")):
        with Cluster(job, os.path.join(folder, "out"), "--workers", "2") as cluster:
            head = cluster.coordinator("--join-timeout", *words)
            out, err = head.communicate(timeout=20)
            ls.says((head.returncode, out, err), status, said)


@with_job
def worker_waits_and_is_told(folder, job, expected):
    """Ctrl-C and SIGTERM end a worker that waits for its coordinator, and one that waits for the others, at once."""
    with Cluster(job, os.path.join(folder, "out"), "--workers", "2") as cluster:
        first = cluster.worker()
        ls.wait_until(lambda: ls.processes(folder, "worker"), "the start of a worker")
        ls.wait_until(lambda: catches_sigterm(first.pid), "the worker's readiness")
        first.terminate()
        out, err = first.communicate(timeout=2)
        ls.says((first.returncode, out, err), 130, "stopped before")
        head = cluster.coordinator(LOCKSTEP_LOG="info")
        second = cluster.worker()
        ls.wait_until(lambda: "joined" in head.stderr.readline(), "the join")
        second.send_signal(ls.signal.SIGINT)
        out, err = second.communicate(timeout=2)
        ls.says((second.returncode, out, err), 130, "stopped before")
        workers = [cluster.worker(), cluster.worker()]
        out, err = head.communicate(timeout=ls.DEADLINE_S)
        if head.returncode != 0:
            raise ls.Failed(f"coordinator: {head.returncode}: {err}")
        ls.same(ls.summary(out), expected)
        for worker in workers:
            worker.wait(timeout=20)


def catches_sigterm(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        caught = [line for line in file if line.startswith("SigCgt")][0].split()[1]
    return int(caught, 16) >> (ls.signal.SIGTERM - 1) & 1


@with_job
def a_worker_too_many(folder, job, expected):
    """It is refused with a sentence, and the others do not notice."""
    out = os.path.join(folder, "out")
    with Cluster(job, out, "--workers", "2", "--set", "epochs=2000", "--set", "run.checkpoint.every_steps=100") as cluster:
        head = cluster.coordinator()
        workers = [cluster.worker(), cluster.worker()]
        ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
        third = cluster.worker()
        said = third.communicate(timeout=15)
        ls.says((third.returncode, *said), 8, "already has its 2 workers", cluster.where)
        if head.poll() is not None or any(w.poll() is not None for w in workers):
            raise ls.Failed("the job ended")
        head.terminate()
        if head.wait(timeout=20) != 130:
            raise ls.Failed(f"coordinator: {head.returncode}: {head.stderr.read()}")


@with_job
def mixed_workers(folder, job, expected):
    """Workers with other kernels, threads, replicas and micro-shards than each other reach the same numbers."""
    kinds = [kind for kind in ("ref", "avx2", "avx512") if ls.supports(kind)]
    for transport in ("shm", "tcp"):
        with Cluster(job, os.path.join(folder, transport), "--workers", "3", "--transport", transport) as cluster:
            head = cluster.coordinator()
            workers = [cluster.worker("--threads", "2", LOCKSTEP_ISA=kinds[0]),
                       cluster.worker("--replicas", "2", LOCKSTEP_ISA=kinds[-1]),
                       cluster.worker("--set", "run.micro_shards=1", LOCKSTEP_ISA=kinds[len(kinds) // 2])]
            ends_well(head, workers, expected)
    return f"kernels {', '.join(kinds)}"


@with_job
def unlike_workers(folder, job, expected):
    """What all workers need alike is refused before the first step, with one sentence and one status everywhere."""
    eager = (["--set", "run.execution=eager"], {})
    for number, (transport, first, second, said) in enumerate((
            ("shm", ([], {}), eager, "run.execution is graph on rank 0 and eager on rank 1; give all workers the same"),
            ("tcp", eager, ([], {}), "run.execution is eager on rank 0 and graph on rank 1; give all workers the same"),
            ("shm", ([], {"LOCKSTEP_COLLECTIVES": "any/any/any/any=staged"}), ([], {}), "LOCKSTEP_COLLECTIVES of rank 1"),
            ("tcp", ([], {}), ([], {"LOCKSTEP_COLLECTIVES": "any/any/any/any=direct"}), "LOCKSTEP_COLLECTIVES of rank 1"),
            ("hybrid", ([], {}), ([], {"LOCKSTEP_COLLECTIVES": "any/any/any/any=direct"}),
             "LOCKSTEP_COLLECTIVES of rank 1"),
            ("shm", ([], {}), (["--max-steps", "3"], {}), "run.max_steps is 0 on rank 0 and 3 on rank 1"),
            ("shm", ([], {}), (["--set", "run.checkpoint.every_steps=7"], {}), "and 7 on rank 1"))):
        out = os.path.join(folder, str(number))
        with Cluster(job, out, "--workers", "2", "--transport", transport) as cluster:
            head = cluster.coordinator()
            workers = [cluster.worker("--index", str(index), *words, **environment)
                       for index, (words, environment) in enumerate((first, second))]
            for process in [head, *workers]:
                text, err = process.communicate(timeout=20)
                ls.says((process.returncode, text, err), 3, said)
            if ls.steps_saved(out):
                raise ls.Failed(f"it saved {ls.steps_saved(out)}")
    ls.none_left(folder, 1)


@with_job
def pretended_hosts(folder, job, expected):
    """Workers on hosts of several sizes: shared memory inside each and tcp between them where that pays, same numbers."""
    for hosts, words, transport in (("aabb", [], "hybrid"), ("abbcb", [], "hybrid"), ("ab", [], "tcp"),
                                    ("aab", ["--transport", "tcp"], "tcp"), ("aa", ["--transport", "hybrid"], "hybrid"),
                                    ("bb", [], "hybrid"), ("aa", [], "shm")):
        out = os.path.join(folder, f"{hosts}-{transport}")
        with Cluster(job, out, "--workers", str(len(hosts)), *words) as cluster:
            head = cluster.coordinator(LOCKSTEP_HOST="a")
            workers = [cluster.worker(LOCKSTEP_HOST=host) for host in hosts]
            said, err = head.communicate(timeout=ls.DEADLINE_S)
            if head.returncode != 0 or err:
                raise ls.Failed(f"{hosts}: status {head.returncode}: {err}")
            ls.same(ls.summary(said), expected)
            if ls.summary(said)["transport"] != transport:
                raise ls.Failed(f"{hosts} {words}: transport {ls.summary(said)['transport']}, not {transport}")
            for worker in workers:
                if worker.wait(timeout=20) != 0:
                    raise ls.Failed(f"{hosts}: a worker: {worker.stderr.read()}")
    ls.none_left(folder, 1)


@with_job
def secret_in_a_file(folder, job, expected):
    path = ls.write(folder, "secret", ls.SECRET + "\n")
    os.chmod(path, 0o600)
    with Cluster(job, os.path.join(folder, "out"), "--workers", "1", "--secret-file", path) as cluster:
        head = cluster.coordinator(LOCKSTEP_SECRET=None)
        ends_well(head, [cluster.worker(LOCKSTEP_SECRET=None)], expected)


def on_the_stack(pid, secret):
    """How often a process's main stack has these bytes."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        first, last = [line for line in maps if line.endswith("[stack]\n")][0].split()[0].split("-")
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(int(first, 16))
        return memory.read(int(last, 16) - int(first, 16)).count(secret)


def secret_is_wiped():
    """Once a job runs, a coordinator has its secret in one place, which is no stack, and a worker on it only what its
    command keeps to the end."""
    secret = bytes(range(7, 39))
    with ls.Folder() as folder:
        job, out = ls.small_job(folder, epochs=1000000, every_steps=20), os.path.join(folder, "out")
        with Cluster(job, out, "--workers", "1") as cluster:
            head, worker = (start(LOCKSTEP_SECRET=secret.hex()) for start in (cluster.coordinator, cluster.worker))
            ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
            found = on_the_stack(head.pid, secret), on_the_stack(worker.pid, secret)
        if found[0] > 0 or found[1] > 1:
            raise ls.Failed(f"the coordinator's stack has it {found[0]} times, the worker's {found[1]}")
        pipe, out = os.path.join(folder, "pipe"), os.path.join(folder, "by_pipe")
        os.mkfifo(pipe, 0o600)
        with Cluster(job, out, "--workers", "1", "--secret-file", pipe) as cluster:
            for start in (cluster.coordinator, cluster.worker):
                process = start(LOCKSTEP_SECRET=None)
                with open(pipe, "w", encoding="ascii") as file:
                    file.write(secret.hex())
                if start == cluster.coordinator:
                    process.stdout.readline()  # it has read the pipe to its end
            ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
            found = [on_the_stack(process.pid, secret.hex().encode()) for process in cluster.started]
        if max(found) > 0:
            raise ls.Failed(f"what came by a pipe is on a stack: {found}")
        out = os.path.join(folder, "train")
        process = ls.start([ls.BINARY, "train", job, "--quiet", "--set", f"run.checkpoint.directory={out}"])
        try:
            ls.wait_until(lambda: ls.steps_saved(out), "a checkpoint")
            with open(f"/proc/{ls.workers_of(folder)[0]}/environ", "rb") as file:
                told = [word for word in file.read().split(b"\0") if word.startswith(b"LOCKSTEP_SECRET=")]
            found = on_the_stack(process.pid, bytes.fromhex(told[0].split(b"=")[1].decode()))
        finally:
            process.terminate()
            process.wait(timeout=30)
            ls.end(process)
        if found > 0:
            raise ls.Failed(f"the stack of train has it {found} times")


@with_job
def strangers(folder, job, expected):
    """Whoever does not know the protocol, or says nothing, neither ends the coordinator nor keeps workers out."""
    with Cluster(job, os.path.join(folder, "out"), "--workers", "2") as cluster:
        head = cluster.coordinator()
        head.stdout.readline()
        host, port = cluster.where.split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(40)]
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4000, os.urandom(4000), b"\xff" * 16):
            silent.append(socket.create_connection((host, int(port))))
            try:
                silent[-1].sendall(words)
            except OSError:
                pass  # it hung up, which is what it should do
        try:
            ends_well(head, [cluster.worker(), cluster.worker()], expected)
        finally:
            for connection in silent:
                connection.close()


CASES = [workers_come_after, workers_come_before, nobody_comes, join_timeout, worker_waits_and_is_told, a_worker_too_many,
         mixed_workers, unlike_workers, pretended_hosts, secret_in_a_file,
         secret_is_wiped, strangers]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
