"""COCO captions with Karpathy's splits (Karpathy and Fei-Fei 2015): 5,000 images each in val and test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.datasets.karpathy import KarpathySplits
from evals.datasets.reading import field_of


class CocoKarpathy(KarpathySplits):
    """``dataset_coco.json`` beside the folders of COCO 2014; val and test images are all in ``val2014``.

    Who trains on COCO takes ``train`` and ``restval`` together; here they are two splits, as in the file.
    """

    name = "coco_karpathy"
    title = "COCO captions (Karpathy splits)"
    folder = "coco"
    page = (
        "https://cs.stanford.edu/people/karpathy/deepimagesent/ (captions), https://cocodataset.org/#download (images)"
    )
    layout = """\
  coco/dataset_coco.json    from caption_datasets.zip
  coco/val2014/             the 2014 validation images: COCO_val2014_000000391895.jpg, ...
  coco/train2014/           the 2014 training images, for the split train alone"""
    known_splits = ("train", "restval", "val", "test")
    file = "dataset_coco.json"

    def identify(self, entry: Mapping[str, Any], path: Path, where: str) -> tuple[str, str]:
        """COCO's own image id; the folder stands in the entry."""
        identity = str(field_of(entry, "cocoid", int, path, where))
        folder = field_of(entry, "filepath", str, path, f"image {identity}")
        return identity, f"{folder}/{field_of(entry, 'filename', str, path, f'image {identity}')}"
