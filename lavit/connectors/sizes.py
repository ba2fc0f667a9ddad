"""The connectors at the sizes of their papers, counted on the meta device: ``python -m lavit.connectors.sizes``.

Prints the table of ``docs/connectors.md``.

Shapes: N patches, C feature width, M embeddings of an image, W width of the LLM.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lavit.build import build
from lavit.connectors.image import ImageConnector
from lavit.connectors.qformer import QFormer
from lavit.connectors.qformer_text import QFormerPretraining
from lavit.ledger import count_parameters

BERT_VOCABULARY = 30522
BERT_POSITIONS = 512


@dataclass(frozen=True)
class Official:
    """A connector as its paper has it.

    Attributes:
        name: of the model that it is from.
        target: class below ``lavit.connectors``.
        feature_dim, width: C and W.
        patches, tokens: N and M; None for row-wise connectors.
        options: further arguments.
        published: parameters as its authors give them; None where no figure was found.
        first_stage: count it with the text side of its first stage, without the way into an LLM.
    """

    name: str
    target: str
    feature_dim: int
    width: int
    patches: int | None = None
    tokens: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    published: float | None = None
    first_stage: bool = False

    def module(self) -> nn.Module:
        """The connector on the meta device."""
        options = {"feature_dim": self.feature_dim, "width": self.width, **self.options}
        if self.patches is not None:
            options |= {"patches": self.patches, "tokens": self.tokens}
        with torch.device("meta"):
            connector: nn.Module = build({"_target_": f"lavit.connectors.{self.target}"}, **options)
            if self.first_stage:
                assert isinstance(connector, QFormer)
                connector.out = nn.Identity()
                return QFormerPretraining(connector, BERT_VOCABULARY, BERT_POSITIONS, 4, 256, 0.07)
        return connector

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of one image's features and of its embeddings, by a pass over shapes alone."""
        module = self.module()
        if isinstance(module, QFormerPretraining):
            module = module.qformer
        patches = self.patches or 256
        features_BNC = torch.empty(1, patches, self.feature_dim, device="meta")
        if not isinstance(module, ImageConnector):
            return (patches, self.feature_dim), tuple(module(features_BNC[0]).shape)
        mask_BN = torch.ones(1, patches, dtype=torch.bool, device="meta")
        return (patches, self.feature_dim), tuple(module(features_BNC, mask_BN).shape[1:])


NO_PLACES = {"positions": False}
RESAMPLER, SHUFFLE = "resampler.Resampler", "pixel_shuffle.PixelShuffle"
OFFICIAL = (
    Official("LLaVA 7B", "linear.Linear", 1024, 4096),
    Official("LLaVA-1.5 7B", "mlp.MLP", 1024, 4096, options={"ratio": 1.0}),
    Official("OpenFlamingo", RESAMPLER, 1024, 1024, 256, 64, NO_PLACES),
    Official("Flamingo", RESAMPLER, 1536, 1536, 81, 64, NO_PLACES | {"heads": 16, "head_dim": 96}, 194e6),
    Official("BLIP-2, first stage", "qformer.QFormer", 1408, 768, 257, 32, NO_PLACES, 188e6, first_stage=True),
    Official("BLIP-2, OPT 2.7B", "qformer.QFormer", 1408, 2560, 257, 32, NO_PLACES),
    Official("Honeybee 7B", "c_abstractor.CAbstractor", 1024, 4096, 256, 144),
    Official("InternVL2 8B", SHUFFLE, 1024, 4096, 1024, 256, NO_PLACES),
    Official("nanoVLM 450M", SHUFFLE, 768, 960, 1024, 64, NO_PLACES | {"single": True}),
    Official("Emu 13B", "causal_former.CausalFormer", 1408, 5120, 257, 32, NO_PLACES),
    Official("after Cambrian-1 8B", "windows.WindowedQueries", 1024, 4096, 576, 576, NO_PLACES),
)


def table() -> str:
    """A Markdown table: for each of them its shapes, and its parameters counted and published."""
    lines = ["| as in | class | features | embeddings | parameters | published |", "|---|---|---|---|--:|--:|"]
    for one in OFFICIAL:
        taken, given = (" × ".join(map(str, shape)) for shape in one.shapes())
        if one.first_stage:
            given = "–"
        told = "–" if one.published is None else f"{one.published / 1e6:.0f} M"
        parameters = count_parameters(one.module())[0]
        lines.append(f"| {one.name} | `{one.target}` | {taken} | {given} | {parameters:,} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
