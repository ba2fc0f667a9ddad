"""What a benchmark is: a choice of examples, what a model is asked about them, and how answers are scored.

A benchmark is one class in one file under ``evals/benchmarks`` and one entry in ``conf/suite``. It asks a
model in *batches* of fixed composition and returns records; when all are there it scores them and sums them
up. It keeps no state of its own between batches, so that an interrupted evaluation can go on with the next
one.

Suffixes: B images of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evals.choose import Indices, choose_examples, choose_partners
from evals.errors import EvaluationError
from evals.records import Record
from evals.sitting import Sitting
from lavit.data.protocol import Corpus, Examples

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel

REAL, VISION_OFF, SHUFFLED, CEILING, UNDECODED = "", "vision_off", "shuffled", "ceiling", "undecoded"
TEXT_PRIOR = "text_prior"
"""Controls. ``vision_off``: no image enters; ``shuffled``: another example's image does; ``text_prior``: no model is
asked, the most likely text is said (:mod:`evals.prior`); ``ceiling``: the real image, taken apart and put together
again by tokenizer and pixel decoder, which no generation through them can beat; ``undecoded``: the true features in
place of those decoded from tokens, which no tokenizer can beat."""

HYGIENE = ("held-out", "zero-shot", "style-contaminated", "train-seen")
"""What training may have known of a benchmark. ``held-out``: other examples of the very data it was trained on;
``zero-shot``: nothing like it; ``style-contaminated``: its style of questions, captions or answers, on other images;
``train-seen``: its images or answers themselves."""


@dataclass(frozen=True)
class Batch:
    """Some examples under one control.

    Attributes:
        control: which control, "" for none.
        number: place among the batches of this control.
        order_B: places of the examples in the evaluation.
        asked_B: corpus indices of the examples.
        shown_B: corpus indices of the images that enter: those of ``asked_B`` unless they are shuffled.
    """

    control: str
    number: int
    order_B: Indices
    asked_B: Indices
    shown_B: Indices

    @property
    def name(self) -> str:
        """A file name for the batch."""
        return f"{self.control or 'real'}-{self.number:05d}"


@dataclass(frozen=True)
class Answers:
    """What a batch brought: its records, and arrays [B, ...] to keep beside them, e.g. drawn images."""

    records: list[Record]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


class Benchmark(ABC):
    """Base of all benchmarks.

    Args:
        name: key of the benchmark in the suite, first part of its metrics' names.
        split: corpus split to evaluate on.
        count: number of images; all of the split where ``None``.
        batch: images in a batch; part of the protocol, as it may move the last bits of a result.
        controls: control → number of images it is run on (``None``: as many as ``count``). A control runs on
            the first examples of the evaluation, so that each has its real counterpart. 0 leaves the control
            out. ``text_prior`` costs nothing and is made on all unless it is said otherwise.
        hygiene: one of :data:`HYGIENE`; where None, what is known of a corpus's own splits, else nothing.

    Raises:
        EvaluationError: a control or a hygiene that there is not, or a batch of no images.
    """

    metric: ClassVar[str]
    subject: ClassVar[str] = "arm"  # what is asked: a whole arm, or "tokenizer" where that alone suffices
    known_controls: ClassVar[tuple[str, ...]] = ()
    derived_controls: ClassVar[tuple[str, ...]] = ()  # made from the real answers, without asking the model
    protocol: ClassVar[str] = ""  # name and version of the scoring rule
    own_decode: ClassVar[Any] = None  # how models write of themselves, where ``decode`` of the benchmark is None
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "torch", "transformers")  # may move the last bits of an answer
    incidental: ClassVar[tuple[str, ...]] = ("name", "hygiene", "samples")  # settings that move no number
    unit: ClassVar[str] = "images"  # what the evaluation's examples are cut from: images, documents
    pictured: ClassVar[bool] = True  # whether these have pictures for the report
    entry: Mapping[str, Any] | None = None  # the suite's node that it was built from, and can be built from again

    def __init__(
        self,
        name: str,
        split: str = "test",
        count: int | None = None,
        batch: int = 64,
        controls: Mapping[str, int | None] | None = None,
        hygiene: str | None = None,
    ):
        if batch < 1:
            raise EvaluationError(f"suite.benchmarks.{name}.batch is {batch}", "Give at least one image a batch.")
        unknown = sorted(set(controls or {}) - set(self.known_controls))
        if unknown:
            raise EvaluationError(
                f"suite.benchmarks.{name}.controls: {type(self).__name__} has no control {unknown[0]!r}.",
                f"Known controls: {', '.join(self.known_controls) or 'none'}.",
            )
        if hygiene is not None and hygiene not in HYGIENE:
            raise EvaluationError(
                f"suite.benchmarks.{name}.hygiene is {hygiene!r}.", f"It is one of {', '.join(HYGIENE)}."
            )
        self.name, self.split, self.count, self.batch = name, split, count, batch
        free: dict[str, int | None] = {TEXT_PRIOR: None} if TEXT_PRIOR in self.known_controls else {}
        self.controls = {**free, **(controls or {})}
        self.hygiene = hygiene or self.known_hygiene()
        self._skip_missing = False

    # What a benchmark says of itself

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """Why the benchmark means nothing for this model or corpus; ``None`` where it can be run."""
        return None

    def settings(self) -> dict[str, Any]:
        """Everything that a result depends on besides model, corpus and examples."""
        return {
            "benchmark": f"{type(self).__module__}.{type(self).__qualname__}",
            "protocol": self.protocol,
            **{name: value for name, value in vars(self).items() if not name.startswith("_") and name != "entry"},
        }

    def known_hygiene(self) -> str:
        """What is known of it unless the suite declares something; "" for nothing."""
        return "train-seen" if self.split == "train" else "held-out"

    # Examples

    @property
    def skips_missing(self) -> bool:
        """Whether it is left out where its files are not there, with the reason; else that is an error."""
        return self._skip_missing

    def skip_missing(self, missing: str | None) -> None:
        """Take over the suite's ``missing``: ``refuse`` (also where None) or ``skip``.

        Raises:
            EvaluationError: it is something else.
        """
        if missing not in (None, "refuse", "skip"):
            raise EvaluationError(f"suite.missing is {missing!r}.", "It is refuse or skip.")
        self._skip_missing = missing == "skip"

    def source(self, corpus: Corpus | None, root: Path | None, image_size: int) -> Examples:
        """Where the examples are from: the corpus that arms were trained on, unless the benchmark has files of its own.

        Args:
            corpus: of the arm's ``data``; None for a checkpoint that comes without one.
            root: ``data.root``, the folder of datasets, where it is set.
            image_size: side in pixels of the images that the model reads.

        Raises:
            EvaluationError: there is none, or its files are not as they should be.
        """
        if corpus is None:
            raise EvaluationError(
                f"suite.benchmarks.{self.name} asks about the corpus that an arm was trained on; this model has none.",
                "Name the corpus (data=world), or take a suite of datasets (suite=paper).",
            )
        return corpus

    def files_fingerprint(self, root: Path | None) -> str:
        """A hash over the files of its own that it reads; "" where it reads none."""
        return ""

    def examples(self, corpus: Examples) -> Indices:
        """Corpus indices in evaluation order: the same for every arm and seed."""
        chosen = choose_examples(corpus.size(self.split), self.count)
        if chosen.size == 0:
            raise EvaluationError(
                f"Benchmark {self.name!r} has no example: "
                f"split {self.split!r} holds {corpus.size(self.split)}, count is {self.count}.",
                f"Raise suite.benchmarks.{self.name}.count or name another split.",
            )
        return chosen

    def examples_of(self, control: str, corpus: Examples) -> Indices:
        """The examples of one control: a prefix of all."""
        chosen = self.examples(corpus)
        return chosen if control == REAL else chosen[: self.controls[control]]

    def passes(self) -> list[str]:
        """The controls to ask the model for, the real thing first."""
        asked = [name for name in self.known_controls if name not in self.derived_controls]
        return [REAL, *(name for name in asked if self.controls.get(name, 0) != 0)]

    def batches(self, corpus: Examples) -> Iterator[Batch]:
        """All batches of all passes, always the same ones in the same order.

        A shuffled batch is made by its images, not by its questions: it shows the images of the real batch of
            the
        same number, so that these need to be encoded only once.
        """
        for control in self.passes():
            chosen = self.examples_of(control, corpus)
            asked_by_shown = np.arange(len(chosen))
            if control == SHUFFLED:
                asked_by_shown = np.argsort(choose_partners(len(chosen)))
            for number, start in enumerate(range(0, len(chosen), self.batch)):
                order_B = asked_by_shown[start : start + self.batch]
                yield Batch(control, number, order_B, chosen[order_B], chosen[start : start + self.batch])

    # What every benchmark defines

    @abstractmethod
    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Ask the model about one batch. Scores that need the whole set stay NaN until :meth:`finish`."""

    def finish(self, records: list[Record]) -> list[Record]:
        """Score what needs the whole set and add derived controls; needs no model."""
        return records

    def rescore(self, records: list[Record]) -> list[Record]:
        """Finished records, scored once more from prediction and references alone, where that suffices.

        As they are, where the score needs what no record holds (pixels, features).
        """
        return records

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Metrics of this benchmark's finished records, and why those that are missing are; needs no model.

        Names: ``benchmark/metric``, ``benchmark/aux``, ``benchmark/metric.kind``, each with ``@control`` for
            a
        control. Every value is the plain mean over examples.
        """
        metrics: dict[str, float] = {}
        for control in dict.fromkeys(record.control for record in records):
            rows = [record for record in records if record.control == control]
            at = f"@{control}" if control else ""
            metrics[f"{self.name}/{rows[0].metric}{at}"] = _mean([row.score for row in rows])
            for name in dict.fromkeys(name for row in rows for name in row.aux):
                metrics[f"{self.name}/{name}{at}"] = _mean([row.aux[name] for row in rows if name in row.aux])
            for kind in sorted({row.kind for row in rows} - {""}):
                scores = [row.score for row in rows if row.kind == kind]
                metrics[f"{self.name}/{rows[0].metric}.{kind}{at}"] = _mean(scores)
        return metrics, {}

    def kept_in(self, control: str) -> str:
        """The file of what :meth:`ask` gave to be kept beside the records of a control."""
        return f"drawings-{self.name}{f'@{control}' if control else ''}.safetensors"

    def measure_set(self, out: Path) -> tuple[dict[str, float], dict[str, str]]:
        """Metrics of the set as a whole from the kept arrays in ``out``, and why those that are missing are.

        Needs no model. Names are whole, as those of :meth:`summarise`.
        """
        return {}, {}

    def image_id(self, index: int) -> str:
        """Name of an image (or document): the cluster of its examples, and of its picture's file."""
        return f"{self.split}-{index}"

    def picture_name(self, index: int) -> str:
        """File name of an image in ``images/``, without its ending; the same for benchmarks that share a corpus."""
        return self.image_id(index)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
