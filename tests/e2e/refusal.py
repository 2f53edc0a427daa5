# SPDX-License-Identifier: Apache-2.0
"""What the tests of bad input share: a command must fail with a documented exit status and exactly one sentence that
says what and where, leave no process behind, and leave what stood on disk before untouched."""
import functools
import os

import lockstep as ls

USAGE, INVALID, FILES, DAMAGED, PEER, REFUSED, BUSY = 2, 3, 4, 5, 6, 7, 8


def fails(folder, words, status, *texts, env=None, **options):
    """A command that must fail so; nothing of it may be alive afterwards."""
    sentence = ls.says(ls.run([ls.BINARY, *words], env=env, check=False, **options), status, *texts)
    ls.none_left(folder, 1)
    return sentence


def train_fails(folder, status, *texts, words=(), env=None, **options):
    return fails(folder, ["train", os.path.join(folder, "job.yaml"), *words], status, *texts, env=env, **options)


def with_job(case):
    """Gives a case a fresh folder with a small job."""
    @functools.wraps(case)
    def run():
        with ls.Folder() as folder:
            ls.small_job(folder)
            return case(folder)
    return run


def edit(folder, name, old, new):
    path = os.path.join(folder, name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if old not in text:
        raise ls.Failed(f"{old!r} is not in {path}")
    ls.write(folder, name, text.replace(old, new))


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def flip(path):
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        data[len(data) * 3 // 4] ^= 1
        file.seek(0)
        file.write(data)


def part_of(out, step):
    folder = os.path.join(out, f"step-{step}")
    return os.path.join(folder, sorted(n for n in os.listdir(folder) if n.startswith("part-"))[0])
