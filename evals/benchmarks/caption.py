"""Captioning: what the model says of an image, against the references, by CIDEr and its older sisters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.benchmark import REAL, SHUFFLED, TEXT_PRIOR, VISION_OFF, Answers, Batch
from evals.choose import choose_partners
from evals.errors import EvaluationError
from evals.metrics.caption import CaptionScores, choose_metrics, choose_tokenizer, describe, score_set
from evals.prior import guess_captions, prior_records
from evals.records import Record
from evals.shots import FewShot
from evals.sitting import Sitting, count_tokens
from lavit.build import locate
from lavit.model.protocol import Prompt
from lavit.model.text_settings import GREEDY_CAPTION


class Captioning(FewShot):
    """One caption an image; CIDEr per image with the document frequencies of the whole evaluated set.

    Controls: ``vision_off`` asks for a caption of nothing, which is one and the same caption for every image;
    ``shuffled`` gives each image the caption of another. A caption depends on its image alone (there is no
    other input), so these are the very captions made before, and no image is captioned twice. ``text_prior`` says of
    each image the consensus caption of the others.

    Args:
        metrics: CIDEr, the primary score, and what else to compute (:data:`evals.metrics.caption.METRICS`): further
            scores of each record, and the official score of the whole set as ``<benchmark>/<metric>``.
        tokenizer: ``python``, ``java`` or ``auto`` (Java where there is one, so that the numbers may depend on the
            machine). The fingerprint says which it was.
        decode: how captions are written (:class:`lavit.model.text_settings.TextSettings`); the model's own way where
            None.
        prompt: text that stands between image and caption; what the model was trained with where "".
        postprocess: dotted path of a function from what was written to what is scored; records keep the former.
        others: see :class:`~evals.shots.FewShot` (examples in the prompt) and :class:`~evals.benchmark.Benchmark`.

    Raises:
        EvaluationError: an unknown metric or tokenizer, CIDEr left out, or no function at ``postprocess``.
    """

    metric = "CIDEr"
    known_controls = (VISION_OFF, SHUFFLED, TEXT_PRIOR)
    derived_controls = (SHUFFLED, TEXT_PRIOR)
    own_decode = GREEDY_CAPTION

    def __init__(
        self,
        name: str,
        *further: Any,
        metrics: Sequence[str] = ("CIDEr",),
        tokenizer: str = "python",
        decode: Mapping[str, Any] | None = None,
        prompt: str = "",
        postprocess: str | None = None,
        **others: Any,
    ):
        super().__init__(name, *further, **others)
        where = f"suite.benchmarks.{name}"
        self.metrics = choose_metrics(metrics, f"{where}.metrics")
        if self.metric not in self.metrics:
            raise EvaluationError(f"{where}.metrics leaves out {self.metric}.", "Name it: it is the primary score.")
        self.tokenizer = choose_tokenizer(tokenizer, f"{where}.tokenizer")
        if self.shots and prompt:
            raise EvaluationError(f"{where} has both shots and a prompt.", "Write the prompt into shots_template.")
        self.decode, self.prompt, self.postprocess = _text_settings(decode), prompt, postprocess
        self._clean: Callable[[str], str] = locate(postprocess) if postprocess else str
        if not callable(self._clean):
            raise EvaluationError(f"{where}.postprocess: {postprocess} is no function.", "Name one of text to text.")

    def settings(self) -> dict[str, Any]:
        """Everything that a result depends on; tokenizer and metrics with their versions."""
        made = describe(self.metrics, self.tokenizer)
        protocol = f"CIDEr-D of pycocoevalcap on {made['tokenizer']}"
        decode = None if self.decode is None else dataclasses.asdict(self.decode)
        return {**super().settings(), **made, "protocol": protocol, "decode": decode}

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Caption the images of one batch."""
        tokens: list[int | None] = [None] * len(batch.asked_B)
        prompts = [self.prompt] * len(batch.asked_B)
        if self.shots:
            captions, prompts = self.answer_after_shots(batch, sitting, self.decode or _text_settings({}))
        elif batch.control == VISION_OFF:
            captions = self._write(batch, sitting, None, 1) * len(batch.asked_B)
        else:
            visual = sitting.encode(self.split, batch.shown_B)
            captions = self._write(batch, sitting, visual, len(batch.shown_B))
            tokens = count_tokens(visual)
        references = sitting.corpus.captions(self.split, batch.asked_B)
        records = [
            Record(
                benchmark=self.name,
                metric=self.metric,
                control=batch.control,
                split=self.split,
                example_id=self.image_id(index),
                cluster_id=self.image_id(index),
                prompt=prompt,
                prediction=caption,
                references=tuple(texts),
                tokens=count,
                order=int(order),
            )
            for index, order, prompt, caption, texts, count in zip(
                batch.asked_B, batch.order_B, prompts, captions, references, tokens, strict=True
            )
        ]
        return Answers(records)

    def finish(self, records: list[Record]) -> list[Record]:
        """Add the shuffled control and score everything, CIDEr against the references of the whole set."""
        real = [record for record in records if record.control == REAL]
        off = [record for record in records if record.control == VISION_OFF]
        prior = prior_records(real, self.controls[TEXT_PRIOR], guess_captions)
        groups = [real, off, self._shuffle(real), prior]
        references = [record.references for record in real]
        finished: list[Record] = []
        for group in groups:
            if group:
                # A control covers a prefix of the examples; the rest has no caption but counts as documents.
                captions = [self._clean(record.prediction) for record in group]
                padded = captions + [None] * (len(real) - len(group))
                scores = score_set(padded, references, (self.metric,), self.tokenizer).per_image[self.metric]
                others = self._score_others(group)
                for place, record in enumerate(group):
                    aux = {**record.aux, **{name: float(row[place]) for name, row in others.per_image.items()}}
                    sums = {name: rows[place] for name, rows in others.sums.items()}
                    facts = {**record.facts, **({"sums": sums} if sums else {})}
                    finished.append(dataclasses.replace(record, score=float(scores[place]), aux=aux, facts=facts))
        return finished

    def rescore(self, records: list[Record]) -> list[Record]:
        """Score the captions again, and make the derived controls again from them."""
        return self.finish([record for record in records if record.control not in self.derived_controls])

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """As every benchmark, with the official scores of the set, which for BLEU and METEOR are no means."""
        metrics, missing = super().summarise(records)
        for control in dict.fromkeys(record.control for record in records):
            found = self._score_others([record for record in records if record.control == control])
            at = f"@{control}" if control else ""
            metrics |= {f"{self.name}/{name}{at}": value for name, value in found.totals.items()}
            if not control:
                missing |= {f"{self.name}/{name}": why for name, why in found.missing.items()}
        return metrics, missing

    def _score_others(self, records: Sequence[Record]) -> CaptionScores:
        """All metrics but CIDEr, none of which depends on captions that are not there."""
        others = tuple(name for name in self.metrics if name != self.metric)
        if not others:
            return CaptionScores()
        captions = [self._clean(record.prediction) for record in records]
        return score_set(captions, [record.references for record in records], others, self.tokenizer)

    def _write(self, batch: Batch, sitting: Sitting, visual: Any, count: int) -> list[str]:
        """``count`` captions, of images or (None) of nothing."""
        model = sitting.model
        if self.prompt:
            prompts: list[Prompt] = [self.prompt] * count
            if visual is not None:
                prompts = [[image, self.prompt] for image in sitting.corpus.images(self.split, batch.shown_B)]
            return model.complete(prompts, self.decode or _text_settings({}))
        return model.caption(visual, count) if self.decode is None else model.caption(visual, count, self.decode)

    def _shuffle(self, real: list[Record]) -> list[Record]:
        if SHUFFLED not in self.controls or self.controls[SHUFFLED] == 0:
            return []
        own = real[: self.controls[SHUFFLED]]
        return [
            dataclasses.replace(
                record, control=SHUFFLED, prediction=own[partner].prediction, tokens=own[partner].tokens
            )
            for record, partner in zip(own, choose_partners(len(own)), strict=True)
        ]


def _text_settings(node: Mapping[str, Any] | None) -> Any:
    if node is None:
        return None
    from lavit.model.text_settings import GREEDY_CAPTION, TextSettings

    return TextSettings.of(node, GREEDY_CAPTION)
