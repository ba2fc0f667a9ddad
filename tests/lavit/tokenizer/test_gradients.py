"""The table of docs/tokenizer.md: what a training step changes by gradient, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import DictConfig

from lavit import data, vision
from lavit.stages.tokenizer import TokenizerTraining
from lavit.stages.training import TrainingError

DOCS = Path(__file__).parents[3] / "docs" / "tokenizer.md"
PARTS = {
    "merger": "merger.",
    "pre-quantizer": "quantizer.project.",
    "codebook": "quantizer.codebook_KD",
    "decoder": "decoder.",
}


def table() -> list[dict[str, str]]:
    lines = DOCS.read_text().split("## Where gradients go")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def module(config: DictConfig, vision_dir: Path) -> TokenizerTraining:
    torch.manual_seed(0)
    encoder, head = vision.load(vision_dir), vision.load_label_head(vision_dir)
    return TokenizerTraining(config, data.build(config.data), encoder, head, 0)


def reached(made: TokenizerTraining, step: int, prefix: str) -> bool:
    made.zero_grad(set_to_none=True)
    made.loss(made.batch(step), step)[0].backward()
    gradients = [p.grad for name, p in made.tokenizer.named_parameters() if name.startswith(prefix)]
    return any(gradient is not None and bool((gradient != 0).any()) for gradient in gradients)


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row['setting']} {row['phase']}")
def test_the_table_of_gradients_tells_the_truth(
    row: dict[str, str], make_visual_config: Callable[..., DictConfig], finished_vision: Path
) -> None:
    key, value = row["setting"].strip("`").split("=")
    parsed = yaml.safe_load(value)
    told = {key.replace(".", "__"): parsed}
    only_rate = {"tokenizer__loss": {"cosine": 0.0, "squared": 0.0}, "tokenizer__commitment": 0.0}
    no_rate = {"tokenizer__keep": {"rate": 0.3, "weight": 0.0, "per": "batch"}}
    for column, further in (("reconstruction", no_rate), ("keep rate", only_rate)):
        made = module(make_visual_config("tokenizer", **told, **further), finished_vision)
        step = {"warm-up": 0, "after": made.quantise_from, "settled": made.settled_from}[row["phase"]]
        assert reached(made, step, "selector.") == (row[f"selector, by {column}"] == "yes"), column
    made = module(make_visual_config("tokenizer", **told, **no_rate), finished_vision)
    for column, prefix in PARTS.items():
        assert reached(made, step, prefix) == (row[column] == "yes"), column


def test_features_that_are_not_finite_stop_training_with_stage_step_and_image(
    make_visual_config: Callable[..., DictConfig], finished_vision: Path
) -> None:
    made = module(make_visual_config("tokenizer"), finished_vision)
    image = int(made.order.take(3, int(made.settings.batch))[2])
    made.features[image, 1, 0] = float("nan")
    with pytest.raises(TrainingError, match=rf"stage tokenizer, step 3: .* training image {image} hold NaN"):
        made.batch(3)
