"""How likely text is to a model, by UTF-8 byte: one currency for models of any tokenizer.

A score is a log-likelihood in nats over bytes, so it is below zero and more is better, as of all scores.
``TextLikelihood`` is about held-out text alone, ``CaptionLikelihood`` about reference captions of an image. Beside
both stands the control ``untouched``: the arm's own text LLM as its language stage left it. What the arm has over it
is what multimodal training made it forget.

Suffixes: B examples of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.benchmark import SHUFFLED, VISION_OFF, Answers, Batch, Benchmark
from evals.datasets.text_file import TextFile, content_hash
from evals.errors import EvaluationError
from evals.records import Record
from evals.sitting import Sitting, count_tokens
from lavit.data.protocol import Corpus, Examples

if TYPE_CHECKING:
    from lavit.model.token_model import TokenModel

UNTOUCHED = "untouched"
"""Control: the text LLM before multimodal training, on the same text, without images."""


class _Likelihood(Benchmark):
    """What both kinds have in common: how a text is scored and summed up."""

    metric = "loglikelihood_per_byte"
    protocol = "nats per UTF-8 byte, without the end mark; windows of lm-evaluation-harness"

    def obstacle(self, model: Any, corpus: Examples) -> str | None:
        """A model has to say how likely a text is to it."""
        return missing_likelihood(model, self.controls)

    def _model(self, batch: Batch, sitting: Sitting) -> TokenModel:
        return asked_model(sitting, batch.control == UNTOUCHED)

    def _record(
        self, batch: Batch, place: int, texts: Sequence[str], nats: float, ids: int, count: int | None
    ) -> Record:
        index = batch.asked_B[place]
        size = sum(len(text.encode()) for text in texts)
        return Record(
            benchmark=self.name,
            metric=self.metric,
            control=batch.control,
            split=self.split,
            example_id=self.image_id(index),
            cluster_id=self.image_id(index),
            prediction="",
            references=tuple(texts),
            score=-nats / size,
            aux={"nats": nats, "bytes": size, "ids": ids},
            tokens=count,
            order=int(batch.order_B[place]),
        )

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Besides means over examples ``nats_per_byte``: the negative log-likelihood of all text over all its bytes,
        in which long texts count for more; of this less is better."""
        metrics, missing = super().summarise(records)
        for control in dict.fromkeys(record.control for record in records):
            rows = [record for record in records if record.control == control]
            at = f"@{control}" if control else ""
            total = sum(row.aux["nats"] for row in rows) / sum(row.aux["bytes"] for row in rows)
            metrics[f"{self.name}/nats_per_byte{at}"] = total
        return metrics, missing


class TextLikelihood(_Likelihood):
    """Held-out text: the corpus's own documents, or a file's.

    Args:
        file: under ``data.root``: ``.txt`` with a document a line, or ``.jsonl`` with objects that have a ``text``.
        further: see :class:`~evals.benchmark.Benchmark`; counts are counts of documents.
    """

    known_controls = (UNTOUCHED,)
    pictured = False
    unit = "documents"

    def __init__(self, name: str, file: str | None = None, **further: Any):
        self.file = file
        super().__init__(name, **further)

    def known_hygiene(self) -> str:
        """Of a corpus its own splits are known, of a file nothing."""
        return super().known_hygiene() if self.file is None else ""

    def source(self, corpus: Corpus | None, root: Path | None, image_size: int) -> Examples:
        """The corpus, or the file.

        Raises:
            EvaluationError: ``data.root`` is not set, or the file is not as it should be.
        """
        if self.file is None:
            return super().source(corpus, root, image_size)
        if root is None and not Path(self.file).is_absolute():
            raise EvaluationError(
                f"suite.benchmarks.{self.name} reads {self.file}, but data.root is not set.", "data.root=DIR"
            )
        return TextFile((root or Path()) / self.file, image_size)

    def files_fingerprint(self, root: Path | None) -> str:
        """A hash over the file: another text, another result. "" where the corpus is asked about."""
        path = None if self.file is None else (root or Path()) / self.file
        return content_hash([path], path.parent) if path is not None and path.is_file() else ""

    def obstacle(self, model: Any, corpus: Examples) -> str | None:
        """The corpus has to have text of its own."""
        if not callable(getattr(corpus, "documents", None)):
            return f"{corpus.name} has no documents"
        return super().obstacle(model, corpus)

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Score one batch of documents."""
        from lavit.model.likelihood import nll

        corpus: Any = sitting.corpus
        texts = corpus.documents(self.split, batch.asked_B)
        scored = nll(self._model(batch, sitting), [""] * len(texts), texts)
        rows = zip(texts, scored, strict=True)
        return Answers([self._record(batch, b, [text], *pair, None) for b, (text, pair) in enumerate(rows)])


class CaptionLikelihood(_Likelihood):
    """An image's reference captions, after the image: nats of all of them over their bytes.

    Controls: ``vision_off`` (the image's marks, with nothing between them), ``shuffled`` (another's image) and
    ``untouched`` (the text LLM, which knows nothing of images).
    """

    known_controls = (VISION_OFF, SHUFFLED, UNTOUCHED)

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Score the captions of one batch of images."""
        from lavit.model.likelihood import NOTHING, nll_of_parts

        groups = sitting.corpus.captions(self.split, batch.asked_B)
        row_C = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        visual, counts = None, [None] * len(groups)
        parts: list[list[str | int]]
        if batch.control == UNTOUCHED:
            parts = [[""] for _ in row_C]
        elif batch.control == VISION_OFF:
            parts = [[NOTHING] for _ in row_C]
        else:
            visual = sitting.encode(self.split, batch.shown_B)
            counts = count_tokens(visual)  # type: ignore[assignment]
            parts = [[int(row)] for row in row_C]
        flat = [text for group in groups for text in group]
        scored = np.array(nll_of_parts(self._model(batch, sitting), parts, flat, visual))
        records = []
        for b, group in enumerate(groups):
            nats, ids = scored[row_C == b].sum(0)
            records.append(self._record(batch, b, group, float(nats), int(ids), counts[b]))
        return Answers(records)


def missing_likelihood(model: Any, controls: Mapping[str, int | None]) -> str | None:
    """Why a model cannot be asked how likely a text is; None where it can."""
    if not callable(getattr(model, "tokens", None)):
        return f"{type(model).__name__} does not say how likely a text is to it"
    if controls.get(UNTOUCHED, 0) != 0 and _untouched(model) is None:
        return "the text LLM before multimodal training is not known: leave the control `untouched` out"
    return None


def asked_model(sitting: Sitting, untouched: bool) -> TokenModel:
    """The model at the level of tokens, or its text LLM as it was before multimodal training."""
    model: Any = sitting.model
    if not untouched:
        tokens: TokenModel = model.tokens()
        return tokens
    before = _untouched(model)
    assert before is not None, "an obstacle was to be named first"
    return before


def _untouched(model: Any) -> TokenModel | None:
    if not callable(getattr(model, "untouched", None)):
        return None
    before: TokenModel | None = model.untouched()
    return before
