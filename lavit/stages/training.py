"""One training loop for every stage: Lightning drives it, the step decides the data, and nothing is lost when it dies.

A stage trains by subclassing :class:`StageModule` (what a batch is, what the loss is) and calling :func:`fit`.
Budgets are optimizer steps, never time. The batch and every random draw of a step are functions of (seed, step),
so an interrupted stage that goes on from its last saved step ends with the same bits as one that was left alone.
"""

from __future__ import annotations

import json
import logging
import math
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from lavit.stages import processes
from lavit.stages.context import Preempted, StageContext
from lavit.stages.muon import Muon
from lavit.stages.processes import TrainerConfig
from lavit.stages.state import load_state, resume_point, save_state, truncate_history
from lavit.stages.strategies import shard, strategy_options

SAVE_EVERY_S = 5.0  # an interrupted stage loses at most this much work
HISTORY_EVERY = 10  # steps between two points of the training curves
GLOBAL = 1_000_000  # purpose of the seeds of the global generators, one for each process


class TrainingError(RuntimeError):
    """Training cannot go on (a loss that is not finite, for instance); says in which stage and at which step."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its schedule.

    Attributes:
        lr: peak learning rate; parameter groups may scale it by their own ``lr_scale``.
        method: ``adamw``, or ``muon`` for the groups that are marked ``orthogonal`` and AdamW for the others.
        orthogonal_lr_scale: with muon, the learning rate of those groups in units of the others'.
        weight_decay: decoupled weight decay of groups that do not set their own.
        betas: AdamW's decay rates.
        clip: largest gradient norm, 0 for no clipping.
        warmup: steps of linear warm-up.
        schedule: ``constant``, ``cosine`` (to zero over ``steps``) or ``cooldown`` (linear to zero over ``steps``).
    """

    lr: float
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    warmup: int = 20
    schedule: str = "constant"
    method: str = "adamw"
    orthogonal_lr_scale: float = 2.0

    def __post_init__(self) -> None:
        if self.method not in ("adamw", "muon"):
            raise ValueError(f"optimizer.method={self.method!r} is unknown; choose adamw or muon")

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the peak rate at local ``step`` of ``steps``."""
        ramp = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule == "constant":
            return ramp
        if self.schedule == "cosine":
            return ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
        if self.schedule == "cooldown":
            return ramp * max(0.0, 1 - step / max(1, steps))
        raise ValueError(f"optimizer.schedule={self.schedule!r} is unknown; choose constant, cosine or cooldown")


def step_generator(seed: int, step: int, purpose: int = 0) -> torch.Generator:
    """A CPU generator that depends on (seed, step, purpose) alone: what makes resuming exact."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + purpose * 0x94D049BB133111EB) % (2**63)
    mixed ^= mixed >> 31
    return torch.Generator().manual_seed((mixed * 0xD6E8FEB86659FD93) % (2**63))


def seed_step(seed: int, step: int) -> None:
    """Set the global generators for a step, so that a draw from them (a library's dropout) is exact after a restart."""
    number = step_generator(seed, step, GLOBAL + processes.rank()).initial_seed()
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


class StageModule(L.LightningModule):
    """A Lightning module whose data are a pure function of the step.

    Subclasses give :meth:`batch` and :meth:`loss`, and may give :meth:`parameter_groups` and :meth:`validate`. Where
    several processes train it, ``batch`` gives a process' share of the step's batch, and ``loss`` and its metrics are
    that share's part of the whole batch's: they add up to what one process would have found.
    """

    def batch(self, step: int) -> Any:
        """The batch of global ``step``."""
        raise TypeError(f"{type(self).__name__} does not define batch(step)")

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Any]]:
        """Scalar loss and the metrics to log of one batch."""
        raise TypeError(f"{type(self).__name__} does not define loss(batch, step)")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups; ``lr_scale`` multiplies a group's rate, ``orthogonal`` marks hidden matrices (for Muon)."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def validate(self, step: int) -> dict[str, float]:
        """Metrics at a validation point, in evaluation mode and without gradients."""
        return {}

    def cumulative(self) -> dict[str, float]:
        """What every curve point carries besides its step, e.g. the FLOPs so far."""
        return {}

    def after_step(self, step: int) -> None:
        """Called after the optimizer step: moving averages, restarts and the like."""

    def layers(self) -> Iterable[torch.nn.Module]:
        """Parts that are split over the devices one by one (``trainer.strategy=fsdp``); the rest is split as one."""
        return ()

    def configure_model(self) -> None:
        """Called by Lightning in every process, once the devices are known: split the weights where they are to be."""
        if self.trainer_config.strategy == "fsdp" and not self.split:
            assert self.device_mesh is not None
            shard(self, self.layers(), self.device_mesh["data_parallel"])
            self.split = True

    def training_step(self, item: int | tuple[int, Any], index: int) -> Tensor:
        """One optimizer step's loss; called by Lightning with the global step, or with the step and its batch."""
        step, batch = item if isinstance(item, tuple) else (item, self.batch(item))
        total, metrics = self.loss(batch, step)
        self.step_metrics = {"loss": total.detach(), **metrics}
        return (
            total * processes.size() if processes.size() > 1 else total
        )  # gradients are averaged, and are to be summed

    def configure_optimizers(self) -> Any:
        """The optimizer over :meth:`parameter_groups`, with the schedule that :func:`fit` was given."""
        config, steps, start = self.optimizer_config, self.local_steps, self.local_start
        groups = []
        for group in self.parameter_groups():
            options = dict(group)
            scale = options.pop("lr_scale", 1.0)
            if config.method == "muon" and options.get("orthogonal"):
                scale *= config.orthogonal_lr_scale
            groups.append({"lr": config.lr * scale, "weight_decay": config.weight_decay, **options})
        method = Muon if config.method == "muon" else torch.optim.AdamW
        optimizer = method(groups, betas=config.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: config.factor(start + step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # Set by fit() before Lightning asks for the optimizer.
    optimizer_config: OptimizerConfig
    trainer_config: TrainerConfig = TrainerConfig()
    split: bool = False
    local_steps: int = 0
    local_start: int = 0
    step_metrics: dict[str, Any]


class _Recorder(L.Callback):
    """Writes the curves, reports progress, validates, and saves what is needed to go on."""

    def __init__(self, context: StageContext, first: int, start: int, steps: int, validate_at: Collection[int]):
        self.context, self.first, self.steps = context, first, steps
        self.validate_at = set(validate_at)
        self.done = start
        self.lines: list[str] = []
        self.saved_at = time.monotonic()
        self.sums: dict[str, float] = {}
        self.count = 0
        self.keep_at: frozenset[int] = frozenset()
        self.keep: Callable[[int, torch.optim.Optimizer], None] | None = None

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        seed_step(self.context.seed, self.first + self.done)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        assert isinstance(module, StageModule)
        self.done += 1
        step = self.first + self.done
        module.after_step(step - 1)
        metrics, stopping, due = self._agree({name: float(value) for name, value in module.step_metrics.items()})
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        if not math.isfinite(metrics["loss"]):
            raise TrainingError(
                f"stage {self.context.stage}: the loss is {metrics['loss']} at step {step}. "
                "Lower optimizer.lr, or raise its warm-up."
            )
        point: dict[str, float] = {}
        if self.done % HISTORY_EVERY == 0 or self.done == self.steps:
            point.update({f"train/{name}": total / self.count for name, total in self.sums.items()})
            self.sums, self.count = {}, 0
        if self.done in self.validate_at:
            module.eval()
            with torch.no_grad():
                point.update({f"val/{name}": value for name, value in module.validate(step).items()})
            module.train()
        if point:
            self.lines.append(json.dumps({"step": step, **module.cumulative(), **point}))
        if self.keep is not None and self.done in self.keep_at:
            self.keep(self.done, trainer.optimizers[0])
        if processes.first():
            self.context.progress(self.done, self.steps, point)
        if self.done < self.steps and (stopping or due):
            self.flush()
            sums = {"count": self.count, "sums": self.sums}
            state = self.context.out / "resume" / "state.safetensors"
            save_state(state, module, trainer.optimizers[0], self.done, sums)
            self.saved_at = time.monotonic()
            if stopping:
                processes.wait()  # the first to leave ends the group, and the state is to be written by then
                raise Preempted(f"stage {self.context.stage} was asked to stop, and saved step {step}")

    def _agree(self, metrics: dict[str, float]) -> tuple[dict[str, float], bool, bool]:
        """Metrics of the whole batch, and whether to stop and to save: what every process has to decide alike."""
        stopping = self.context.stop_requested()
        due = processes.first() and time.monotonic() - self.saved_at > SAVE_EVERY_S
        if processes.size() == 1:
            return metrics, stopping, due
        *values, stop, save = processes.total(
            torch.tensor([*metrics.values(), float(stopping), float(due)], dtype=torch.float64)
        ).tolist()
        return dict(zip(metrics, values, strict=True)), stop > 0, save > 0

    def flush(self) -> None:
        """Append the finished points to history.jsonl."""
        if self.lines and processes.first():
            with open(self.context.out / "history.jsonl", "a") as file:
                file.write("\n".join(self.lines) + "\n")
        self.lines = []


def fit(
    module: StageModule,
    context: StageContext,
    steps: int,
    optimizer: OptimizerConfig,
    first_step: int = 0,
    validate_at: Collection[int] = (),
    warm_start: Path | None = None,
    precision: str = "32-true",
    on_finish: Callable[[torch.optim.Optimizer], None] | None = None,
    trainer_config: TrainerConfig | None = None,
    workers: int = 0,
    keep_at: Collection[int] = (),
    keep: Callable[[int, torch.optim.Optimizer], None] | None = None,
) -> StageModule:
    """Train ``module`` for ``steps`` optimizer steps, going on from an interrupted attempt where there is one.

    Args:
        module: what to train. Its ``batch`` is asked for steps ``first_step`` … ``first_step + steps - 1``.
        context: the stage's context; curves go to ``out/history.jsonl``, the resumable state to ``out/resume``.
        steps: optimizer steps of this stage.
        optimizer: method, rates and schedule; the schedule counts from this stage's first step.
        first_step: global step at which this stage begins (a cool-down goes on where its trunk stopped).
        validate_at: local steps after which ``module.validate`` is called.
        warm_start: a state file whose optimizer moments and weights to begin with (a cool-down's trunk).
        precision: Lightning's precision.
        on_finish: called with the optimizer after the last step (to save its moments), in every process.
        trainer_config: how many devices, and how they share the work; None for one.
        workers: processes that make batches ahead; they change no number.
        keep_at: local steps after which ``keep`` is called.
        keep: called with the local step and the optimizer, in every process.

    Raises:
        TrainingError: the loss is not finite.
        Preempted: the stage was asked to stop, and has saved where it is.
        LavitError: the processes or devices are not there that ``trainer_config`` asks for.
    """
    devices = trainer_config or TrainerConfig()
    devices.check(optimizer.method)
    state = context.out / "resume" / "state.safetensors"
    start, sums = resume_point(state)
    if processes.first():
        for curve in sorted(context.out.glob("*.jsonl")):
            truncate_history(curve, first_step + start)
    module.optimizer_config, module.local_steps, module.local_start = optimizer, steps, start
    module.trainer_config = devices
    recorder = _Recorder(context, first_step, start, steps, validate_at)
    recorder.keep_at, recorder.keep = frozenset(keep_at), keep
    recorder.sums, recorder.count = dict(sums.get("sums", {})), int(sums.get("count", 0))
    source = state if start else warm_start

    on_sigterm = signal.getsignal(signal.SIGTERM)

    class Restore(L.Callback):
        """Loads weights and moments once Lightning has made the optimizer."""

        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)  # Lightning's own would end the loop before it has saved
            if source is not None:
                load_state(source, pl_module, trainer.optimizers[0])

    _quieten_lightning()
    trainer = L.Trainer(
        max_steps=steps - start,
        max_epochs=-1,
        **strategy_options(devices),
        precision=precision,  # type: ignore[arg-type]
        gradient_clip_val=optimizer.clip or None,
        callbacks=[Restore(), recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    if start < steps:
        module.train()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*treespec.*")  # lightning against a newer torch: nothing to act on
            trainer.fit(
                module, train_dataloaders=_loader(module, range(first_step + start, first_step + steps), workers)
            )
        if trainer.interrupted:
            raise KeyboardInterrupt
        recorder.flush()
        if on_finish is not None:
            on_finish(trainer.optimizers[0])
    return module.eval()


class _Batches(torch.utils.data.Dataset[tuple[int, Any]]):
    """The batch of each step, for processes that make them ahead."""

    def __init__(self, module: StageModule, steps: range):
        self.module, self.steps = module, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return self.steps[index], self.module.batch(self.steps[index])


def _as_it_is(item: Any) -> Any:
    return item


def _loader(module: StageModule, steps: range, workers: int) -> Iterable[Any]:
    """The steps themselves, whose batches the module makes; or the steps with their batches, made by ``workers``."""
    if not workers:
        return steps
    # Forked: what a batch is made from is in memory, and is not to be pickled.
    return torch.utils.data.DataLoader(
        _Batches(module, steps),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        multiprocessing_context="fork",
    )


def _quieten_lightning() -> None:
    """Lightning's hints about devices and workers say nothing that a user of a study can act on."""
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
