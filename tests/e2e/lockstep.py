# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: running the binary, hand-made clusters, temporary folders, a summary."""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("LOCKSTEP", os.path.join(ROOT, "build", "release", "lockstep"))
MNIST = os.path.join(ROOT, "examples", "mnist")
DEADLINE_S = 300
SECRET = "5a" * 32
# What Open MPI keeps to the end is no leak of ours.
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-x", "ASAN_OPTIONS=detect_leaks=0"]


class Failed(Exception):
    pass


def environment(**extra):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_", "LOCKSTEP_ISA"))}
    env.update({k: str(v) for k, v in extra.items() if v is not None})
    return env


def run(words, env=None, check=True, **options):
    """Runs to the end; (status, stdout, stderr). Failed names the command where check is on."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=DEADLINE_S,
                          env=env or environment(), **options)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, words))}: status {done.returncode}: {done.stderr.strip()[-600:]}")
    return done.returncode, done.stdout, done.stderr


def summary(stdout):
    lines = [l for l in stdout.split("\n") if l.startswith("{")]
    if not lines:
        raise Failed(f"no line of JSON in {stdout[-300:]!r}")
    return json.loads(lines[-1])


def train(job, directory, *words, env=None, mpi=0, check=True):
    """lockstep train with its checkpoints in directory; the summary, or (status, stdout, stderr) with check off."""
    launcher = MPIRUN + ["-n", str(mpi)] if mpi else []
    command = launcher + [BINARY, "train", job, "--json", "--quiet", "--set", f"run.checkpoint.directory={directory}"]
    result = run(command + list(words), env=env, check=check)
    return summary(result[1]) if check else result


def cluster(job, directory, worker_environments, *words, port=0):
    """A coordinator and one worker per environment, by hand; the coordinator's summary."""
    common = ["--set", f"run.checkpoint.directory={directory}", "--workers", len(worker_environments), *words]
    head = subprocess.Popen([BINARY, "coordinator", job, "--json", "--quiet", *map(str, common)],
                            env=environment(LOCKSTEP_SECRET=SECRET), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
    started = []
    try:
        line = head.stdout.readline()
        where = "127.0.0.1:" + line.split("port ")[1].split()[0]
        for extra in worker_environments:
            started.append(subprocess.Popen([BINARY, "worker", job, "--coordinator", where, *map(str, common)],
                                            env=environment(LOCKSTEP_SECRET=SECRET, **extra),
                                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        out, err = head.communicate(timeout=DEADLINE_S)
        if head.returncode != 0:
            raise Failed(f"coordinator: status {head.returncode}: {err.strip()[-600:]}")
        for worker in started:
            worker.wait(timeout=30)
        return summary(out)
    finally:
        for process in started + [head]:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()


class Folder:
    """A temporary directory that is removed at the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="lockstep-e2e-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def dense(name, units, activation="linear", **config):
    return {"module": "keras.layers", "class_name": "Dense",
            "config": {"name": name, "units": units, "activation": activation, **config}}


def sequential(shape, *layers):
    """A Keras model JSON of layers over one input."""
    head = {"module": "keras.layers", "class_name": "InputLayer",
            "config": {"batch_shape": [None, *shape], "dtype": "float32", "name": "input"}}
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "small", "layers": [head, *layers]}}


def npy(descr, shape, data):
    """The bytes of a .npy file of version 1.0."""
    text = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (descr, "".join(f"{d}, " for d in shape))
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def idx(kind, shape, data):
    """The bytes of an IDX file; kind 8 is u8, 13 is f32."""
    return struct.pack(">BBBB", 0, 0, kind, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + data


def write(folder, name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


SMALL_JOB = """version: 1
seed: 7
batch: {size: 32}
epochs: EPOCHS
model: model.json
data:
  train: {format: npy, features: x.npy, labels: y.npy}
  validation: {format: npy, features: x.npy, labels: y.npy}
loss: sparse_categorical_crossentropy
metrics: [accuracy]
optimizer: {name: adam, learning_rate: 0.001}
run:
  workers: 2
  checkpoint: {directory: out, every_steps: EVERY, keep: 2}
"""
SMALL_CLASSES = 5
SMALL_FEATURES = 12
SMALL_SAMPLES = 160  # five steps an epoch


def small_job(folder, epochs=4, every_steps=5, job=SMALL_JOB):
    """Writes a job that trains in a moment: 160 samples of 12 numbers in 5 classes; the path of its job.yaml. Every
    process of the job has the folder in its command line."""
    generator = random.Random(3)
    labels = [generator.randrange(SMALL_CLASSES) for _ in range(SMALL_SAMPLES)]
    values = [generator.gauss(1.5 if j == label else 0, 1) for label in labels for j in range(SMALL_FEATURES)]
    write(folder, "x.npy", npy("<f4", (SMALL_SAMPLES, SMALL_FEATURES), struct.pack(f"<{len(values)}f", *values)))
    write(folder, "y.npy", npy("<i4", (SMALL_SAMPLES,), struct.pack(f"<{len(labels)}i", *labels)))
    model = sequential((SMALL_FEATURES,), dense("hidden", 16, "relu"), dense("out", SMALL_CLASSES, "softmax"))
    write(folder, "model.json", json.dumps(model))
    return write(folder, "job.yaml", job.replace("EPOCHS", str(epochs)).replace("EVERY", str(every_steps)))


def start(words, env=None, **options):
    """Starts a command with its output in pipes."""
    return subprocess.Popen([str(w) for w in words], env=env or environment(), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def end(process):
    """Kills what is left of a started command and closes its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def wait_until(condition, what, seconds=30):
    """The condition's first true value. It is asked every few milliseconds, to a deadline."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failed(f"{what} did not happen within {seconds} s")
        time.sleep(0.002)  # polls; nothing depends on its length


def processes(mark, *words):
    """Pids of processes with mark, and all words, in their command line; not of this one."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{name}/stat") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z" and any(mark in word for word in line) and all(word in line for word in words):
            found.append(int(name))
    return sorted(found)


def workers_of(mark):
    return processes(mark, "worker")


def none_left(mark, seconds=5):
    """Fails where a process with mark in its command line is alive after so many seconds."""
    wait_until(lambda: not processes(mark), f"the end of every process of {mark}", seconds)


def steps_saved(directory):
    """Steps of the complete checkpoints in a directory, oldest first."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(int(n[5:]) for n in names if n.startswith("step-") and n[5:].isdigit()
                  and os.path.exists(os.path.join(directory, n, "manifest.json")))


def contents(directory):
    """{relative path: bytes} of a directory, to see that nothing in it changed."""
    found = {}
    for base, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, directory)] = file.read()
    return found


def checkpoints(directory):
    """contents() of the checkpoints alone: without lock and journal, which every run writes."""
    return {k: v for k, v in contents(directory).items() if k not in ("LOCK", "journal")}


def says(result, status, *texts):
    """Checks a failed command's (status, stdout, stderr): the exit status, exactly one sentence on stderr, and that it
    holds every text. Warnings and lines of the log begin otherwise and are not counted. The sentence."""
    got, _, err = result
    sentences = [line for line in err.split("\n") if line.startswith("lockstep: ")]
    if got != status:
        raise Failed(f"exit status {got} instead of {status}: {err.strip()[-600:]}")
    if len(sentences) != 1:
        raise Failed(f"{len(sentences)} sentences instead of one: {err.strip()[-600:]}")
    for text in texts:
        if text not in sentences[0]:
            raise Failed(f"{text!r} is not in {sentences[0]!r}")
    return sentences[0]


def hashes(result):
    return result["params_sha256"], result["state_sha256"], result["steps"]


def same(got, expected):
    if hashes(got) != hashes(expected):
        raise Failed(f"{hashes(got)} instead of {hashes(expected)}")


def supports(isa):
    """Whether this processor and build run an instruction set."""
    status, _, _ = run([BINARY, "plan", os.path.join(MNIST, "mlp.yaml")], env=environment(LOCKSTEP_ISA=isa), check=False)
    return status == 0


def run_cases(cases, chosen):
    """Runs named functions, all or the chosen ones; prints a line each; exit status 1 where one failed."""
    failed, passed = 0, 0
    unknown = [name for name in chosen if name not in dict(cases)]
    if unknown:
        print(f"there is no case {unknown[0]}; there are: {', '.join(name for name, _ in cases)}")
        sys.exit(2)
    for name, case in cases:
        if chosen and name not in chosen:
            continue
        began = time.monotonic()
        try:
            said = case()
            passed += 1
            print(f"ok    {name}{': ' + said if isinstance(said, str) else ''} "
                  f"({time.monotonic() - began:.1f} s)", flush=True)
        except (Failed, AssertionError, subprocess.TimeoutExpired, OSError, KeyError) as error:
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
