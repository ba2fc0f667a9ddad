"""Flickr30k (Young et al. 2014) with Karpathy's splits: 1,014 images in val, 1,000 in test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.datasets.karpathy import KarpathySplits
from evals.datasets.reading import field_of


class Flickr30kKarpathy(KarpathySplits):
    """``dataset_flickr30k.json`` beside the one folder of images."""

    name = "flickr30k"
    title = "Flickr30k (Karpathy splits)"
    folder = "flickr30k"
    page = (
        "https://cs.stanford.edu/people/karpathy/deepimagesent/ (captions), "
        "https://shannon.cs.illinois.edu/DenotationGraph/ (images, on request)"
    )
    layout = """\
  flickr30k/dataset_flickr30k.json    from caption_datasets.zip
  flickr30k/flickr30k-images/         1000092795.jpg, ..."""
    known_splits = ("train", "val", "test")
    file = "dataset_flickr30k.json"

    def identify(self, entry: Mapping[str, Any], path: Path, where: str) -> tuple[str, str]:
        """Flickr's number of the photograph, which is its file's name."""
        name = field_of(entry, "filename", str, path, where)
        return Path(name).stem, f"flickr30k-images/{name}"
