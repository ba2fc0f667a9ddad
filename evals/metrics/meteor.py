"""METEOR 1.5 (Denkowski and Lavie 2014) by its authors' Java program, which pycocoevalcap ships.

The scores are pycocoevalcap's: the same program, options and exchange of lines. The wrapper is our own, since that
one can hang for ever: a line break inside a caption puts it out of step, what the program says on its error channel is
never read, and a lock that stays held stops the interpreter from ending. Here every line is made one line before it is
sent, writing and reading have a thread each, a program that falls silent is killed, and what it complained about is in
the error.

The score of a set is METEOR's own, of the set's summed statistics, and not the mean over its captions.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from evals.errors import EvaluationError
from evals.metrics.java import jar
from evals.metrics.tokenize import one_line

NAME = "METEOR"
PROGRAM = Path("meteor", "meteor-1.5.jar")
OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")
SILENCE = 300.0  # seconds; reading its tables takes about ten, on a busy machine a minute


def meteor(
    words: Sequence[str], references: Sequence[Sequence[str]], java: str, silence: float = SILENCE
) -> tuple[float, npt.NDArray[np.float64]]:
    """METEOR of a set and of each caption in it. Takes about 10 s and 1.3 GB to start.

    Args:
        words: one caption an image, tokenised, words joined by blanks.
        references: the images' references, likewise, in the same order.
        java: the Java program.
        silence: seconds without a line of answer after which the program is killed.

    Raises:
        EvaluationError: the jar is missing, or the program ended, fell silent or answered with something else.
    """
    program = jar(*PROGRAM.parts)
    if not program.is_file():
        raise EvaluationError(f"{program} is missing.", "Install pycocoevalcap again.")
    questions = [_question(text, texts) for text, texts in zip(words, references, strict=True)]
    command = [java, "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", str(program), *OPTIONS]
    with _Exchange(command, silence) as exchange:
        statistics = exchange.ask(questions, len(questions))
        answers = exchange.ask([" ||| ".join(["EVAL", *statistics])], len(questions) + 1)
    try:
        *scores, total = [float(answer) for answer in answers]
    except ValueError:
        raise EvaluationError(f"METEOR answered {answers[-1]!r} where a number was expected.") from None
    return total, np.array(scores, np.float64)


def _question(text: str, references: Sequence[str]) -> str:
    """A line that asks for the statistics of one caption; ``|||`` divides its parts."""
    said = one_line(text).replace("|||", "").replace("  ", " ")
    return " ||| ".join(["SCORE", *(one_line(reference) for reference in references), said])


class _Exchange:
    """A running program that answers lines with lines."""

    def __init__(self, command: list[str], silence: float):
        self._silence = silence
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, cwd=tempfile.gettempdir()
        )
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True).start()

    def __enter__(self) -> _Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it holds nothing worth keeping, and might not listen
        self._process.wait()
        self._complaints.close()

    def ask(self, lines: Sequence[str], count: int) -> list[str]:
        """Send lines and return the next ``count`` lines of answer."""
        assert self._process.stdin is not None
        writer = threading.Thread(target=_write, args=(self._process.stdin, lines), daemon=True)
        writer.start()
        return [self._next() for _ in range(count)]

    def _next(self) -> str:
        try:
            answer = self._answers.get(timeout=self._silence)
        except queue.Empty:
            remedy = "Is the machine overloaded? Try again, or leave METEOR out."
            raise EvaluationError(f"METEOR gave no answer in {self._silence:.0f} s.", remedy) from None
        if answer is None:
            code = self._process.wait()
            self._complaints.seek(0)
            said = " ".join(self._complaints.read().decode(errors="replace").split())[-300:]
            remedy = "It needs a Java that may take 2 GB of memory."
            raise EvaluationError(f"METEOR's Java program ended with code {code}: {said or 'it said nothing'}.", remedy)
        return answer


def _write(pipe: IO[bytes], lines: Sequence[str]) -> None:
    try:
        for line in lines:
            pipe.write(line.encode() + b"\n")
        pipe.flush()
    except (BrokenPipeError, ValueError):
        return  # the program has ended, which whoever reads its answers finds out


def _read(pipe: IO[bytes], answers: queue.SimpleQueue[str | None]) -> None:
    for line in pipe:
        answers.put(line.decode(errors="replace").strip())
    answers.put(None)
