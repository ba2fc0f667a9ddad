"""A file of documents: text to be scored, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.errors import EvaluationError
from lavit.data.protocol import Index


class Documents:
    """Examples that have no images; which of them there are does not depend on the split.

    Args:
        name: of the collection.
        image_size: what the model reads, though nothing is shown to it here.
    """

    def __init__(self, name: str, image_size: int):
        self.name, self.image_size = name, image_size

    def splits(self) -> list[str]:
        """All there is counts as for testing."""
        return ["test"]

    def images(self, split: str, index_B: Index) -> Any:
        """There are none."""
        raise EvaluationError(f"{self.name} has no images.")

    captions = images
    prompts = images

    def questions(self, split: str, index_B: Index, per_image: int) -> Any:
        """There are none."""
        raise EvaluationError(f"{self.name} has no questions.")

    def scene_judge(self) -> None:
        """Nothing is drawn."""
        return None


class TextFile(Documents):
    """The documents of a ``.txt`` (a line each) or ``.jsonl`` file (an object with a ``text`` each).

    Raises:
        EvaluationError: the file cannot be read, or holds no documents.
    """

    def __init__(self, path: Path, image_size: int):
        super().__init__(path.name, image_size)
        self._texts = read_lines(path)
        self._digest = hashlib.sha256("\n".join(self._texts).encode()).hexdigest()[:16]

    def size(self, split: str) -> int:
        """Documents."""
        return len(self._texts)

    def documents(self, split: str, index_B: Index) -> list[str]:
        """The texts at ``index_B``."""
        return [self._texts[index] for index in index_B]

    def describe(self) -> str:
        """One line for the report; another content is another line."""
        return f"{self.name}: {len(self._texts)} documents (sha256 {self._digest})"


def read_lines(path: Path) -> list[str]:
    """Documents of a ``.txt`` (a line each) or ``.jsonl`` (``{"text": ...}`` each); empty ones are left out.

    Raises:
        EvaluationError: the file cannot be read, a line is not as it should be, or there is no document.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read: {error}", "A text in UTF-8 is wanted.") from error
    texts = []
    for number, line in enumerate(lines, 1):
        if path.suffix != ".jsonl" or not line.strip():
            texts.append(line.strip())
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{path}, line {number}: no object with a text", '{"text": "..."} a line.') from error
        if not isinstance(text, str):
            raise EvaluationError(f"{path}, line {number}: text is a {type(text).__name__}", '{"text": "..."} a line.')
        texts.append(text)
    if not any(texts):
        raise EvaluationError(f"{path} holds no document.", "A document a line.")
    return [text for text in texts if text]


def content_hash(paths: Sequence[Path], folder: Path) -> str:
    """SHA-256 over files: their names below ``folder`` and what is in them; "" for none."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest() if paths else ""
