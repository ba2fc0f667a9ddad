"""NoCaps captioning, also by domain."""

import dataclasses
from typing import Any

from evals.benchmark import Answers, Batch
from evals.benchmarks.caption import Captioning
from evals.benchmarks.from_files import FromFiles
from evals.datasets.nocaps import NoCapsVal
from evals.sitting import Sitting


class NoCaps(FromFiles, Captioning):
    """Captions of the 4,500 validation images, of kind ``in-domain``, ``near-domain`` or ``out-domain``.

    Document frequencies are those of the whole set, also in the scores of a domain.
    """

    dataset = NoCapsVal

    def __init__(self, name: str, split: str = "val", **further: Any):
        super().__init__(name, split=split, **further)

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Caption the images, and say of each which domain it is of."""
        answers = super().ask(batch, sitting)
        assert isinstance(sitting.corpus, NoCapsVal)
        domains = {self.image_id(index): sitting.corpus.kind(int(index)) for index in batch.asked_B}
        records = [dataclasses.replace(record, kind=domains[record.cluster_id]) for record in answers.records]
        return dataclasses.replace(answers, records=records)
