"""Arms of every target as stages: priced at what they measure, evaluated, and drawing by their own path."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tiny_stages import Stages, question, whole

from lavit.count import count
from lavit.errors import LavitError
from lavit.model import load
from lavit.model.draw_settings import DrawSettings
from lavit.stages.training import TrainingError

EMU = {"target": "emu", "connector": "causal_former", "tokens": "fixed"}
ARMS = {
    "emu": EMU,
    "feature": {"target": "feature", "tokens": "pooled"},
    "cosine": {"target": "cosine", "tokens": "dynamic"},
}
SLOTS = "connector.tokens=4"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name", ["emu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("feature", "cosine"))]
)
def test_an_arm_is_priced_at_what_it_measures_and_draws(name: str, stages: Stages) -> None:
    config = whole(*([SLOTS] if name == "emu" else []), **ARMS[name])
    price, measured = count(question(config, "pretrain")), stages.ledger(config, "pretrain")
    if name == "cosine":  # how many tokens a learned selector keeps is known after training
        assert price["params_total"] == measured["params_total"]
    else:
        assert price["ledger"] == pytest.approx(measured, rel=1e-9)
    arm = load(stages.arm(config))
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    assert len(arm.caption(arm.encode(images), 3)) == 3
    drawn = arm.draw(["a red circle", ["like this", images[0], "in blue"]], seed=1)
    assert drawn.images.shape == (2, 32, 32, 3)
    ceiling = arm.reconstruct(images)
    assert ceiling.images.shape == images.shape and bool(torch.isfinite(ceiling.features).all())
    if name == "emu":
        assert drawn.tokens.max() <= 4 and ceiling.tokens.tolist() == [4, 4, 4]
        whole_images = arm.draw(["a red circle"], settings=DrawSettings(min_tokens=4, guidance=2.0))
        assert whole_images.tokens.tolist() == [4]
    if name == "feature":  # nothing is lost on the way through the features: the same as from the tokenizer's vectors
        tokens = arm.tokenizer.encode(images)
        exact = arm.tokenizer.decode(tokens.vectors_BKD, tokens.places_BK, tokens.mask_BK)
        assert torch.allclose(ceiling.features, exact, atol=1e-5)


def test_a_target_that_the_connector_learns_is_watched_and_one_that_stands_still_is_not(stages: Stages) -> None:
    folder = stages.run(whole(SLOTS, **EMU), "pretrain")
    assert "visual_variance" in (folder / "history.jsonl").read_text()
    assert "visual_rank" in (folder / "history.jsonl").read_text()
    with pytest.raises(TrainingError, match="target has collapsed"):
        stages.run(whole(SLOTS, "target.collapse_below=2", **EMU), "pretrain")
    still = ("target.collapse_below=2", "regime.pretrain.learns=[llm,rows,head]")
    assert stages.run(whole(SLOTS, *still, **EMU), "pretrain").exists()


def test_combinations_that_cannot_be_are_refused_before_training(stages: Stages) -> None:
    for groups, also, named in (
        ({**EMU, "connector": "mlp"}, (), "causal_former"),
        ({**EMU, "tokens": "dynamic"}, (SLOTS,), "tokens=fixed"),
        (EMU, (SLOTS, "target.stop_gradient=false"), "target=collapse"),
        ({"target": "continuous", "tokens": "dynamic"}, ("target.end=full",), "target.end=class"),
    ):
        with pytest.raises(LavitError) as error:
            stages.run(whole(*also, **groups), "pretrain")
        assert named in str(error.value)
