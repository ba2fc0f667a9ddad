"""The training loop: interrupted training ends with the same bits, and trouble is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lavit.stages import training
from lavit.stages.context import Preempted, StageContext
from lavit.stages.order import DataOrder
from lavit.stages.training import OptimizerConfig, StageModule, TrainingError, fit, save_state, step_generator


class Regression(StageModule):
    """A line fitted to noise drawn by the step; may die at a step."""

    def __init__(self, dies_at: int | None = None, poison_at: int | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(4, 4)
        self.dies_at, self.poison_at = dies_at, poison_at
        self.register_buffer("seen", torch.zeros(1, dtype=torch.float64))

    def parameter_groups(self) -> list[dict]:
        return [{"params": [self.line.weight], "orthogonal": True}, {"params": [self.line.bias]}]

    def batch(self, step: int) -> torch.Tensor:
        return torch.randn(8, 4, generator=step_generator(1, step))

    def loss(self, batch: torch.Tensor, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        if step == self.dies_at:
            raise OSError("pulled the plug")
        if step == self.poison_at:
            batch = batch * float("nan")
        self.seen += len(batch)
        return (self.line(batch) - batch.flip(1)).square().mean(), {"step_seen": float(step)}

    def validate(self, step: int) -> dict[str, float]:
        return {"norm": float(self.line.weight.norm())}

    def cumulative(self) -> dict[str, float]:
        return {"flops": float(self.seen)}


def context(out: Path) -> StageContext:
    out.mkdir(parents=True, exist_ok=True)
    return StageContext("toy", OmegaConf.create({}), 0, {}, out)


@pytest.fixture(autouse=True)
def save_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "cooldown"])
@pytest.mark.parametrize("method", ["adamw", "muon"])
@pytest.mark.parametrize("dies_at", [3, 27, 45])
def test_training_that_died_ends_with_the_bits_of_training_that_did_not(
    tmp_path: Path, schedule: str, method: str, dies_at: int
) -> None:
    optimizer = OptimizerConfig(lr=0.01, warmup=5, schedule=schedule, method=method)
    whole = fit(Regression(), context(tmp_path / "whole"), 60, optimizer, validate_at=(20, 60))
    with pytest.raises(OSError, match="plug"):
        fit(Regression(dies_at), context(tmp_path / "died"), 60, optimizer, validate_at=(20, 60))
    again = fit(Regression(), context(tmp_path / "died"), 60, optimizer, validate_at=(20, 60))
    for (name, one), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert (tmp_path / "whole/history.jsonl").read_bytes() == (tmp_path / "died/history.jsonl").read_bytes()


@pytest.mark.parametrize("stops_at", [3, 27, 40])
def test_training_that_was_asked_to_stop_saves_at_once_and_ends_with_the_same_bits(
    tmp_path: Path, stops_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 1e9)
    optimizer = OptimizerConfig(lr=0.01, warmup=5)
    whole = fit(Regression(), context(tmp_path / "whole"), 60, optimizer, validate_at=(20, 60))
    asked: list[bool] = []
    stopping = replace(
        context(tmp_path / "stopped"), stop_requested=lambda: asked.append(True) or len(asked) == stops_at
    )
    with pytest.raises(Preempted, match=f"saved step {stops_at}"):
        fit(Regression(), stopping, 60, optimizer, validate_at=(20, 60))
    rest = Regression(dies_at=stops_at - 1)  # would die if a step were taken twice
    again = fit(rest, context(tmp_path / "stopped"), 60, optimizer, validate_at=(20, 60))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    assert (tmp_path / "whole/history.jsonl").read_bytes() == (tmp_path / "stopped/history.jsonl").read_bytes()


def test_a_line_cut_off_by_the_crash_is_dropped(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="plug"):
        fit(Regression(35), context(tmp_path), 60, OptimizerConfig(lr=0.01))
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"step": 30, "train/lo')
    fit(Regression(), context(tmp_path), 60, OptimizerConfig(lr=0.01))
    steps = [json.loads(line)["step"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert steps == [10, 20, 30, 40, 50, 60]


def test_a_cooldown_goes_on_from_the_trunk_with_its_moments_and_its_data(tmp_path: Path) -> None:
    kept = tmp_path / "trunk.safetensors"
    trunk = Regression()
    fit(
        trunk,
        context(tmp_path / "trunk"),
        20,
        OptimizerConfig(lr=0.01, warmup=0),
        on_finish=lambda optimizer: save_state(kept, trunk, optimizer, 20),
    )
    options = OptimizerConfig(lr=0.01, warmup=0, schedule="constant")
    branch = fit(Regression(), context(tmp_path / "branch"), 10, options, first_step=20, warm_start=kept)
    straight = fit(Regression(), context(tmp_path / "straight"), 30, options)
    assert torch.equal(branch.line.weight, straight.line.weight)
    last = json.loads((tmp_path / "branch/history.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 30 and last["flops"] == 30 * 8


def test_the_same_state_is_the_same_file(tmp_path: Path) -> None:
    module = Regression()
    for number in range(8):
        save_state(tmp_path / f"{number}.safetensors", module, None, 3, {"loss": 1.0})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1, "a stage made again has the same checksums"


def test_a_loss_that_is_not_finite_names_stage_and_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"stage toy: the loss is nan at step 8"):
        fit(Regression(poison_at=7), context(tmp_path), 20, OptimizerConfig(lr=0.01))


def test_the_data_order_is_a_function_of_seed_and_step_and_visits_everything_once_an_epoch() -> None:
    order = DataOrder(10, seed=4, purpose=0)
    forward = [order.take(step, 4) for step in range(10)]
    backward = [DataOrder(10, seed=4, purpose=0).take(step, 4) for step in reversed(range(10))]
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    stream = np.concatenate(forward)
    for epoch in range(4):
        assert sorted(stream[epoch * 10 : (epoch + 1) * 10]) == list(range(10))
    assert not np.array_equal(forward[0], DataOrder(10, seed=5, purpose=0).take(0, 4))
