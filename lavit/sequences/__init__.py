"""From examples to padded batches: where text, visual inputs and visual targets stand in a sequence."""

from lavit.sequences.assembly import Sequence, SequenceBatch, SequenceBuilder, buckets, collate, regroup
from lavit.sequences.packing import attention_mask, batches, fit_rows, join, packed
from lavit.sequences.visual_store import VisualStore

__all__ = [
    "Sequence",
    "SequenceBatch",
    "SequenceBuilder",
    "VisualStore",
    "attention_mask",
    "batches",
    "buckets",
    "collate",
    "fit_rows",
    "join",
    "packed",
    "regroup",
]
