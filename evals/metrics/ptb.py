"""Penn-Treebank words by the official tokenizer: Stanford's PTBTokenizer (CoreNLP 3.4.1), a Java program.

The jar is the one that pycocoevalcap ships, called as pycocoevalcap calls it, on all captions at once: they are the
lines of one file, and the tokenizer looks past the end of a line (a full stop after "p.m." is a word of its own where
the next line begins with a capital). The words that are dropped are those of :mod:`evals.metrics.tokenize`. Unlike
there, the file of captions lies in a folder for temporary files and not beside the jar, and a line break of any kind
inside a caption is a blank, so that captions and lines cannot get out of step.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from evals.errors import EvaluationError
from evals.metrics.java import find_java, jar
from evals.metrics.tokenize import PUNCTUATION, one_line

NAME = "ptb-java-3.4.1"
"""Which tokenizer made the words; part of the protocol that an evaluation reports."""

_SECONDS = 600  # a million captions take less than a minute


def tokenize_all(texts: Sequence[str], java: str | None = None) -> list[str]:
    """The words of each caption that count for a score, joined by single blanks.

    Args:
        texts: captions in the order of the reference implementation: all references, or all predictions.
        java: the Java program; looked for where None.

    Raises:
        EvaluationError: there is no Java, or the tokenizer failed.
    """
    if not texts:
        return []
    if java is None:
        java, why = find_java()
        if java is None:
            raise EvaluationError(f"The tokenizer of captions, 'java', cannot run: {why}.", "Or: tokenizer python.")
    library = jar("tokenizer", "stanford-corenlp-3.4.1.jar")
    with tempfile.TemporaryDirectory(prefix="lavit-ptb-") as folder:
        file = Path(folder, "captions.txt")
        file.write_bytes("\n".join(one_line(text) for text in texts).encode("utf-8", "replace"))
        command = [java, "-cp", str(library), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
        try:
            done = subprocess.run([*command, str(file)], capture_output=True, timeout=_SECONDS, cwd=folder)
        except subprocess.TimeoutExpired:
            raise EvaluationError(f"PTBTokenizer gave no answer in {_SECONDS} s.", "Try tokenizer python.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        raise EvaluationError(f"PTBTokenizer ended with code {done.returncode}: {said}", "Try tokenizer python.")
    lines = done.stdout.decode("utf-8").split("\n")
    if len(lines) > len(texts) and not lines[-1]:
        lines.pop()
    if len(lines) != len(texts):
        message = f"PTBTokenizer made {len(lines)} lines of {len(texts)} captions: one spans a line break for it."
        raise EvaluationError(message, "Take the tokenizer python.")
    return [" ".join(word for word in line.rstrip().split(" ") if word not in PUNCTUATION) for line in lines]
