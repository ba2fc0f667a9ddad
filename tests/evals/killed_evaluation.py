"""A whole evaluation as a process of its own, slow enough to be killed in the middle: for test_kills.

``python killed_evaluation.py OUT KIND``: KIND is ``slow`` (knows the answers, sleeps over each call) or ``arm`` (a real
arm of random weights that decodes token by token). Each call of the model leaves a line in ``OUT/../asked.log``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tiny_corpus import Oracle, TinyCorpus

from evals.runner import build_suite, evaluate

CONTROLS = {"vision_off": 20, "shuffled": 25}
ENTRIES = {
    "caption": {"_target_": "evals.benchmarks.caption.Captioning", "count": 40, "batch": 4, "controls": CONTROLS},
    "vqa": {
        "_target_": "evals.benchmarks.vqa.QuestionAnswering",
        "count": 30,
        "batch": 4,
        "per_image": 4,
        "controls": CONTROLS,
    },
    "t2i": {"_target_": "evals.benchmarks.t2i.TextToImage", "count": 30, "batch": 4, "samples": 3},
}


class Slow(Oracle):
    """Takes its time, so that a kill hits it at work."""

    def _count(self):
        super()._count()
        time.sleep(0.01)


def tiny_arm():
    """A real arm over cells of 3 x 3 pixels, its weights random but always the same."""
    from types import SimpleNamespace

    import torch

    from lavit.language import TextTokenizer, build_llm
    from lavit.model.lavit import build_lavit
    from lavit.model.targets import DiscreteTarget
    from lavit.model.vision_language import Arm
    from lavit.tokenizer.tokens import VisualTokens

    torch.set_num_threads(1)
    torch.manual_seed(0)
    width, codes, dim, places, features = 32, 20, 6, 9, 12
    codebook = torch.nn.functional.normalize(torch.randn(codes, dim), dim=-1)
    texts = TinyCorpus().prompts("test", range(30))
    text = TextTokenizer.train([*texts, "how many squares are there?", "is there a red square? yes no"] * 3, 128)

    class Cells:
        """Nine cells; the brightness of a cell is its code."""

        paints = False

        def encode(self, images):
            return self.tokens(torch.as_tensor(images[:, 1::3, 1::3].astype("float32")).mean(-1).flatten(1))

        def tokens(self, grey_BN, keys_B=None):
            codes_BN = (grey_BN / 13).long() % codes
            features_BNC = torch.nn.functional.one_hot(codes_BN, features + codes)[..., :features].float()
            order = torch.arange(places).expand_as(codes_BN)
            mask = torch.ones_like(codes_BN, dtype=torch.bool)
            return VisualTokens(features_BNC, codebook[codes_BN], codes_BN, order, mask)

        def decode(self, vectors, places_BK, mask):
            near = (vectors @ codebook.T).argmax(-1) * mask
            return torch.zeros(len(near), places).scatter(1, places_BK, near.float())[..., None]

    def pixels(features_BNC):
        grid = features_BNC.view(-1, 3, 3, 1).expand(-1, -1, -1, 3) / codes
        return grid.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :8, :8]

    config = {"width": width, "layers": 2, "heads": 2, "mlp_width": 48, "max_positions": 128}
    shape = {"num_places": places, "places_implied": False, "positions": "place", "feature_dim": features}
    shape["place_patches_MN"] = torch.eye(places)
    connector = {"_target_": "lavit.connectors.mlp.MLP"}
    model = build_lavit(build_llm(config, len(text)), shape, codebook, connector, DiscreteTarget, True, seed=3)
    with torch.no_grad():  # an untrained head is indifferent: give it opinions
        for part in model.head.parameters():
            part.normal_()
    return Arm(model.eval(), text, SimpleNamespace(image_size=8), Cells(), pixels)


class Logged:
    """Notes every call of a model in a file, at once."""

    def __init__(self, model, path: Path):
        self._model, self._path = model, path

    def __getattr__(self, name):
        value = getattr(self._model, name)
        if name not in ("caption", "answer", "draw"):
            return value

        def call(*arguments, **named):
            with open(self._path, "a") as file:
                file.write(f"{os.getpid()} {name}\n")
            return value(*arguments, **named)

        return call


def main(out: Path, kind: str) -> None:
    """Evaluate into ``out``."""
    model = Slow() if kind == "slow" else tiny_arm()
    evaluate(Logged(model, out.parent / "asked.log"), TinyCorpus(), build_suite({"benchmarks": ENTRIES}), out, seed=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
