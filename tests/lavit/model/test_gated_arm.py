"""An arm with gates behind the public protocol, and from the shipped config: trained, priced, evaluated, refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gated_arm import make
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_arm import BUILDER, TEXTS, Cells
from tiny_stages import CONF, Stages, question, read, whole

from evals.stage import run
from lavit.count import count
from lavit.errors import LavitError
from lavit.model.decoding import generate_text
from lavit.model.text_settings import TextSettings
from lavit.model.vision_language import Arm
from lavit.sequences import collate
from lavit.stages.context import StageContext

SETTINGS = TextSettings(max_new=7)
TEXT = {"regime": "adapter", "entry": "gated"}
FROZEN = TEXT | {"tokens": "fixed", "llm": "frozen"}


@pytest.fixture(scope="module", params=["gated", "hybrid"])
def arm(request: pytest.FixtureRequest) -> Arm:
    images = SimpleNamespace(image_size=3)
    return Arm(make(request.param, opened=0.8), BUILDER.text, images, Cells(), torch.nn.Identity())  # type: ignore[arg-type]


def test_an_arm_reads_texts_and_images_as_they_come(arm: Arm, pictures: np.ndarray) -> None:
    one, two = pictures
    visual = arm.encode(pictures)
    first, second = visual.entering()
    parts = [["a red", first, "and", second, "green"], ["a red", second, "and", first, "green"]]
    rows = [BUILDER.interleaved(row, written=False) for row in parts]
    expected = [
        BUILDER.text.decode(generate_text(arm.model, [r], visual.store, SETTINGS, BUILDER.text.eos)[0]) for r in rows
    ]
    asked = [["a red", one, "and", two, "green"], ["a red", two, "and", one, "green"]]
    assert arm.complete(asked, SETTINGS) == expected and expected[0] != expected[1]
    assert arm.answer(visual, TEXTS[:2], SETTINGS) != arm.answer(None, TEXTS[:2], SETTINGS)
    assert arm.answer(visual[np.array([1, 0])], TEXTS[:2], SETTINGS) != arm.answer(visual, TEXTS[:2], SETTINGS)
    assert visual.tokens_B.tolist() == [count for _, count in visual.rows()], "embeddings beside count as tokens"


def test_likelihoods_see_the_images_that_training_sees(arm: Arm, pictures: np.ndarray) -> None:
    one, two = pictures
    visual = arm.encode(pictures)
    first, second = visual.entering()
    found = arm.nll([["blue", one, "and", two], ["blue", two, "and", one], "blue"], ["a red circle"] * 3)
    for (total, number), parts in zip(
        found, (["blue", first, "and", second], ["blue", second, "and", first]), strict=False
    ):
        row = BUILDER.interleaved(parts, written=False)
        row.text(BUILDER.text.encode("a red circle"), 1.0)
        batch = collate([row])
        with torch.no_grad():
            losses = arm.model.text_loss(arm.model.hidden(batch, visual.store), batch)
        assert number == len(losses) and total == pytest.approx(float(losses.sum()), rel=1e-5)
    assert found[0][0] != pytest.approx(found[1][0], rel=1e-3)


@pytest.mark.parametrize("beams", [1, 3])
def test_transformers_generate_sees_the_images(arm: Arm, pictures: np.ndarray, beams: int) -> None:
    from evals.harness.generation import Settings, write_text

    tokens, visual = arm.tokens(), arm.encode(pictures)
    rows = [
        BUILDER.interleaved(parts, written=False)
        for parts in (["a red", visual.entering()[0], "and"], ["blue", visual.entering()[1]])
    ]
    settings = Settings(until=(), most=6, sample=False, options=(("num_beams", beams),))
    written = write_text(tokens, rows, visual, settings)
    ours = TextSettings(max_new=6, beams=beams)
    assert written == [
        BUILDER.text.decode(ids) for ids in generate_text(arm.model, rows, visual.store, ours, BUILDER.text.eos)
    ]


@pytest.mark.parametrize(
    ("groups", "stage"),
    [
        (FROZEN, "pretrain"),
        ({"entry": "hybrid"}, "pretrain"),
        pytest.param(TEXT, "pretrain", marks=pytest.mark.slow),
        pytest.param(TEXT | {"regime": "align_sft", "visual_input": "discrete"}, "tune", marks=pytest.mark.slow),
    ],
)
def test_the_price_of_gates_is_what_they_measure(groups: dict[str, str], stage: str, stages: Stages) -> None:
    config = whole(**groups)
    price = count(question(config, stage))
    measured = stages.ledger(config, stage)
    assert price["ledger"] == pytest.approx(measured, rel=1e-9)
    assert price["memory"]["peak"] > 0


def test_gates_cost_flops_but_no_positions() -> None:
    inside, beside, both = (
        count(question(whole(regime="adapter", entry=e, tokens="fixed"), "pretrain"))["ledger"]
        for e in ("in_sequence", "gated", "hybrid")
    )
    images = inside["examples_understanding"]
    assert inside["positions"] - beside["positions"] == images * 16
    assert both["positions"] == inside["positions"] and both["flops"] > inside["flops"]
    assert both["params_total"] == beside["params_total"] > inside["params_total"]
    assert beside["supervised_text_tokens"] == inside["supervised_text_tokens"]


def test_a_trained_arm_keeps_a_frozen_llm_and_is_evaluated(stages: Stages, tmp_path: Path) -> None:
    config = whole(**FROZEN)
    folders = stages.arm(config)
    weights = load_file(folders["cooldown"] / "model.safetensors")
    assert json.loads((folders["cooldown"] / "config.json").read_text())["entry"]["name"] == "gated"
    llm = load_file(folders["language"] / "llm.safetensors")
    assert all(torch.equal(weights[f"llm.{name}"], tensor) for name, tensor in llm.items())
    assert all(bool(weights[name].any()) for name in weights if name.endswith("_gate"))
    parts = {
        name: OmegaConf.load(CONF / file)
        for name, file in (("scale", "scale/smoke.yaml"), ("suite", "suite/core.yaml"))
    }
    suite = OmegaConf.to_container(OmegaConf.create(parts), resolve=True)["suite"]
    given = OmegaConf.create({"data": read(config, "cooldown")["data"], "suite": suite})
    run(StageContext("evaluate", given, 0, folders, tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"caption/CIDEr", "vqa/accuracy", "vqa/accuracy@vision_off"} <= set(metrics), sorted(metrics)


@pytest.mark.parametrize(
    ("groups", "refused"),
    [
        ({"regime": "unified"}, r"entry=gated .* regime\.pretrain\.generation with target=discrete"),
        ({"regime": "joint_text", "target": "continuous"}, r"regime\.tune\.generation with target=continuous"),
        ({"regime": "joint_text", "target": "none"}, None),
    ],
)
def test_images_that_are_written_need_a_place_in_the_sequence(groups: dict[str, str], refused: str | None) -> None:
    asked = question(whole(entry="gated", **groups), "cooldown")
    if refused is None:
        assert count(asked)["ledger"]["examples_generation"] == 0
        return
    with pytest.raises(LavitError, match=refused) as caught:
        count(asked)
    assert "entry=hybrid" in str(caught.value)
