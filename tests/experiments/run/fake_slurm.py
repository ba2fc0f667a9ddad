"""A Slurm of one machine, for tests: sbatch, sacct, scancel, scontrol and srun over local processes.

It honours --array with its limit, --dependency=afterany, --output, requeueing and signals. Its state is a folder,
named by FAKE_SLURM; ``install`` puts the commands on a PATH.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

COMMANDS = ("sbatch", "sacct", "scancel", "scontrol", "srun")


def install(folder: Path) -> Path:
    """Write the commands into ``folder/bin`` and return it."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    for name in COMMANDS:
        path = bin_folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).resolve()} {name} "$@"\n')
        path.chmod(0o755)
    return bin_folder


def state() -> Path:
    return Path(os.environ["FAKE_SLURM"])


def options_of(script: str, arguments: list[str]) -> dict[str, str]:
    words = [line.split("#SBATCH ", 1)[1] for line in script.splitlines() if line.startswith("#SBATCH ")] + arguments
    pairs = [word.removeprefix("--").partition("=") for word in words if word.startswith("--")]
    return {name: value.strip("'\"") for name, _, value in pairs}


def sbatch(arguments: list[str]) -> int:
    script = Path(arguments[-1]).read_text()
    options = options_of(script, arguments[:-1])
    if options.get("partition") == "missing":
        print("sbatch: error: invalid partition specified: missing", file=sys.stderr)
        return 1
    with (state() / "counter").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = 100 + len(file.read())
        file.write("x")
    folder = state() / str(number)
    folder.mkdir()
    (folder / "script.sh").write_text(script)
    match = re.fullmatch(r"(\d+)-(\d+)(?:%(\d+))?", options.get("array", ""))
    tasks = list(range(int(match[1]), int(match[2]) + 1)) if match else []
    after = options.get("dependency", "afterany:").removeprefix("afterany:").split(":")
    body = {
        "tasks": tasks,
        "parallel": int(match[3] or len(tasks)) if match else 1,
        "after": [word for word in after if word],
        "output": options.get("output", "/dev/null"),
    }
    (folder / "job.json").write_text(json.dumps(body))
    if "FAKE_SLURM_HOLD" not in os.environ:  # a queue that never comes to us
        begin(number)
    print(number if "parsable" in options else f"Submitted batch job {number}")
    return 0


def begin(number: int) -> None:
    subprocess.Popen(
        [sys.executable, "-S", __file__, "control", str(number)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def control(arguments: list[str]) -> int:
    """Run one job's tasks: started with it, and not by the person who submitted."""
    number = arguments[0]
    folder = state() / number
    body = json.loads((folder / "job.json").read_text())
    while not all((state() / other / "ended").exists() for other in body["after"]):
        time.sleep(0.02)
    pending = [str(task) for task in body["tasks"]] or [""]
    running: dict[str, subprocess.Popen] = {}
    while pending or running:
        while pending and len(running) < body["parallel"]:
            task = pending.pop(0)
            running[task] = start(number, task, body["output"])
            (folder / f"pid-{task}").write_text(str(running[task].pid))
        for task, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[task]
            if (folder / f"requeue-{task}").exists():
                (folder / f"requeue-{task}").unlink()
                pending.append(task)
            else:
                (folder / f"code-{task}").write_text(str(process.returncode))
        time.sleep(0.02)
    (folder / "ended").write_text("")
    return 0


def start(number: str, task: str, output: str) -> subprocess.Popen:
    environment = {**os.environ, "SLURM_JOB_ID": number, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    environment |= {"SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1", "SLURM_JOB_NODELIST": "localhost"}
    if task:
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
    with open(named(output, number, task), "a") as file:
        script = str(state() / number / "script.sh")
        return subprocess.Popen(["bash", script], env=environment, stdout=file, stderr=subprocess.STDOUT)


def named(pattern: str, number: str, task: str) -> str:
    for word, value in (("%A", number), ("%j", number), ("%a", task), ("%t", "0")):
        pattern = pattern.replace(word, value)
    return pattern


def files_of(name: str) -> list[tuple[Path, str]]:
    number, _, task = name.partition("_")
    folder = state() / number
    body = json.loads((folder / "job.json").read_text())
    return [(folder, task)] if task else [(folder, str(each)) for each in body["tasks"] or [""]]


def scancel(arguments: list[str]) -> int:
    number = signal.SIGKILL
    names = []
    words = iter(arguments)
    for word in words:
        if word.startswith("--signal"):
            given = word.partition("=")[2] or next(words)
            number = signal.Signals["SIG" + given.removeprefix("SIG")]
        else:
            names.append(word)
    for name in names:
        for folder, task in files_of(name):
            if (folder / f"pid-{task}").exists() and not (folder / f"code-{task}").exists():
                os.kill(int((folder / f"pid-{task}").read_text()), number)
    return 0


def scontrol(arguments: list[str]) -> int:
    assert arguments[0] == "requeue"
    for folder, task in files_of(arguments[1]):
        (folder / f"requeue-{task}").write_text("")
    return 0


def sacct(arguments: list[str]) -> int:
    print("JobID|State|NodeList")
    numbers = [word for before, word in pairwise(arguments) if before == "-j"]
    for number in numbers:
        for folder, task in files_of(number):
            code = folder / f"code-{task}"
            known = "PENDING" if not (folder / f"pid-{task}").exists() else "RUNNING"
            told = ("COMPLETED" if code.read_text() == "0" else "FAILED") if code.exists() else known
            print(f"{number}_{task}|{told}|localhost" if task else f"{number}|{told}|localhost")
    return 0


def srun(arguments: list[str]) -> int:
    words = list(arguments)
    while words and words[0].startswith("--"):
        option = words.pop(0)
        if option in ("--output", "--error"):
            path = named(words.pop(0), os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID", ""))
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1 if option == "--output" else 2)
    os.execvp(words[0], words)


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](sys.argv[2:]))
