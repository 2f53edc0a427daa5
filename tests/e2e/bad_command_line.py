#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad words: options, variables, settings and syntax of a job, each refused with a sentence; the same as JSON.

Usage: bad_command_line.py [CASE...]
"""
import json
import os
import signal
import sys

import lockstep as ls
from refusal import USAGE, INVALID, FILES, PEER, fails, train_fails, with_job, read


@with_job
def command_line(folder):
    job = os.path.join(folder, "job.yaml")
    fails(folder, ["trian", job], USAGE, '"trian"', "lockstep train")
    fails(folder, ["dance", job], USAGE, '"dance"', "--help")
    fails(folder, ["train", job, "--worker", "2"], USAGE, "--worker", "--workers")
    fails(folder, ["train", job, "--polka"], USAGE, "--polka", "--help")
    fails(folder, ["train", job, "-w", "2"], USAGE, "-w")
    fails(folder, ["train"], USAGE, "JOB")
    fails(folder, ["train", job, job], USAGE, job)
    fails(folder, ["train", job, "--workers"], USAGE, "--workers")
    fails(folder, ["train", job, "--max-steps", "many"], USAGE, "--max-steps", "many")
    fails(folder, ["train", job, "--json=yes"], USAGE, "--json")
    fails(folder, ["train", job, "--overwrite"], USAGE, "--fresh")
    fails(folder, ["coordinator", job, "--overwrite"], USAGE, "--fresh", env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    fails(folder, ["worker", job], USAGE, "--coordinator")
    for port in ("0", "00"):
        fails(folder, ["worker", job, "--coordinator", "127.0.0.1:" + port], USAGE, "--coordinator", "port 0",
              env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
    fails(folder, ["predict", job], USAGE, "--output")
    fails(folder, ["evaluate", job, "--data", "tset"], USAGE, "tset")
    fails(folder, ["train", job, "--save-weights", "/"], FILES, "--save-weights", "directory")
    for word in ("help", "-h", "--help"):
        if ls.run([ls.BINARY, word, "train"])[1] != ls.run([ls.BINARY, "train", "--help"])[1]:
            raise ls.Failed(f"lockstep {word} train does not show the help of train")
    fails(folder, ["help", "trian"], USAGE, "trian", "lockstep train")
    fails(folder, ["bench", "train", "--model", "rnn"], USAGE, "rnn", "mlp")


@with_job
def environment(folder):
    """A variable that cannot be what it says is refused by every command, also as JSON."""
    job = os.path.join(folder, "job.yaml")
    for words in (["train", job], ["plan", job, "--json"], ["inspect", folder], ["version"]):
        fails(folder, words, USAGE, "LOCKSTEP_LOG", "error, warn, info or debug", '"loud"',
              env=ls.environment(LOCKSTEP_LOG="loud"))
        fails(folder, words, USAGE, "LOCKSTEP_HOST", "letters, digits", env=ls.environment(LOCKSTEP_HOST="a b"))
        fails(folder, words, USAGE, "LOCKSTEP_PLUGINS", "a directory", '"/nope"',
              env=ls.environment(LOCKSTEP_PLUGINS="/nope"))
    for slow in ("2:1:10", "99:1:10"):  # how many ranks there are is known once all have joined
        train_fails(folder, USAGE, "LOCKSTEP_DEBUG_SLOW", f"rank {slow.split(':')[0]}", "ranks 0 to 1",
                    words=["--workers", "2"], env=ls.environment(LOCKSTEP_DEBUG_SLOW=slow))
    for name in ("LOCKSTEP_LOG", "LOCKSTEP_HOST", "LOCKSTEP_PLUGINS"):
        ls.run([ls.BINARY, "plan", job], env=ls.environment(**{name: ""}))


@with_job
def as_it_was_typed(folder):
    """What is wrong with a value is said of the option that gave it."""
    job = os.path.join(folder, "job.yaml")
    fails(folder, ["train", job, "--workers", "0"], INVALID, "--workers 0: run.workers must be from 1 to 256")
    fails(folder, ["plan", job, "--transport", "smoke"], INVALID, "--transport smoke: run.transport")
    fails(folder, ["evaluate", job, "--threads", "many"], INVALID, "--threads many: run.threads")
    fails(folder, ["train", job, "--set", "run.workers=0"], INVALID, "--set run.workers=0: run.workers")
    fails(folder, ["train", job, "--set", "x.y.z=3"], INVALID, "--set x.y.z=3: x is not a key of a job")
    fails(folder, ["train", job, "--set", "run.checkpiont.keep=3"], INVALID,
          "--set run.checkpiont.keep=3: run.checkpiont")
    fails(folder, ["train", job, "--set", "data.test.format=npy"], INVALID,
          "--set data.test.format=npy: data.test.features is missing")
    fails(folder, ["train", job, "--workers", ""], USAGE, "--workers", "empty value")
    fails(folder, ["bench", "dance"], USAGE, '"dance"', "train|allreduce|overlap")
    fails(folder, ["bench", "train", "--model", "mlp", "--workers", "1000"], USAGE,
          "--workers is from 1 to 256, not 1000")
    fails(folder, ["bench", "allreduce", "--hosts", "3"], USAGE, "--hosts is for --backend hybrid")
    fails(folder, ["bench", "allreduce", "--backend", "hybrid", "--hosts", "3"], USAGE, "from 1 to the 2 ranks, not 3")


@with_job
def settings_of_a_job(folder):
    def rejected(setting, *texts):
        train_fails(folder, INVALID, *texts, words=["--set", setting])
    rejected("optimizer.learning_rat=0.1", "optimizer.learning_rat", "learning_rate")
    rejected("epoch=3", "epoch", "epochs")
    rejected("optimizer.momentum=0.9", "optimizer.momentum", "is not an option of adam")
    rejected("run.wrokers=3", "run.wrokers", "workers")
    rejected("zebra=3", "zebra")
    rejected("batch.size=big", "batch.size", "big")
    rejected("batch.size=0", "batch.size")
    rejected("batch.size=-32", "batch.size")
    rejected("batch.shards=3", "shards")
    rejected("epochs=1.5", "epochs")
    rejected("seed=[1]", "seed")
    rejected("version=2", "version")
    rejected("numerics=9", "numerics")
    rejected("optimizer.name=adamw2", "adamw2", "adam")
    rejected("loss=crossentropy", "crossentropy")
    rejected("metrics=[acuracy]", "acuracy", "accuracy")
    rejected("metrics={a: 1}", "metrics must be a list of names", '{"a":1}')
    rejected("metrics=3", "metrics must be a list of names")
    rejected("metrics=[accuracy, {a: 1}]", "metrics must be a list of names", '{"a":1}')
    rejected("metrics=[accuracy", "--set metrics=[accuracy: it is not valid YAML")
    rejected("run.transport=smoke", "smoke", "shm")
    rejected("run.workers=0", "workers")
    rejected("run.workers=100000", "workers")
    rejected("run.strategy=one_device", "one_device", "multi_worker")
    rejected("run.isa=z80", "z80")
    if not ls.supports("neon"):
        rejected("run.isa=neon", "run.isa takes")
    rejected("run.device=tpu9", "tpu9")
    rejected("math=sloppy", "sloppy")
    rejected("data.train.format=csv", "csv", "idx")


@with_job
def syntax_of_a_job(folder):
    job = read(folder, "job.yaml")
    ls.write(folder, "job.yaml", b"version: 1\nbatch: {size: 32\nepochs: 4\n")
    train_fails(folder, INVALID, "job.yaml", "line")
    ls.write(folder, "job.yaml", job + b"epochs: 5\n")
    train_fails(folder, INVALID, "epochs")
    ls.write(folder, "job.yaml", b"")
    train_fails(folder, INVALID, "job.yaml")
    ls.write(folder, "job.yaml", b"\xff\xfe\x00binary\x00")
    train_fails(folder, INVALID, "job.yaml")
    ls.write(folder, "job.yaml", job.replace(b"model: model.json\n", b""))
    train_fails(folder, INVALID, "model")
    ls.write(folder, "job.yaml", job.replace(b"seed: 7", b"sead: 7"))
    train_fails(folder, INVALID, "sead", "seed", "job.yaml")


def outcome(result, status, *texts):
    """The JSON object that a failed command's standard output ends with; it says what standard error says."""
    sentence = ls.says(result, status, *texts)
    last = result[1].rstrip("\n").split("\n")[-1]
    if not last.startswith("{"):
        raise ls.Failed(f"standard output ends with {last!r}")
    told = json.loads(last)
    if told["exit_status"] != status or "lockstep: " + told["error"] != sentence or told["status"] in ("", "ok"):
        raise ls.Failed(f"{told} instead of {sentence!r}")
    return told


@with_job
def failures_in_json(folder):
    """With --json the last line of standard output is an object, however the command ended."""
    job = os.path.join(folder, "job.yaml")
    for words, status in ((["train", job, "--polka", "--json"], USAGE), (["train", "--json", job + "l"], FILES),
                          (["train", job, "--json", "--set", "epochs=0"], INVALID),
                          (["evaluate", job, "--json"], FILES),
                          (["plan", job, "--json", "--set", "run.strategy=one_device"], INVALID),
                          (["train", job, "--json", "--set", "data.train.labels=x.npy"], INVALID)):
        outcome(ls.run([ls.BINARY, *words], check=False), status)
    for number in (signal.SIGTERM, signal.SIGINT):
        head = ls.start([ls.BINARY, "coordinator", job, "--json"], env=ls.environment(LOCKSTEP_SECRET=ls.SECRET))
        try:
            line = head.stdout.readline()  # its handlers are there
            head.send_signal(number)
            stdout, err = head.communicate(timeout=20)
            told = outcome((head.returncode, line + stdout, err), 130, "stopped before all its workers had joined")
            if told["status"] != "interrupted":
                raise ls.Failed(str(told))
        finally:
            ls.end(head)
    first = ls.start([ls.BINARY, "train", ls.small_job(folder, epochs=1000000), "--json", "--quiet"])
    try:
        ls.wait_until(lambda: ls.steps_saved(os.path.join(folder, "out")), "a first checkpoint")
        os.kill(ls.workers_of(folder)[0], signal.SIGKILL)
        stdout, err = first.communicate(timeout=20)
        outcome((first.returncode, stdout, err), PEER, "killed by signal 9")
    finally:
        ls.end(first)
    stopped = ls.start([ls.BINARY, "train", job, "--json", "--quiet"])
    try:
        ls.wait_until(lambda: ls.workers_of(folder), "a worker")
        saved = ls.steps_saved(os.path.join(folder, "out"))
        ls.wait_until(lambda: ls.steps_saved(os.path.join(folder, "out")) != saved, "another checkpoint")
        stopped.terminate()
        stdout, err = stopped.communicate(timeout=20)
        told = outcome((stopped.returncode, stdout, err), 130, "saved")
        if told["finished"] or told["steps"] < 1:
            raise ls.Failed(str(told))
    finally:
        ls.end(stopped)


CASES = [command_line, environment, as_it_was_typed, settings_of_a_job, syntax_of_a_job, failures_in_json]

if __name__ == "__main__":
    ls.run_cases([(case.__name__, case) for case in CASES], sys.argv[1:])
