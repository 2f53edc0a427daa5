#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ports, descriptors, secrets, launchers and workers that do not belong.

Usage: bad_network.py [CASE...]
"""
import os
import resource
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import lockstep as ls
from refusal import USAGE, INVALID, FILES, DAMAGED, REFUSED, BUSY, fails, train_fails, with_job


@with_job
def port_in_use(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        env = ls.environment(LOCKSTEP_SECRET=ls.SECRET)
        job = os.path.join(folder, "job.yaml")
        fails(folder, ["coordinator", job, "--listen", where], BUSY, where, env=env)
        fails(folder, ["coordinator", job, "--listen", "nowhere"], USAGE, "nowhere", env=env)
        fails(folder, ["coordinator", job, "--listen", "127.0.0.1:99999"], USAGE, "99999", env=env)
        fails(folder, ["coordinator", job, "--listen", "203.0.113.7:0"], FILES, "203.0.113.7", env=env)


def limit_descriptors(most, hard=None):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard or most))


@with_job
def too_few_descriptors(folder):
    """Connections that the system gives no descriptors for are named as that, and not waited for to the deadline."""
    words = ["--workers", "3", "--transport", "tcp", "--quiet"]
    train_fails(folder, FILES, "Too many open files", "ulimit -n", words=words, preexec_fn=limit_descriptors(20))
    streams = ls.environment(LOCKSTEP_TCP_STREAMS=8)
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(42)]
    began = time.monotonic()
    try:
        train_fails(folder, FILES, "Too many open files", "ulimit -n", words=words, pass_fds=held,
                    env=streams, preexec_fn=limit_descriptors(64))
        # A limit that may be raised is.
        ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), *words], pass_fds=held, env=streams,
               preexec_fn=limit_descriptors(64, 4096))
    finally:
        for number in held:
            os.close(number)
    if time.monotonic() - began > 15:
        raise ls.Failed("it took as long as a worker that is missing")
    ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), *words], preexec_fn=limit_descriptors(64))


@with_job
def too_few_for_the_launcher(folder):
    """Whatever the limit, the launcher trains or says at once, as the one who does, that it is too low."""
    began, refused = time.monotonic(), []
    for workers, most in [(2, most) for most in range(4, 19)] + [(8, 20)]:
        words = [ls.BINARY, "train", os.path.join(folder, "job.yaml"), "--workers", str(workers), "--quiet", "--json",
                 "--fresh", "--overwrite"]
        result = ls.run(words, check=False, preexec_fn=limit_descriptors(most))
        if result[0] == 0:
            continue
        refused.append((workers, most))
        sentence = ls.says(result, FILES)
        if "Too many open files" not in sentence and "ulimit -n" not in sentence:
            raise ls.Failed(f"{workers} workers, {most} descriptors: {sentence}")
    ls.none_left(folder, 1)
    if not {(2, 5), (2, 6), (8, 20)} <= set(refused) or (2, 18) in refused:
        raise ls.Failed(f"refused were {refused}")
    if time.monotonic() - began > 10:
        raise ls.Failed("workers were left to look for a coordinator that has no place for them")
    for workers, most in ((2, 5), (8, 20)):  # a limit that may be raised is
        ls.run([ls.BINARY, "train", os.path.join(folder, "job.yaml"), "--workers", str(workers), "--quiet"],
               preexec_fn=limit_descriptors(most, 4096))


@with_job
def workers_that_do_not_belong(folder):
    """Each is refused with its own reason; the coordinator goes on waiting, and the right workers train."""
    job, out = os.path.join(folder, "job.yaml"), os.path.join(folder, "out")
    expected = ls.train(job, os.path.join(folder, "other"))
    head = ls.start([ls.BINARY, "coordinator", job, "--json", "--quiet"], env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    started = []
    try:
        where = "127.0.0.1:" + head.stdout.readline().split("port ")[1].split()[0]
        join = [ls.BINARY, "worker", job, "--coordinator", where]
        right, wrong = ls.environment(LOCKSTEP_SECRET=ls.SECRET), ls.environment(LOCKSTEP_SECRET="6b" * 32)
        ls.says(ls.run(join, env=wrong, check=False), REFUSED, "secret", where)
        ls.says(ls.run(join + ["--set", "seed=8"], env=right, check=False), REFUSED, "job", where)
        ls.says(ls.run(join + ["--index", "7"], env=right, check=False), INVALID, "7")
        ls.says(ls.run(join + ["--index", "x"], env=right, check=False), USAGE, "--index")
        ls.says(ls.run(join + ["--set", "model=no.json"], env=right, check=False), FILES, "no.json")
        if head.poll() is not None:
            raise ls.Failed(f"the coordinator ended: {head.stderr.read()}")
        started = [ls.start(join, env=right) for _ in range(2)]
        stdout, err = head.communicate(timeout=60)
        ls.same(ls.summary(stdout), expected)
        if err:
            raise ls.Failed(f"the coordinator said {err}")
        for worker in started:
            if worker.wait(timeout=20) != 0:
                raise ls.Failed(f"a worker ended with {worker.returncode}: {worker.stderr.read()}")
    finally:
        for process in started + [head]:
            ls.end(process)
    if ls.steps_saved(out)[-1] != 20:
        raise ls.Failed("no checkpoint at the end")


def answer(listener, words):
    """Answers the first caller in a few words, and then says nothing."""
    listener.settimeout(10)
    caller, _ = listener.accept()
    caller.settimeout(10)
    caller.sendall(words)
    caller.recv(1 << 16)
    return caller


@with_job
def no_coordinator_there(folder):
    """A worker that calls somebody else is told so at once, however little that one says."""
    for words in (b"SSH-2.0-x\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"?"):
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as other:
            where = f"127.0.0.1:{listener.getsockname()[1]}"
            answered = other.submit(answer, listener, words)
            began = time.monotonic()
            fails(folder, ["worker", "--coordinator", where], DAMAGED, where, "is not a coordinator",
                  env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
            answered.result().close()
            if time.monotonic() - began > 5:
                raise ls.Failed(f"{words!r} was taken for a coordinator that is late")


@with_job
def secrets(folder):
    job = os.path.join(folder, "job.yaml")
    for command in (["coordinator", job], ["worker", job, "--coordinator", "127.0.0.1:1"]):
        fails(folder, command, USAGE, "LOCKSTEP_SECRET", "--secret-file")
        fails(folder, command, USAGE, "LOCKSTEP_SECRET", "is needed", "--secret-file",
              env=ls.environment(LOCKSTEP_SECRET=""))
        for place in ("/", "/dev/null"):
            fails(folder, command + ["--secret-file", place], FILES, place + " ", "no regular file")
        fails(folder, command, USAGE, "LOCKSTEP_SECRET", "is not 64", "--secret-file",
              env=ls.environment(LOCKSTEP_SECRET="12345"))
        path = ls.write(folder, "secret", ls.SECRET + "\n")
        os.chmod(path, 0o644)
        fails(folder, command + ["--secret-file", path], FILES, path, "600")
        os.chmod(path, 0o600)
        ls.write(folder, "secret", "zz" * 32)
        fails(folder, command + ["--secret-file", path], INVALID, path, "64")
        fails(folder, command + ["--secret-file", path + "2"], FILES, path + "2")


@with_job
def launcher_without_mpi(folder):
    """A launcher's environment, but no plug-in for MPI: it does not train alone, as if nobody had asked for two."""
    os.mkdir(os.path.join(folder, "empty"))
    for names in ({"OMPI_COMM_WORLD_SIZE": 2, "OMPI_COMM_WORLD_RANK": 0}, {"PMI_SIZE": 2, "PMI_RANK": 0}):
        env = ls.environment(LOCKSTEP_PLUGINS=os.path.join(folder, "empty"), **names)
        sentence = train_fails(folder, INVALID, "MPI", words=["--quiet"], env=env)
    if os.path.exists(os.path.join(folder, "out", "LATEST")):
        raise ls.Failed("a checkpoint appeared")
    return sentence


CASES = [port_in_use, too_few_descriptors, too_few_for_the_launcher, workers_that_do_not_belong,
         no_coordinator_there, secrets, launcher_without_mpi]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
