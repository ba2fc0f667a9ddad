"""Every stage resumes to the bit: killed with SIGKILL and run again, its files are those of one left alone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from lavit.stages import training
from lavit.stages.context import StageContext

STAGES = ("vision", "language", "pixels", "tokenizer", "pretrain", "cooldown")
LONG = 200  # steps, where there is time


@dataclass
class Made:
    """A stage to run: its function, its config and the finished folders that it needs."""

    name: str
    run: str
    config: DictConfig
    seed: int
    inputs: dict[str, Path]

    def into(self, out: Path, dies_at: int | None = None) -> None:
        """Run it in a process of its own, which kills itself after ``dies_at`` steps, as a power cut would."""

        def work() -> None:
            torch.set_num_threads(1)
            training.SAVE_EVERY_S = 0.0
            module, _, function = self.run.rpartition(".")

            def progress(step: int, total: int, metrics: dict[str, float]) -> None:
                if step == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)

            torch.manual_seed(self.seed)
            getattr(import_module(module), function)(
                StageContext(self.name, self.config, self.seed, self.inputs, out, progress)
            )
            os._exit(0)

        out.mkdir(parents=True, exist_ok=True)
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == (0 if dies_at is None else -signal.SIGKILL)


def files(out: Path) -> dict[str, bytes]:
    """What a stage left, apart from what it goes on from."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


def assert_resumes(stage: Made, tmp_path: Path, dies_at: tuple[int, ...]) -> None:
    whole, died = tmp_path / "whole", tmp_path / "died"
    stage.into(whole)
    for step in dies_at:
        stage.into(died, step)
    stage.into(died)
    one, other = files(whole), files(died)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Stages of the smallest scale, ready to run; what they need is made once."""
    from experiments.plan import single_arm_plan

    root = tmp_path_factory.mktemp("needs")

    def make(name: str, *overrides: str, steps: int = LONG) -> Made:
        at = [f"scale.steps.{name}={steps}", "scale.world.examples.train=96", f"runs={root}", *overrides]
        plan = single_arm_plan(["scale=smoke", *at, "seed=3"])
        jobs = {job.stage: job for job in plan.jobs.values()}

        def made(stage: str) -> Made:
            job = jobs[stage]
            inputs = {need: finished(need) for need in job.needs}
            return Made(stage, job.run, OmegaConf.create(job.config), job.seed, inputs)

        def finished(stage: str) -> Path:
            out = root / stage / jobs[stage].key
            if not out.is_dir():
                made(stage).into(out)
            return out

        return made(name)

    return make


@pytest.fixture
def tokenizer(make_visual_config: Callable[..., DictConfig], finished_vision: Path) -> Made:
    """The stage with most to remember: moving averages, revived codes, an annealed rate, phases that freeze parts."""
    config = make_visual_config("tokenizer", scale__steps__tokenizer=36, tokenizer__quantizer__dead_below=0.9)
    return Made("tokenizer", "lavit.stages.tokenizer.run", config, 0, {"vision": finished_vision})


def test_a_killed_tokenizer_ends_with_the_same_bits(tokenizer: Made, tmp_path: Path) -> None:
    assert_resumes(tokenizer, tmp_path, dies_at=(7, 17, 33))


def test_a_torn_or_altered_state_is_told_and_not_gone_on_from(
    tokenizer: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from lavit.stages.state import resume_point

    tokenizer.into(tmp_path / "died", 20)
    state = tmp_path / "died/resume/state.safetensors"
    content = state.read_bytes()
    assert resume_point(state)[0] == 19
    altered = bytearray(content)
    altered[-5] ^= 1
    with caplog.at_level(logging.WARNING, "lavit"):
        for torn in (content[: len(content) // 2], content[:5], b"", bytes(altered)):
            state.write_bytes(torn)
            assert resume_point(state) == (0, {})
            assert "state.safetensors" in caplog.text and "begins afresh" in caplog.text
            caplog.clear()
    tokenizer.into(tmp_path / "whole")
    tokenizer.into(tmp_path / "died")
    assert files(tmp_path / "whole") == files(tmp_path / "died")


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_is_killed_half_way_ends_with_the_same_bits(
    name: str, stages: Callable[..., Made], tmp_path: Path
) -> None:
    assert_resumes(stages(name), tmp_path, dies_at=(LONG // 2 + 1,))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("pixels", ("pixels=unet",)),
        ("pretrain", ("llm=frozen", "target=continuous", "optimizer=adamw")),
        ("pretrain", ("train.workers=1",)),
        ("tokenizer", ("tokenizer.quantizer.learn=gradient", "tokenizer.order=freeze")),
        ("tokenizer", ("tokens=random",)),
    ],
)
def test_a_variant_that_is_killed_twice_ends_with_the_same_bits(
    name: str, overrides: tuple[str, ...], stages: Callable[..., Made], tmp_path: Path
) -> None:
    if "pixels=unet" in overrides:
        pytest.importorskip("diffusers")
    assert_resumes(stages(name, *overrides, steps=40), tmp_path, dies_at=(3, 25))
