"""Benchmarks whose examples are a published dataset's own files, not the corpus that arms are trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from evals.benchmark import Benchmark
from evals.choose import Indices
from evals.datasets.dataset import Dataset
from evals.errors import EvaluationError
from evals.shots import FewShot
from lavit.data.protocol import Corpus, Examples

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel


class FromFiles(Benchmark):
    """Mixed into a kind of benchmark, it takes the examples from ``dataset`` under ``data.root``.

    ``class CocoCaption(FromFiles, Captioning): dataset = CocoKarpathy`` is a whole benchmark.
    """

    dataset: ClassVar[type[Dataset]]

    def __init__(self, name: str, **further: Any):
        super().__init__(name, **further)
        self._opened: Dataset | None = None
        self._opened_for_shots: Dataset | None = None

    def known_hygiene(self) -> str:
        """Nothing: whether an arm's training knew a published dataset is for the suite to declare."""
        return ""

    def source(self, corpus: Corpus | None, root: Path | None, image_size: int) -> Examples:
        """Open the dataset's files, checking them.

        Raises:
            EvaluationError: ``data.root`` is not set, or the files are not as they should be; unless the suite skips
                what is missing, and all that is wrong is that something is not there.
        """
        if lack := self.lacking(root):
            if not self._skip_missing:
                raise EvaluationError(lack, self.dataset.how_to_get())
            return cast(Examples, Absent(lack))  # nobody asks it for examples: it has none
        assert root is not None
        if self._opened is None:
            self._opened = self.open(root, image_size)
        if isinstance(self, FewShot) and self.shots and self._opened_for_shots is None:
            self._opened_for_shots = self.dataset(root, self.shots_from, image_size, all_pictures=False)
            self.solved(self._opened)  # now, so that a picture that cannot be read is told before any work
        return self._opened

    def open(self, root: Path, image_size: int) -> Dataset:
        """Open the dataset; for those that take more than a split."""
        return self.dataset(root, self.split, image_size)

    def shots_source(self, corpus: Examples) -> Examples:
        """The split of the same dataset that few-shot examples are from."""
        assert self._opened_for_shots is not None, "source() opens the dataset first"
        return self._opened_for_shots

    def lacking(self, root: Path | None) -> str:
        """Which folder or annotation file is not there, in a sentence; "" where all are."""
        if root is None:
            return f"{self.dataset.title}: data.root is not set."
        lacks = (self.dataset.lacking(root, split) for split in self._splits() if split in self.dataset.known_splits)
        lack = next(filter(None, lacks), "")
        return f"{self.dataset.title}: {lack}" if lack else ""

    def files_fingerprint(self, root: Path | None) -> str:
        """A hash over all annotation files that a result depends on; they are there, see :meth:`lacking`."""
        assert root is not None
        parts = [
            self.dataset.fingerprint(root, split) for split in self._splits() if split in self.dataset.known_splits
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _splits(self) -> list[str]:
        return [self.split, *([self.shots_from] if isinstance(self, FewShot) and self.shots else [])]

    # Of a dataset that is not there

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """That the files are missing, where the suite skips such a benchmark."""
        return corpus.why if isinstance(corpus, Absent) else super().obstacle(model, corpus)

    def examples(self, corpus: Examples) -> Indices:
        """See the base; none where the files are missing."""
        return np.zeros(0, np.int64) if isinstance(corpus, Absent) else super().examples(corpus)

    def image_id(self, index: int) -> str:
        """The dataset's own id of the image."""
        assert self._opened is not None, "source() opens the dataset first"
        return self._opened.image_id(int(index))

    def picture_name(self, index: int) -> str:
        """The benchmark's name and the id: ids of two datasets may be equal."""
        return f"{self.name}--{self.image_id(index)}"


class Absent:
    """In place of a dataset that is not there, where a suite skips what is missing: it has nothing, and says why.

    Args:
        why: what is missing.
    """

    name, image_size = "absent", 0

    def __init__(self, why: str):
        self.why = why

    def splits(self) -> list[str]:
        """None."""
        return []

    def size(self, split: str) -> int:
        """Nothing."""
        return 0

    def describe(self) -> str:
        """Why there is nothing."""
        return self.why
