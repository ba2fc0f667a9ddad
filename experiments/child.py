"""A child process that answers questions: what needs torch must not be imported by a planner.

Questions and answers go through files, so that neither side ever waits for the other's pipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

PROGRESS = "answered "  # begins the lines on standard error that say how many questions have been answered
POLL_S = 0.5
MOST_TOLD = 1 << 20  # bytes of standard error that are read


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

    def answers(self, heard: Callable[[int, int], None] | None = None) -> tuple[list[Any], str]:
        """What it answered, and a sentence where it did not.

        Args:
            heard: told now and then how many questions of how many have been answered, where the child says so.
        """
        if self.process is None:
            return [], self.trouble
        until = time.monotonic() + self.timeout_s
        while True:
            try:
                code = self.process.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                if heard is not None:
                    heard(self.answered(), len(self.questions))
            if time.monotonic() > until:
                self.stop()
                return [], f"not priced: {self.module} had not answered after {self.timeout_s:,.0f} seconds"
        self.said.seek(0)
        if code != 0:
            last = ([line for line in self._lines() if not line.startswith(PROGRESS)] or ["no message"])[-1]
            return [], f"not priced: {self.module} ended with {code}: {last}"
        try:
            answers = json.load(self.said)
        except ValueError:
            return [], f"not priced: {self.module} did not answer in JSON"
        if not isinstance(answers, list) or len(answers) != len(self.questions):
            return [], f"not priced: {self.module} did not answer every question"
        return answers, ""

    def answered(self) -> int:
        """How many questions it says that it has answered."""
        told = [line for line in self._lines() if line.startswith(PROGRESS)]
        number = told[-1].removeprefix(PROGRESS) if told else "0"
        return int(number) if number.isdigit() else 0

    def _lines(self) -> list[str]:
        # Read at a place of its own: the child writes through the same description of the file.
        return os.pread(self.told.fileno(), MOST_TOLD, 0).decode(errors="replace").strip().splitlines()

    def stop(self) -> None:
        """End it, if it has not ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _file() -> IO[str]:
    return tempfile.TemporaryFile("w+")
