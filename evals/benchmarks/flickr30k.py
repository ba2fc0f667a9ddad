"""Flickr30k captioning on Karpathy's splits."""

from evals.benchmarks.caption import Captioning
from evals.benchmarks.from_files import FromFiles
from evals.datasets.flickr30k import Flickr30kKarpathy


class Flickr30k(FromFiles, Captioning):
    """Captions of the 1,000 test images."""

    dataset = Flickr30kKarpathy
