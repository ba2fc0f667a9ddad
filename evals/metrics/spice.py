"""SPICE (Anderson et al. 2016) by its authors' Java program, which pycocoevalcap ships without the models it needs.

Those are the two jars of Stanford CoreNLP 3.6.0. pycocoevalcap downloads them when they are missing; here they are
only ever looked for: in the folder that the caller names, in that of ``LAVIT_SPICE_JARS``, and where pycocoevalcap puts
them. Nothing is written beside the program: what it reads and writes lies in a folder for temporary files, without a
cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evals.errors import EvaluationError
from evals.metrics.java import jar

NAME = "SPICE"
MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
PAGE = "https://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
VARIABLE = "LAVIT_SPICE_JARS"

_SECONDS = 12 * 3600  # a safety net: parsing takes about a second for ten captions


def find_models(folder: Path | None = None) -> tuple[list[Path], str]:
    """The jars of SPICE's models; or none and why, with what to do.

    Args:
        folder: where to look; ``$LAVIT_SPICE_JARS``, then pycocoevalcap's own folder, where None.
    """
    named = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    place = named or jar("spice", "lib")
    found = [place / name for name in MODELS]
    missing = [path.name for path in found if not path.is_file()]
    if not missing:
        return [path.resolve() for path in found], ""
    how = f"put what is missing, out of {PAGE}, there or into a folder named by {VARIABLE} or --spice-models"
    return [], f"{place} holds no {' and no '.join(missing)}: {how}"


def spice(
    words: Sequence[str], references: Sequence[Sequence[str]], java: str, models: Sequence[Path]
) -> npt.NDArray[np.float64]:
    """SPICE (F over all tuples) of each caption; the score of a set is their mean.

    Args:
        words: one caption an image, tokenised, words joined by blanks.
        references: the images' references, likewise, in the same order.
        java: the Java program. It may take 8 GB of memory.
        models: from :func:`find_models`.

    Raises:
        EvaluationError: the program failed, or gave no number for a caption.
    """
    program = jar("spice", "spice-1.0.jar")
    classes = [program, *models, *sorted(path for path in program.parent.glob("lib/*.jar") if path.name not in MODELS)]
    with tempfile.TemporaryDirectory(prefix="lavit-spice-") as folder:
        asked, told = Path(folder, "captions.json"), Path(folder, "scores.json")
        rows = [
            {"image_id": position, "test": text, "refs": list(texts)}
            for position, (text, texts) in enumerate(zip(words, references, strict=True))
        ]
        asked.write_text(json.dumps(rows), encoding="utf-8")
        command = [java, "-Xmx8G", "-cp", os.pathsep.join(map(str, classes)), "edu.anu.spice.SpiceScorer", str(asked)]
        command += ["-out", str(told), "-subset", "-silent"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, cwd=folder)
        except subprocess.TimeoutExpired:
            raise EvaluationError(f"SPICE was not done after {_SECONDS / 3600:.0f} h.", "Leave SPICE out.") from None
        if done.returncode or not told.is_file():
            said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
            raise EvaluationError(f"SPICE ended with code {done.returncode}: {said}", "Does it have 8 GB of memory?")
        answers = {row["image_id"]: row["scores"]["All"]["f"] for row in json.loads(told.read_text(encoding="utf-8"))}
    scores_B = np.array([_number(answers.get(position)) for position in range(len(words))])
    if not np.isfinite(scores_B).all():
        bad = np.flatnonzero(~np.isfinite(scores_B))
        raise EvaluationError(f"SPICE gave no number for {bad.size} captions, the first: {words[bad[0]]!r}.")
    return scores_B


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
