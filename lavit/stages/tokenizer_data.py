"""What the tokenizer stage's own metrics look at, whichever tokenizer it trains: the first validation images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lavit.data import Corpus
from lavit.stages.outputs import load_features, load_images
from lavit.tokenizer.selector import image_keys
from lavit.vision.encoder import VisionEncoder

EVALUATED = 1024  # images of the validation split


def evaluation_data(corpus: Corpus, encoder: VisionEncoder, head: Any) -> dict[str, Any]:
    """What :func:`~lavit.tokenizer.metrics.tokenizer_metrics` looks at: the first images of the validation split."""
    images = load_images(corpus, "val", EVALUATED)
    index = np.arange(len(images))
    objects = corpus.object_patches("val", index, encoder.patch)
    labels = corpus.patch_labels("val", index, encoder.patch)
    return {
        "features_SNC": load_features(encoder, images),
        "keys_S": image_keys(images),
        "images_SHWC": images,
        "complexity": corpus.complexity("val", index),
        "objects_SN": None if objects is None else torch.from_numpy(objects),
        "labels_SNL": None if labels is None else torch.from_numpy(labels),
        "head": head,
    }
