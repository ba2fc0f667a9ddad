"""COCO captioning on Karpathy's splits."""

from evals.benchmarks.caption import Captioning
from evals.benchmarks.from_files import FromFiles
from evals.datasets.coco_karpathy import CocoKarpathy


class CocoCaption(FromFiles, Captioning):
    """Captions of the 5,000 test images."""

    dataset = CocoKarpathy
