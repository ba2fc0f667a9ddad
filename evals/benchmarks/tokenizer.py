"""The visual tokenizer itself: how much of an image its tokens keep, how many there are, and where they go.

Suffixes: B images, N patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evals.benchmark import Answers, Batch, Benchmark
from evals.errors import EvaluationError
from evals.metrics.codes import correlate, count_codes
from evals.records import Record
from evals.sitting import Sitting, array


class TokenizerFidelity(Benchmark):
    """Cosine between the encoder's features and those decoded from the tokens; codes; kept tokens.

    Per image: ``cosine`` over all patches (primary; the background dominates it), ``cosine_objects`` over
    patches that show an object, ``kept`` tokens, and the corpus's measures of complexity. Over the set:
    ``codes_used`` and ``perplexity``, ``kept_min`` and ``kept_max``, and ``kept_corr_<measure>``, the
    correlation of kept tokens with each measure of complexity. The prediction of a record is the image's
    codes.
    """

    metric = "cosine"
    protocol = "cosine-1"

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Take the images of one batch apart and put them together again."""
        corpus = sitting.corpus
        report = sitting.model.tokenizer_report(corpus.images(self.split, batch.asked_B))
        cosine_BN, kept_B = array(report["cosine"]).astype(np.float64), array(report["kept"])
        side = round(cosine_BN.shape[1] ** 0.5)
        objects_BN = corpus.object_patches(self.split, batch.asked_B, corpus.image_size // side)
        complexity = corpus.complexity(self.split, batch.asked_B)
        records = []
        for row, index in enumerate(batch.asked_B):
            aux = {"kept": float(kept_B[row])}
            if objects_BN is not None and objects_BN[row].any():
                aux["cosine_objects"] = float(cosine_BN[row][objects_BN[row]].mean())
            aux |= {f"complexity_{name}": float(values[row]) for name, values in complexity.items()}
            codes = array(report["codes"][row])
            if len(codes) != int(kept_B[row]):
                raise EvaluationError(f"The tokenizer reports {len(codes)} codes but {int(kept_B[row])} kept tokens.")
            records.append(
                Record(
                    benchmark=self.name,
                    metric=self.metric,
                    control=batch.control,
                    split=self.split,
                    example_id=self.image_id(index),
                    cluster_id=self.image_id(index),
                    prediction=" ".join(str(int(code)) for code in codes),
                    references=(),
                    score=float(cosine_BN[row].mean()),
                    aux=aux,
                    tokens=int(kept_B[row]),
                    order=int(batch.order_B[row]),
                )
            )
        return Answers(records)

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Means per image and the measures over the set."""
        metrics, missing = super().summarise(records)
        metrics = {name: value for name, value in metrics.items() if "/complexity_" not in name}
        used, perplexity = count_codes([_codes(record) for record in records])
        kept_B = np.array([record.aux["kept"] for record in records])
        metrics[f"{self.name}/codes_used"], metrics[f"{self.name}/perplexity"] = float(used), perplexity
        metrics[f"{self.name}/kept_min"], metrics[f"{self.name}/kept_max"] = (
            float(kept_B.min()),
            float(kept_B.max()),
        )
        for name in records[0].aux:
            if name.startswith("complexity_"):
                metric = f"{self.name}/kept_corr_{name.removeprefix('complexity_')}"
                value = correlate(kept_B, np.array([record.aux[name] for record in records]))
                if value is None:
                    missing[metric] = "one of the two is the same for every image, so there is no correlation"
                else:
                    metrics[metric] = value
        return metrics, missing


def _codes(record: Record) -> npt.NDArray[np.int64]:
    return np.array([int(code) for code in record.prediction.split()], dtype=np.int64)
