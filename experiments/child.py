"""A child process that answers questions: what needs torch must not be imported by a planner.

Questions and answers go through files, so that neither side ever waits for the other's pipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any


class Child:
    """A Python module that reads a JSON list of questions and writes a JSON list of answers.

    Args:
        module: what is run with `python -m`.
        root: where it is run.
        questions: what it is asked.
        timeout_s: how long its answers are waited for.
        nice: how far it stands back behind other processes.
    """

    def __init__(self, module: str, root: Path, questions: list[dict[str, Any]], timeout_s: float, nice: int = 0):
        self.module, self.questions, self.timeout_s = module, questions, timeout_s
        self.asked, self.said, self.told = (_file() for _ in range(3))
        json.dump(questions, self.asked)
        self.asked.seek(0)
        self.trouble = ""
        try:
            self.process: subprocess.Popen[str] | None = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=self.asked,
                stdout=self.said,
                stderr=self.told,
                text=True,
                cwd=root,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                preexec_fn=lambda: os.nice(nice) and None,
            )
        except OSError as error:
            self.process, self.trouble = None, f"not priced: {self.module}: {error}"

    def answers(self) -> tuple[list[Any], str]:
        """What it answered, and a sentence where it did not."""
        if self.process is None:
            return [], self.trouble
        try:
            code = self.process.wait(self.timeout_s)
        except subprocess.TimeoutExpired as error:
            self.stop()
            return [], f"not priced: {self.module}: {error}"
        for file in (self.said, self.told):
            file.seek(0)
        if code != 0:
            last = (self.told.read().strip().splitlines() or ["no message"])[-1]
            return [], f"not priced: {self.module} ended with {code}: {last}"
        try:
            answers = json.load(self.said)
        except ValueError:
            return [], f"not priced: {self.module} did not answer in JSON"
        if not isinstance(answers, list) or len(answers) != len(self.questions):
            return [], f"not priced: {self.module} did not answer every question"
        return answers, ""

    def stop(self) -> None:
        """End it, if it has not ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _file() -> IO[str]:
    return tempfile.TemporaryFile("w+")
