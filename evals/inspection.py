"""The ``inspect`` stage: the records of a study that stops at the tokenizer.

Runs those benchmarks of the suite that ask a tokenizer alone, and measures over their images what no single image
tells: whether samples of the selection agree with its rule, and how much of a token's place is in its code.

Shapes: B images, N patches, M places, R tokens of all images, C channels, D code dimensions, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas  # noqa: F401  (pyarrow loads it at its first use: here a fork server does so once for all jobs)
import torch
from torch import Tensor, nn

import lavit.data
import lavit.pixels
import lavit.tokenizer
import lavit.vision
from evals.benchmark import REAL, Benchmark
from evals.errors import EvaluationError
from evals.runner import build_suite, evaluate, leave_ledger, write_json
from lavit.data.protocol import Corpus
from lavit.model.painting import decode, show, to_uint8
from lavit.stages.context import StageContext
from lavit.tokenizer.metrics import code_use, feature_cosine, place_recovery, sampling
from lavit.tokenizer.selector import image_keys

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel

NO_CODEBOOK = "the tokenizer has no codebook (tokenizer.quantise=false), so its tokens have no codes"
NO_LABELS = "the data have no dense labels, so the vision stage trained no label head to read patches with"
NOT_LEARNED = "the selector learns nothing, so there is no probability to sample from"
ONE_PLACE = "there is one place only, or too few images to read places on others than the read-out was fitted on"


class InspectedTokenizer:
    """A tokenizer with what reads its decoded features, as benchmarks ask it (a part of the model protocol).

    Args:
        tokenizer: the finished tokenizer.
        vision: the encoder that it was trained on.
        head: names what a patch shows; None where the data had no dense labels.
        pixels: paints features.
    """

    makes_images = False

    def __init__(
        self,
        tokenizer: lavit.tokenizer.VisualTokenizer,
        vision: nn.Module,
        head: nn.Linear | None,
        pixels: nn.Module,
    ):
        self.tokenizer, self.vision, self.head, self.pixels = tokenizer, vision, head, pixels
        self.quantised = tokenizer.quantised

    @torch.no_grad()
    def features(self, images: np.ndarray) -> Tensor:
        """Vision features [B, N, C] of uint8 images."""
        return self.vision(images)

    @torch.no_grad()
    def tokenizer_report(self, images: np.ndarray) -> dict[str, Any]:
        """Reconstruction, tokens, and what label head and pixel decoder make of decoded and of true features.

        ``cosine`` [B, N], ``kept`` [B], ``images`` uint8 [B, H, W, 3] and ``images_undecoded``; ``codes`` a list where
        there is a codebook; ``places`` a list where tokens are patches; ``labels`` and ``labels_undecoded`` bool
        [B, N, L] where there is a label head.
        """
        features_BNC = self.features(images)
        tokens = self.tokenizer.tokens_of(torch.as_tensor(images), features_BNC)
        vectors_BKD = self.tokenizer.lookup(tokens.codes_BK) if self.quantised else tokens.vectors_BKD
        decoded = decode(self.tokenizer, vectors_BKD, tokens.places_BK, tokens.mask_BK)
        pictures, decoded_BNC = show(self.tokenizer, self.pixels, self.vision, decoded)
        report: dict[str, Any] = {
            "cosine": feature_cosine(self.tokenizer, decoded_BNC, features_BNC),
            "kept": tokens.mask_BK.sum(1),
            "images": pictures,
            "images_undecoded": to_uint8(self.pixels(features_BNC)),
        }
        if self.quantised:
            report["codes"] = [codes[mask] for codes, mask in zip(tokens.codes_BK, tokens.mask_BK, strict=True)]
        if (places := self.tokenizer.patches(tokens)) is not None:
            report["places"] = places
        if self.head is not None:
            report |= {"labels": self.head(decoded_BNC) > 0, "labels_undecoded": self.head(features_BNC) > 0}
        return report

    @torch.no_grad()
    def measure_set(self, benchmark: Benchmark, corpus: Corpus, seed: int) -> tuple[dict[str, float], dict[str, str]]:
        """What the images of a benchmark tell together, and why what is missing is; names without the benchmark's.

        Args:
            benchmark: whose images to look at.
            corpus: where they are from.
            seed: of the sampled selection.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = benchmark.examples(corpus)
        vectors, codes, places, owners, sampled = [], [], [], [], []
        for first in range(0, len(chosen), benchmark.batch):
            images_BHWC = torch.as_tensor(corpus.images(benchmark.split, chosen[first : first + benchmark.batch]))
            features_BNC, keys_B = self.vision(images_BHWC), image_keys(images_BHWC)
            tokens = self.tokenizer.tokens_of(images_BHWC, features_BNC)
            codes.append(tokens.codes_BK[tokens.mask_BK])
            vectors.append(self.tokenizer.lookup(codes[-1]) if self.quantised else tokens.vectors_BKD[tokens.mask_BK])
            # Not from the tokens: where positions are by rank these do not say where they came from.
            image_R, place_R = self.tokenizer.kept(features_BNC, keys_B).nonzero().T
            places.append(place_R)
            owners.append(image_R + first)
            sampled.append((len(keys_B), sampling(self.tokenizer, features_BNC, keys_B, generator)))
        metrics = place_recovery(torch.cat(vectors), torch.cat(places), torch.cat(owners), self.tokenizer.num_places)
        missing = {} if metrics else {"place_recovered": ONE_PLACE}
        for name in ("sampled_kept", "sampled_flips", "sampled_recoded"):
            told = [(size, found[name]) for size, found in sampled if name in found]
            if told:
                metrics[name] = sum(size * value for size, value in told) / sum(size for size, _ in told)
            else:
                missing[name] = NOT_LEARNED if not sampled[0][1] else NO_CODEBOOK
        if self.quantised:
            metrics |= code_use(torch.cat(codes), self.tokenizer.codebook_size)
        else:
            missing |= dict.fromkeys(("codes_used", "codes_used_share", "dead_codes", "perplexity"), NO_CODEBOOK)
        if self.head is None:
            missing["probe_objects"] = NO_LABELS
        return metrics, missing


def run(context: StageContext) -> None:
    """Inspect the tokenizer of ``context.inputs`` into ``context.out``.

    Reads ``data`` and ``suite``. Writes what :func:`evals.runner.evaluate` lists, ``kept_histogram.json`` (for each
    benchmark, number of tokens → images), ``config.json`` and a ledger of zeros.

    Raises:
        EvaluationError: no benchmark of the suite asks a tokenizer alone.
    """
    whole = build_suite(context.config.suite)
    suite = [benchmark for benchmark in whole if benchmark.subject == "tokenizer"]
    if not suite:
        raise EvaluationError(
            f"Suite {context.config.suite.get('name')!r} has no benchmark of the tokenizer alone.",
            "A study with `until: tokenizer` needs one, e.g. evals.benchmarks.tokenizer.TokenizerFidelity.",
        )
    corpus = lavit.data.build(context.config.data)
    examinee = load(context)
    model = cast("VisionLanguageModel", examinee)  # as much of one as benchmarks of the tokenizer ask
    result = evaluate(model, corpus, suite, context.out, seed=context.seed, progress=context.progress)
    histograms = {}
    for benchmark in suite:
        metrics, missing = examinee.measure_set(benchmark, corpus, context.seed)
        result.metrics |= {f"{benchmark.name}/{name}": value for name, value in metrics.items()}
        result.skipped |= {f"{benchmark.name}/{name}": why for name, why in missing.items()}
        own = (r for r in result.records if r.benchmark == benchmark.name and r.control == REAL)
        kept = {record.example_id: record.tokens for record in own}  # every metric of an image tells the same
        numbers, images = np.unique([count for count in kept.values() if count is not None], return_counts=True)
        histograms[benchmark.name] = {str(number): int(count) for number, count in zip(numbers, images, strict=True)}
    stops = "the study stops at the tokenizer: there is no arm to ask"
    result.skipped |= {benchmark.name: stops for benchmark in whole if benchmark not in suite}
    write_json(context.out / "metrics.json", result.metrics)
    write_json(context.out / "skipped.json", result.skipped)
    write_json(context.out / "kept_histogram.json", histograms)
    leave_ledger(context, result)


def load(context: StageContext) -> InspectedTokenizer:
    """The tokenizer of a stage's inputs, with the label head and the pixel decoder that were made for its features."""
    folders = context.inputs
    tokenizer = lavit.tokenizer.load(folders["tokenizer"], folders["vision"])
    vision, head = lavit.vision.load(folders["vision"]), lavit.vision.load_label_head(folders["vision"])
    return InspectedTokenizer(tokenizer, vision, head, lavit.pixels.load(folders["pixels"]))
