# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: running the binary, hand-made clusters, temporary folders, a summary."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("LOCKSTEP", os.path.join(ROOT, "build", "release", "lockstep"))
MNIST = os.path.join(ROOT, "examples", "mnist")
DEADLINE_S = 300
SECRET = "5a" * 32


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
    launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(mpi)] if mpi else []
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


def supports(isa):
    """Whether this processor and build run an instruction set."""
    status, _, _ = run([BINARY, "plan", os.path.join(MNIST, "mlp.yaml")], env=environment(LOCKSTEP_ISA=isa), check=False)
    return status == 0


def run_cases(cases, chosen):
    """Runs named functions; prints a line each; exit status 1 where one failed."""
    failed = 0
    for name, case in cases:
        if chosen and name not in chosen:
            continue
        try:
            said = case()
            print(f"ok    {name}{': ' + said if isinstance(said, str) else ''}", flush=True)
        except (Failed, AssertionError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"FAIL  {name}: {error}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
