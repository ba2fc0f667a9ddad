"""Several processes train as one would: the loss, the weights and the curves of the same global batch."""

import itertools
import json
import multiprocessing
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_stages import Stages, read, whole

from lavit.errors import LavitError
from lavit.stages import pretrain, processes, training
from lavit.stages.context import Preempted, StageContext
from lavit.stages.processes import TrainerConfig
from lavit.stages.training import OptimizerConfig, StageModule, fit, step_generator

STEPS, BATCH = 40, 6


class Shared(StageModule):
    """A line over sequences of unequal length: the loss is a mean over the words of the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(1, dtype=torch.float64))

    def batch(self, step: int) -> list[torch.Tensor]:
        draw = step_generator(1, step)
        lengths = torch.randint(1, 9, (BATCH,), generator=draw)
        return processes.share([torch.randn(int(length), 4, generator=draw) for length in lengths])

    def loss(self, batch: list[torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, float]]:
        words = torch.cat(batch)
        count = torch.tensor([float(len(words))], dtype=torch.float64)
        everywhere = processes.total(count)
        self.seen += everywhere
        total = (self.line(words) - words.flip(1)).square().mean(-1).sum() / float(everywhere)
        return total, {"words": float(count)}

    def validate(self, step: int) -> dict[str, float]:
        return {"norm": float(self.line.weight.norm())}

    def cumulative(self) -> dict[str, float]:
        return {"flops": float(self.seen)}


def train(out: Path, trainer: TrainerConfig, method: str = "muon", **options: object) -> Shared:
    out.mkdir(parents=True, exist_ok=True)
    module = Shared()
    optimizer = OptimizerConfig(lr=0.02, warmup=5, method=method, clip=0.5)
    context = StageContext("toy", OmegaConf.create({}), 0, {}, out, **options)
    return fit(module, context, STEPS, optimizer, validate_at=(20,), trainer_config=trainer)


def in_group(folder: Path, work: Callable[[int], None], size: int = 2) -> list[str]:
    """Run ``work(rank)`` in forked processes that form a group; returns what went wrong in each ("" for nothing)."""
    folder.mkdir(parents=True, exist_ok=True)
    queue = multiprocessing.get_context("fork").SimpleQueue()

    def rank_main(rank: int) -> None:
        import os

        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "GROUP_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "GLOO_SOCKET_IFNAME": "lo"}
        torch.set_num_threads(1)
        trouble = ""
        try:
            torch.distributed.init_process_group(
                "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size
            )
            work(rank)
        except BaseException:
            trouble = traceback.format_exc()
        queue.put((rank, trouble))
        os._exit(0)

    ranks = [multiprocessing.get_context("fork").Process(target=rank_main, args=(rank,)) for rank in range(size)]
    for process in ranks:
        process.start()
    found = dict(queue.get() for _ in ranks)
    for process in ranks:
        process.join(10)
        assert not process.is_alive()
    return [found[rank] for rank in range(size)]


@pytest.mark.parametrize(("strategy", "method"), [("ddp", "muon"), ("fsdp", "adamw")])
def test_two_processes_end_with_the_weights_and_curves_of_one(tmp_path: Path, strategy: str, method: str) -> None:
    one = train(tmp_path / "one", TrainerConfig(), method)

    def work(rank: int) -> None:
        from lavit.stages.strategies import whole

        module = train(tmp_path / "two", TrainerConfig(2, strategy, "cpu"), method)
        weights = {name: whole(value) for name, value in module.state_dict().items()}
        torch.save(weights, tmp_path / f"weights-{rank}.pt")

    assert in_group(tmp_path / "group", work) == ["", ""]
    for rank in range(2):
        two = torch.load(tmp_path / f"weights-{rank}.pt")
        for name, value in one.state_dict().items():
            torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6)
    points = [
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(points[0]) == STEPS // 10
    for alone, shared in zip(*points, strict=True):
        assert shared == pytest.approx(alone, rel=1e-5)
        assert shared["flops"] == alone["flops"]


@pytest.mark.parametrize(("strategy", "method"), [("ddp", "muon"), ("fsdp", "adamw")])
def test_a_group_that_was_asked_to_stop_goes_on_with_the_same_bits(
    tmp_path: Path, strategy: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 1e9)
    devices = TrainerConfig(2, strategy, "cpu")

    def whole(rank: int) -> None:
        train(tmp_path / "whole", devices, method)

    def stopped(rank: int) -> None:
        steps = itertools.count(1)
        with pytest.raises(Preempted, match="saved step 13"):  # one process is asked, both stop
            train(tmp_path / "parts", devices, method, stop_requested=lambda: next(steps) == 13 and rank == 1)
        assert (tmp_path / "parts/resume/state.safetensors").exists()

    def rest(rank: int) -> None:
        train(tmp_path / "parts", devices, method)

    for number, work in enumerate((whole, stopped, rest)):
        assert in_group(tmp_path / f"group-{number}", work) == ["", ""]
    assert (tmp_path / "whole/history.jsonl").read_bytes() == (tmp_path / "parts/history.jsonl").read_bytes()


def test_what_a_group_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LavitError, match=r"trainer\.devices=2, but 1 processes") as error:
        train(tmp_path, TrainerConfig(2))
    assert "lavit run" in error.value.remedy


def test_batches_made_ahead_change_nothing(tmp_path: Path) -> None:
    def finished(workers: int) -> dict[str, torch.Tensor]:
        out = tmp_path / str(workers)
        out.mkdir()
        context = StageContext("toy", OmegaConf.create({}), 0, {}, out)
        return fit(Shared(), context, STEPS, OptimizerConfig(lr=0.01), workers=workers).state_dict()

    here, ahead = finished(0), finished(2)
    assert all(torch.equal(here[name], ahead[name]) for name in here)
    assert (tmp_path / "0/history.jsonl").read_bytes() == (tmp_path / "2/history.jsonl").read_bytes()


CASES = {
    "late": ["train.vision.start=0.5"],  # two steps of text: neither connector nor head is used
    "connector": ["train.vision.start=0.5", "regime.pretrain.learns=[connector]"],  # and nothing else learns
}


@pytest.mark.parametrize("case", CASES)
def test_blocks_that_get_no_gradient_do_not_stop_a_group(case: str, tmp_path: Path, stages: Stages) -> None:
    common = [*CASES[case], "optimizer.method=adamw"]
    config = whole(*common, regime="unified", llm="frozen")
    one = load_file(stages.run(config, "pretrain") / "model.safetensors")
    inputs = {need: stages.run(config, need) for need in ("vision", "language", "tokenizer")}
    shared = whole(*common, "trainer.accelerator=cpu", regime="unified", llm="frozen", trainer="ddp")
    own = OmegaConf.create(read(shared, "pretrain"))
    out = tmp_path / "shared"
    out.mkdir()

    def work(rank: int) -> None:
        pretrain.run(StageContext("pretrain", own, 0, inputs, out))

    assert in_group(tmp_path / "group", work) == ["", ""]
    together = load_file(out / "model.safetensors")
    assert together.keys() == one.keys()
    for name, value in one.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-4)
