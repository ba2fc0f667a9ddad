"""Benchmarks whose examples are a published dataset's own files, not the corpus that arms are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from evals.benchmark import Benchmark
from evals.datasets.dataset import Dataset
from evals.errors import EvaluationError
from lavit.data.protocol import Corpus, Examples


class FromFiles(Benchmark):
    """Mixed into a kind of benchmark, it takes the examples from ``dataset`` under ``data.root``.

    ``class CocoCaption(FromFiles, Captioning): dataset = CocoKarpathy`` is a whole benchmark.
    """

    dataset: ClassVar[type[Dataset]]

    def __init__(self, name: str, **further: Any):
        super().__init__(name, **further)
        self._opened: Dataset | None = None

    def known_hygiene(self) -> str:
        """Nothing: whether an arm's training knew a published dataset is for the suite to declare."""
        return ""

    def source(self, corpus: Corpus | None, root: Path | None, image_size: int) -> Examples:
        """Open the dataset's files, checking them.

        Raises:
            EvaluationError: ``data.root`` is not set, or the files are not as they should be.
        """
        if root is None:
            raise EvaluationError(
                f"suite.benchmarks.{self.name} reads {self.dataset.title}, but data.root is not set.",
                f"data.root=DIR with the files of {self.dataset.page} laid out as\n{self.dataset.layout}",
            )
        if self._opened is None:
            self._opened = self.open(root, image_size)
        return self._opened

    def open(self, root: Path, image_size: int) -> Dataset:
        """Open the dataset; for those that take more than a split."""
        return self.dataset(root, self.split, image_size)

    def image_id(self, index: int) -> str:
        """The dataset's own id of the image."""
        assert self._opened is not None, "source() opens the dataset first"
        return self._opened.image_id(int(index))
