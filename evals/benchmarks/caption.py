"""Captioning: what the model says of an image, against the references, by CIDEr."""

from __future__ import annotations

import dataclasses

from evals.benchmark import REAL, SHUFFLED, VISION_OFF, Answers, Batch, Benchmark
from evals.choose import choose_partners
from evals.metrics import tokenize
from evals.metrics.cider import score_captions
from evals.records import Record
from evals.sitting import Sitting, count_tokens


class Captioning(Benchmark):
    """One caption an image; CIDEr per image with the document frequencies of the whole evaluated set.

    Controls: ``vision_off`` asks for a caption of nothing, which is one and the same caption for every image;
    ``shuffled`` gives each image the caption of another. A caption depends on its image alone (there is no
    other input), so these are the very captions made before, and no image is captioned twice.
    """

    metric = "CIDEr"
    known_controls = (VISION_OFF, SHUFFLED)
    derived_controls = (SHUFFLED,)
    protocol = f"CIDEr-D of pycocoevalcap on {tokenize.NAME}"

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Caption the images of one batch."""
        tokens: list[int | None]
        if batch.control == VISION_OFF:
            captions = sitting.model.caption(None, 1) * len(batch.asked_B)
            tokens = [None] * len(captions)
        else:
            visual = sitting.encode(self.split, batch.shown_B)
            captions = sitting.model.caption(visual, len(batch.shown_B))
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
                prediction=caption,
                references=tuple(texts),
                tokens=count,
                order=int(order),
            )
            for index, order, caption, texts, count in zip(
                batch.asked_B, batch.order_B, captions, references, tokens, strict=True
            )
        ]
        return Answers(records)

    def finish(self, records: list[Record]) -> list[Record]:
        """Add the shuffled control and score everything against the references of the whole set."""
        real = [record for record in records if record.control == REAL]
        off = [record for record in records if record.control == VISION_OFF]
        groups = [real, off, self._shuffle(real)]
        references = [record.references for record in real]
        finished: list[Record] = []
        for group in groups:
            if group:
                # A control covers a prefix of the examples; the rest has no caption but counts as documents.
                captions = [record.prediction for record in group] + [None] * (len(real) - len(group))
                scores = score_captions(captions, references)
                finished += [record.scored(score) for record, score in zip(group, scores, strict=False)]
        return finished

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
