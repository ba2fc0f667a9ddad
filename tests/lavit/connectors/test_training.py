"""Every connector that sees an image whole, or its LLM, trains as an arm, and is priced at what it measures."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from tiny_stages import Stages, needs, question, read, whole
from torch import Tensor

from lavit.build import locate
from lavit.connectors.image import ImageConnector
from lavit.count import count
from lavit.errors import LavitError
from lavit.pricing import connectors, text
from lavit.stages import pretrain
from lavit.stages.arm import ArmModule
from lavit.stages.context import StageContext

SHORT = ("train.steps=2", "train.curve.captions=2", "train.curve.questions=2")
CONF = Path(__file__).parents[3] / "conf/connector"


def seeing_images_whole() -> list[str]:
    files = sorted(CONF.glob("*.yaml"))
    return [file.stem for file in files if issubclass(locate(OmegaConf.load(file)._target_), ImageConnector)]


def kinds() -> list[object]:
    """All of them; every run knows one of each kind: with the LLM's weights, with attention, with convolutions."""
    quick = ("align_vlm", "resampler", "c_abstractor")
    others = [name for name in seeing_images_whole() if name not in quick]
    return [*quick, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]


def price_of(config: DictConfig) -> dict[str, float]:
    """The ledger that pre-training is planned with."""
    asked = question(config, "pretrain")
    return asdict(text.arm(asked["config"], dict(asked["inputs"]), "meta").ledger())


@pytest.mark.parametrize("connector", kinds())
def test_it_trains_as_an_arm_at_the_price_that_was_planned(connector: str, stages: Stages) -> None:
    config = whole(*SHORT, connector=connector, tokens="fixed")
    assert price_of(config) == pytest.approx(stages.ledger(config, "pretrain"), rel=1e-9)


def test_the_first_stage_is_priced_and_its_queries_are_what_pre_training_begins_with(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = whole(connector="qformer_two_stage", tokens="fixed")
    folder = stages.run(config, "qformer")
    price = count(question(config, "qformer"))
    assert price["ledger"] == pytest.approx(stages.ledger(config, "qformer"), rel=1e-9)
    assert price["memory"]["peak"] > price["memory"]["parameters"]
    begun: dict[str, Tensor] = {}

    def look(module: ArmModule, *_: object) -> None:
        begun.update(module.model.state_dict())

    monkeypatch.setattr("lavit.stages.pretrain.train_phase", look)
    inputs = {need: stages.run(config, need) for need in needs(config, "pretrain")}
    pretrain.run(StageContext("pretrain", OmegaConf.create(read(config, "pretrain")), 0, inputs, tmp_path))
    for name, value in load_file(folder / "connector.safetensors").items():
        assert torch.equal(begun[f"connector.{name}"], value), name


@pytest.mark.slow
def test_a_first_stage_learns_which_text_belongs_to_which_image() -> None:
    config = whole(connector="qformer_two_stage", tokens="fixed")
    asked = question(config, "qformer")
    torch.manual_seed(0)
    module = connectors.qformer(asked["config"], dict(asked["inputs"]), "cpu").module
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    pairs = module.batch(0)  # random features with real captions: they can only be learned by heart
    begun: dict[str, float] = {}
    for step in range(220):
        loss, losses = module.loss(pairs, step)
        begun = begun or {name: value.item() for name, value in losses.items()}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ended = {name: value.item() for name, value in losses.items()}
    assert ended["itc"] < 0.6 < begun["itc"]  # its smoothed labels leave 0.47
    assert ended["itm"] < 0.1 < begun["itm"]
    assert ended["itg"] < 0.1 < begun["itg"]


def test_a_first_stage_is_run_where_there_is_one() -> None:
    assert "qformer" in needs(whole(connector="qformer_two_stage", tokens="fixed"), "pretrain")
    assert "qformer" not in needs(whole(connector="qformer", tokens="fixed"), "pretrain")
    assert "qformer" not in needs(whole(), "pretrain")


def test_a_first_stage_without_negatives_or_with_an_unknown_loss_is_refused() -> None:
    for wrong, named in (("batch=1", "first_stage.batch=1"), ("losses.mlm=1.0", "losses.mlm")):
        config = whole(f"connector.first_stage.{wrong}", connector="qformer_two_stage", tokens="fixed")
        with pytest.raises(LavitError, match=named):
            count(question(config, "qformer"))


@pytest.mark.slow
def test_an_arm_of_the_published_size_is_priced_with_a_connector_that_sees_an_image_whole() -> None:
    config = whole(connector="resampler", tokens="fixed")
    config.scale = OmegaConf.load(CONF.parent / "scale/7b.yaml")
    config.scale.world.examples = {"train": 4096, "val": 32, "test": 32, "held_out_combinations": 8}
    config.scale.train.update({"captions": 8, "text": 8, "generation": 8})
    found = price_of(config)
    assert 6.7e9 < found["params_total"] < 7.5e9
    assert found["flops"] > 1e15
