"""Fixed-length tokenizers as stages: trained, priced, read by every arm, drawn and reconstructed with, inspected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from tiny_stages import Stages, question, read, whole

import evals.inspection
import lavit.stages.training
from evals.errors import EvaluationError
from evals.rejudge import rejudge
from lavit import data, model, tokenizer, vision
from lavit.count import count
from lavit.data.world import World
from lavit.errors import LavitError
from lavit.model.draw_settings import DrawSettings
from lavit.stages.context import StageContext
from lavit.stages.query_tokenizer import QueryTokenizerTraining

KINDS = ["vqgan", "seed"]
TOKENS = {"vqgan": 16, "seed": 4}
VARIANTS = [
    ("vqgan", []),
    ("vqgan", ["tokenizer.adversary.weight=0.8", "tokenizer.perceptual=0.1"]),
    ("seed", []),
    ("seed", ["tokenizer.contrast.share=0.3", "tokenizer.freeze_former=true"]),
]


@pytest.mark.parametrize(("kind", "also"), VARIANTS)
def test_the_price_is_what_the_stage_measures(kind: str, also: list[str], stages: Stages) -> None:
    config = whole(*also, tokenizer=kind)
    assert count(question(config, "tokenizer"))["ledger"] == stages.ledger(config, "tokenizer")


@pytest.mark.parametrize(
    ("kind", "visual_input", "target"),
    [("vqgan", "continuous", "discrete"), pytest.param("seed", "discrete", "continuous", marks=pytest.mark.slow)],
)
def test_arms_on_top_are_priced_and_draw(kind: str, visual_input: str, target: str, stages: Stages) -> None:
    config = whole(tokenizer=kind, visual_input=visual_input, target=target)
    assert count(question(config, "pretrain"))["ledger"] == stages.ledger(config, "pretrain")
    arm = model.load(stages.arm(config))
    images = data.build(config.data).images("test", np.arange(3))
    drawn = arm.draw(["a red circle", "two squares"], seed=0)
    rebuilt = arm.reconstruct(images)
    assert drawn.images.shape[1:] == rebuilt.images.shape[1:] == (32, 32, 3)
    assert drawn.tokens.tolist() == [TOKENS[kind]] * 2
    assert rebuilt.features.shape == (3, 16, 32)
    best = arm.draw(["a red circle"], seed=0, settings=DrawSettings(best_of=2))
    assert best.images.shape == (1, 32, 32, 3)
    report = arm.tokenizer_report(images)
    assert report["cosine"].shape == (3, 16)
    assert report["kept"].tolist() == [TOKENS[kind]] * 3
    assert "places" not in report, "no token is a patch"
    if kind == "vqgan":  # what is painted by the tokenizer is what the encoder is shown
        assert torch.equal(rebuilt.features, arm.features(rebuilt.images))
        tokens = arm.tokenizer.encode(images)
        vectors = tokens.vectors_BKD if target == "continuous" else arm.tokenizer.lookup(tokens.codes_BK)
        painted = arm.tokenizer.paint(vectors, tokens.places_BK, tokens.mask_BK)
        assert np.array_equal(rebuilt.images, (painted * 255).round().byte().numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_the_stage_leaves_what_arms_read(kind: str, stages: Stages) -> None:
    config = whole(tokenizer=kind)
    folder, vision_dir = stages.run(config, "tokenizer"), stages.run(config, "vision")
    net = tokenizer.load(folder, vision_dir)
    images = data.build(config.data).images("train", np.array([5, 2]))
    fresh = net.encode(images)
    stored = load_file(folder / "tokens-train.safetensors")
    rows = torch.tensor([5, 2])[:, None] * TOKENS[kind] + torch.arange(TOKENS[kind])
    assert torch.equal(stored["codes"][rows].long(), fresh.codes_BK)
    assert torch.equal(stored["places"][rows].long(), fresh.places_BK)
    assert torch.allclose(stored["vectors"][rows].float(), fresh.vectors_BKD, atol=1e-2)
    assert stored["features"].shape == (96 * TOKENS[kind], net.feature_dim)
    assert torch.allclose(fresh.vectors_BKD.norm(dim=-1), torch.ones(2, TOKENS[kind]))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"tokenizer/cosine", "tokenizer/codes_used", "tokenizer/kept"} <= set(metrics)
    assert not any(name.startswith("vision.") for name in load_file(folder / "tokenizer.safetensors"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_selector_is_void(kind: str) -> None:
    """Twins that differ in what means nothing here read the same config, and so are one run."""
    twins = [read(whole(tokenizer=kind, tokens=tokens), "tokenizer") for tokens in ("dynamic", "fixed", "pooled")]
    assert twins[0] == twins[1] == twins[2]
    assert "tokens" not in twins[0]
    assert read(whole(tokens="dynamic"), "tokenizer") != read(whole(tokens="fixed"), "tokenizer")


@pytest.mark.parametrize(("kind", "also"), [("vqgan", []), ("seed", ["tokenizer.contrast.share=0.3"])])
def test_only_the_training_split_teaches(
    kind: str, also: list[str], stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule V22: whatever other splits hold, weights and training tokens come out the same to the bit."""
    config = whole(*also, tokenizer=kind)
    kept = stages.run(config, "tokenizer")
    straight = World.images

    def images(self: World, split: str, index: np.ndarray) -> np.ndarray:
        found = straight(self, split, index)
        return found if split == "train" else 255 - found

    monkeypatch.setattr(World, "images", images)
    own = OmegaConf.create(read(config, "tokenizer"))
    (tmp_path / "again").mkdir()
    inputs = {"vision": stages.run(config, "vision")}
    lavit.stages.tokenizer.run(StageContext("tokenizer", own, 0, inputs, tmp_path / "again"))
    for name in ("tokenizer.safetensors", "tokens-train.safetensors", "ledger.json"):
        assert (kept / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    val = "tokens-val.safetensors"
    assert (kept / val).read_bytes() != (tmp_path / "again" / val).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "also"), [VARIANTS[1], VARIANTS[3]])
def test_an_interrupted_stage_ends_with_the_same_bits(
    kind: str, also: list[str], stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = whole(*also, tokenizer=kind)
    kept = stages.run(config, "tokenizer")
    own = OmegaConf.create(read(config, "tokenizer"))
    context = StageContext("tokenizer", own, 0, {"vision": stages.run(config, "vision")}, tmp_path)
    monkeypatch.setattr(lavit.stages.training, "SAVE_EVERY_S", 0.0)
    training = lavit.build.locate(config.tokenizer.training)
    straight = training.loss

    def dies(self: object, batch: object, step: int) -> object:
        if step == 3:
            raise RuntimeError("power cut")
        return straight(self, batch, step)

    monkeypatch.setattr(training, "loss", dies)
    with pytest.raises(RuntimeError, match="power cut"):
        lavit.stages.tokenizer.run(context)
    monkeypatch.setattr(training, "loss", straight)
    lavit.stages.tokenizer.run(context)
    for name in ("tokenizer.safetensors", "tokens-train.safetensors", "metrics.json", "history.jsonl"):
        assert (kept / name).read_bytes() == (tmp_path / name).read_bytes(), name


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_inspected_like_any_other(kind: str, stages: Stages, tmp_path: Path) -> None:
    config = whole(tokenizer=kind)
    inputs = {name: stages.run(config, name) for name in ("vision", "pixels", "tokenizer")}
    suite = {
        "name": "own",
        "benchmarks": {
            "tokenizer": {
                "_target_": "evals.benchmarks.tokenizer.TokenizerFidelity",
                "split": "test",
                "count": 8,
                "batch": 4,
            }
        },
    }
    own = OmegaConf.create({"data": read(config, "tokenizer")["data"], "suite": suite})
    evals.inspection.run(StageContext("inspect", own, 0, inputs, tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["tokenizer/kept"] == TOKENS[kind]
    assert {"tokenizer/cosine_objects", "tokenizer/psnr", "tokenizer/codes_used"} <= set(metrics)
    assert json.loads((tmp_path / "kept_histogram.json").read_text()) == {"tokenizer": {str(TOKENS[kind]): 8}}


def training(*also: str) -> tuple[DictConfig, type]:
    return OmegaConf.create(read(whole(*also, tokenizer="seed"), "tokenizer")), QueryTokenizerTraining


def test_the_contrast_moves_the_former_alone_and_may_freeze_it(stages: Stages) -> None:
    config, kind = training("tokenizer.contrast.share=0.5", "tokenizer.warmup=0.5", "tokenizer.freeze_former=true")
    vision_dir = stages.run(whole(), "vision")
    torch.manual_seed(0)
    made = kind(config, data.build(config.data), vision.load(vision_dir), None, 0)
    moved = []
    for step in (0, made.contrast_until):
        made.zero_grad(set_to_none=True)
        made.loss(made.batch(step), step)[0].backward()
        moved.append({name.split(".")[1] for name, p in made.named_parameters() if p.grad is not None})
    assert "former" in moved[0]
    assert not {"decoder", "outputs", "quantizer"} & moved[0]
    assert {"decoder", "outputs", "quantizer"} <= moved[1]
    assert "former" not in moved[1]


def test_what_cannot_be_is_refused(stages: Stages) -> None:
    vision_dir = stages.run(whole(), "vision")
    for also, told in (
        (["tokenizer.freeze_former=true"], "would stay as it was drawn"),
        (["tokenizer.contrast.share=0.6"], "ends before tokenizer.contrast.share=0.6"),
    ):
        config, kind = training(*also)
        with pytest.raises(LavitError, match=told):
            kind(config, data.build(config.data), vision.load(vision_dir), None, 0)
    raw = whole("tokenizer.quantizer.l2_norm=false", tokenizer="vqgan", target="continuous")
    with pytest.raises(LavitError, match="regresses vectors of unit length"):
        stages.run(raw, "pretrain")
    folders = stages.arm(whole(tokenizer="vqgan", visual_input="continuous", target="discrete"))
    asked = {"data": OmegaConf.to_container(whole().data, resolve=True), "suite": {}}
    with pytest.raises(EvaluationError, match="paints its drawings itself"):
        rejudge(asked, folders, Path("nowhere"), 0, Path("nowhere"))
