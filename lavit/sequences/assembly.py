"""Image-first, text-first and text-only sequences, and their padded batch.

``[IMG]`` and ``[/IMG]`` enclose an image's tokens. Where the image comes first its tokens are continuous features and
only the text is supervised; where the text comes first the tokens are targets too (codes or vectors). Padding is
on the right, so that a causal model needs no mask in training.

Shapes: S sequences, B rows of a batch (each a sequence, or several that are packed: :mod:`lavit.sequences.packing`),
T positions, E visual tokens that enter, G visual tokens that are generated (of the whole batch), P predictions of a
visual token or of the image's end.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lavit.language.text import TextTokenizer

IGNORE = -100
Rows = tuple[int, int]  # of an image in a store: the first, and how many


@dataclass
class Sequence:
    """One sequence under construction: ids, which of them are supervised, and where an image stands.

    An image stands in one of three forms: it ``enters`` as features, is ``shown`` as the visual tokens that a model
    would have written, or is ``generated``, which is the same tokens, supervised.
    """

    ids: list[int] = field(default_factory=list)
    supervised: list[float] = field(default_factory=list)
    enters: list[tuple[int, int, int]] = field(default_factory=list)  # (position, first row, count)
    shown: list[tuple[int, int, int]] = field(default_factory=list)
    generated: list[tuple[int, int, int]] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)  # lengths of those that are packed into it; empty: none

    def text(self, ids: list[int], weight: float = 0.0) -> Sequence:
        """Append text; ``weight`` is its weight in the loss (0: read, never predicted)."""
        self.ids += ids
        self.supervised += [weight] * len(ids)
        return self

    def part(self, first: int, end: int) -> Sequence:
        """The positions from ``first`` up to ``end``, with the images in between; an image is not to be cut."""
        images = [
            [(at - first, *rows) for at, *rows in kind if first <= at < end]
            for kind in (self.enters, self.shown, self.generated)
        ]
        return Sequence(self.ids[first:end], self.supervised[first:end], *images)  # type: ignore[arg-type]

    def seen(self) -> np.ndarray:
        """First row of the image that each position has behind it, the last one that was read; -1: none [T]."""
        seen = np.full(len(self.ids), -1, np.int64)
        ends = np.cumsum(self.documents or [len(self.ids)])
        for position, first, count in sorted(self.enters):
            seen[position + count : ends[np.searchsorted(ends, position, side="right")]] = first
        return seen

    def key(self) -> Hashable:
        """Equal for sequences that a model reads alike."""
        return tuple(self.ids), tuple(self.enters), tuple(self.shown), tuple(self.generated)


@dataclass
class SequenceBatch:
    """What the model reads and what it is asked to predict.

    Attributes:
        ids_BT: text and special ids; places of visual tokens hold the pad id.
        text_targets: flat positions, target ids and weights of the supervised text.
        enter_at, enter_row: flat position and store row of each continuous visual input [E].
        generated_at, generated_row: the same for visual tokens in the form in which they are written: those that are
            targets and inputs of the next step, and those of a prompt that shows them [G].
        predict_at, predict_row: flat position that predicts, and the row to be predicted (-1: the image ends) [P].
        lengths_S: real length of each sequence, row by row.
        seen_BT: store row at which the image begins that each position has behind it, in its own sequence; -1: none.
        document_BT: which of its row's sequences each position belongs to, padding being one more; None where no row
            holds several.
        position_BT: each position's number within its sequence; None likewise.
    """

    ids_BT: Tensor
    text_at: Tensor
    text_ids: Tensor
    text_weights: Tensor
    enter_at: Tensor
    enter_row: Tensor
    generated_at: Tensor
    generated_row: Tensor
    predict_at: Tensor
    predict_row: Tensor
    lengths_S: Tensor
    seen_BT: Tensor
    document_BT: Tensor | None = None
    position_BT: Tensor | None = None

    @property
    def positions(self) -> int:
        """Positions that are not padding."""
        return int(self.lengths_S.sum())

    def to(self, device: torch.device) -> SequenceBatch:
        """The batch on ``device``."""
        there = {name: value for name, value in vars(self).items() if value is not None}
        return SequenceBatch(**{name: value.to(device) for name, value in there.items()})


class SequenceBuilder:
    """Writes the kinds of sequences that the arms train on.

    Args:
        text: the text tokenizer; the two image marks take the ids right behind its vocabulary.
    """

    def __init__(self, text: TextTokenizer):
        self.text = text
        self.image_start, self.image_end = len(text), len(text) + 1

    def _image_in(self, sequence: Sequence, rows: Rows | None, written: bool = False) -> Sequence:
        sequence.text([self.image_start])
        if rows is not None:
            (sequence.shown if written else sequence.enters).append((len(sequence.ids), *rows))
            sequence.text([self.text.pad] * rows[1])
        return sequence.text([self.image_end])

    def caption(self, rows: Rows | None, caption: str | None) -> Sequence:
        """``[IMG] features [/IMG] caption``; without a caption, the prompt alone."""
        sequence = self._image_in(Sequence().text([self.text.bos]), rows)
        if caption is not None:
            sequence.text([*self.text.encode(caption), self.text.eos], 1.0)
        return sequence

    def questions(self, rows: Rows | None, pairs: Iterable[tuple[str, str | None]]) -> Sequence:
        """``[IMG] features [/IMG]`` and question-answer pairs; only answers are supervised."""
        return self._pairs(self._image_in(Sequence().text([self.text.bos]), rows), pairs)

    def _pairs(self, sequence: Sequence, pairs: Iterable[tuple[str, str | None]]) -> Sequence:
        for question, answer in pairs:
            sequence.text([*self.text.question_ids, *self.text.follow(question), *self.text.answer_ids])
            if answer is not None:
                sequence.text([*self.text.follow(answer), self.text.eos], 1.0)
        return sequence

    def document(self, document: str) -> Sequence:
        """Text alone."""
        return Sequence().text([self.text.bos]).text([*self.text.encode(document), self.text.eos], 1.0)

    def grounded(self, description: str, pairs: Iterable[tuple[str, str | None]], weight: float) -> Sequence:
        """A description (``weight`` in the loss) and questions that it answers."""
        sequence = Sequence().text([self.text.bos])
        sequence.text([*self.text.encode(description), self.text.eos], weight)
        return self._pairs(sequence, pairs)

    def retold(self, description: str, caption: str) -> Sequence:
        """A description that is read, then a caption of the same image: what captioning is where there is only text."""
        sequence = Sequence().text([self.text.bos, *self.text.encode(description), self.text.eos])
        return sequence.text([*self.text.encode(caption), self.text.eos], 1.0)

    def generation(self, prompt: str, rows: Rows | None) -> Sequence:
        """``prompt [IMG] tokens [/IMG]``: the image is supervised; without rows, the prompt alone."""
        return self.drawing([prompt], rows)

    def interleaved(self, parts: Iterable[str | Rows], written: bool) -> Sequence:
        """Text and images as they come, each image between ``[IMG]`` and ``[/IMG]``: something to go on from.

        Args:
            parts: texts, and rows of images.
            written: images as the visual tokens that a model writes, as LaVIT has them before an image that it is
                to draw; else as continuous features, which is how they are read.
        """
        sequence = Sequence().text([self.text.bos])
        for part in parts:
            if isinstance(part, str):
                sequence.text(self.text.encode(part))
            else:
                self._image_in(sequence, part, written)
        return sequence

    def drawing(self, parts: Iterable[str | Rows], rows: Rows | None) -> Sequence:
        """Text and images, then ``[IMG] tokens [/IMG]``: :meth:`generation` after a prompt of several parts.

        Without any part this is what unguided drawing starts from: the model then draws whatever it likes.
        """
        sequence = self.interleaved(parts, written=True).text([self.image_start])
        if rows is not None:
            sequence.generated.append((len(sequence.ids), *rows))
            sequence.text([self.text.pad] * rows[1])
        return sequence


def buckets(sequences: list[Sequence], overhead: int) -> list[list[Sequence]]:
    """Cut sequences of mixed length into batches such that padding costs least.

    The cut is the best there is (dynamic programming over the lengths in order); sequences of equal length keep
    their order.

    Args:
        sequences: of one step.
        overhead: what one more batch costs, in padded positions; a GPU wants it high, a CPU low.
    """
    ordered = sorted(sequences, key=lambda sequence: len(sequence.ids))
    count = len(ordered)
    cost, cut = [0] + [0] * count, [0] * (count + 1)
    for end in range(1, count + 1):
        width = len(ordered[end - 1].ids)
        cost[end], cut[end] = min((cost[start] + overhead + (end - start) * width, start) for start in range(end))
    parts = []
    while count:
        parts.append(ordered[cut[count] : count])
        count = cut[count]
    return parts[::-1]


def regroup(parts: list[list[Sequence]], count: int) -> list[list[Sequence]]:
    """Cut batches of :func:`buckets` into ``count``: the largest in two, or the two together that stand side by side
    and cost least padding. There must be as many sequences as that."""
    parts = list(parts)
    while len(parts) < count:
        largest = max(range(len(parts)), key=lambda i: len(parts[i]))
        half = len(parts[largest]) // 2
        parts[largest : largest + 1] = [parts[largest][:half], parts[largest][half:]]
    while len(parts) > count:
        longer = [len(b[-1].ids) - len(a[-1].ids) for a, b in itertools.pairwise(parts)]
        padding = [len(part) * more for part, more in zip(parts, longer, strict=False)]
        at = padding.index(min(padding))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def collate(sequences: list[Sequence], pad: int = 0) -> SequenceBatch:
    """Pad on the right and turn positions into flat indices into [B*T]."""
    lengths = [len(s.ids) for s in sequences]
    width = max(lengths)
    ids = np.full((len(sequences), width), pad, np.int64)
    weights = np.zeros((len(sequences), width), np.float32)
    seen = np.full((len(sequences), width), -1, np.int64)
    enters: list[np.ndarray] = []
    enter_rows: list[np.ndarray] = []
    generated: list[np.ndarray] = []
    generated_rows: list[np.ndarray] = []
    predict: list[np.ndarray] = []
    predict_rows: list[np.ndarray] = []
    for b, sequence in enumerate(sequences):
        ids[b, : lengths[b]] = sequence.ids
        weights[b, : lengths[b]] = sequence.supervised
        seen[b, : lengths[b]] = sequence.seen()
        for position, first, count in sequence.enters:
            enters.append(np.arange(count) + b * width + position)
            enter_rows.append(np.arange(first, first + count))
        for position, first, count in (*sequence.shown, *sequence.generated):
            generated.append(np.arange(count) + b * width + position)
            generated_rows.append(np.arange(first, first + count))
        for position, first, count in sequence.generated:
            predict.append(np.arange(count + 1) + b * width + position - 1)
            predict_rows.append(np.append(np.arange(first, first + count), -1))
    # Position t predicts id t + 1.
    at_b, at_t = np.nonzero(weights[:, 1:])
    return SequenceBatch(
        ids_BT=torch.from_numpy(ids),
        text_at=torch.from_numpy(at_b * width + at_t),
        text_ids=torch.from_numpy(ids[at_b, at_t + 1]),
        text_weights=torch.from_numpy(weights[at_b, at_t + 1]),
        enter_at=_flat(enters),
        enter_row=_flat(enter_rows),
        generated_at=_flat(generated),
        generated_row=_flat(generated_rows),
        predict_at=_flat(predict),
        predict_row=_flat(predict_rows),
        lengths_S=torch.tensor([length for s in sequences for length in s.documents or [len(s.ids)]]),
        seen_BT=torch.from_numpy(seen),
        **_within(sequences, width),
    )


def _within(sequences: list[Sequence], width: int) -> dict[str, Tensor]:
    """Documents and positions of packed rows; nothing where no row holds more than one: causal attention is enough."""
    if all(len(sequence.documents) < 2 for sequence in sequences):
        return {}
    document = np.zeros((len(sequences), width), np.int64)
    position = np.zeros((len(sequences), width), np.int64)
    for b, sequence in enumerate(sequences):
        lengths = sequence.documents or [len(sequence.ids)]
        lengths = [*lengths, width - sum(lengths)]  # the last is padding
        document[b] = np.repeat(np.arange(len(lengths)), lengths)
        position[b] = np.concatenate([np.arange(length) for length in lengths])
    return {"document_BT": torch.from_numpy(document), "position_BT": torch.from_numpy(position)}


def _flat(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts) if parts else np.zeros(0, np.int64))
