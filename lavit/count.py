"""Prices stages before they run, by building their modules on the meta device: ``python -m lavit.count < list.json``.

A child process of the planner, so that planning needs neither torch nor a formula beside the code. Reads a JSON list
of ``{"stage", "run", "config", "inputs": {stage: its config}}`` and writes a JSON list, in the same order, of

* ``params_total`` and ``params_trainable``, and of an arm ``blocks``: both of each block (as in ``blocks.json``),
* ``ledger``: what ``ledger.json`` will hold (``lavit.ledger.Ledger``),
* ``memory``: bytes at the peak of a training step and what they are made of (``lavit.pricing.memory``),

or ``{"error"}``. With ``"probe": true`` in a question the answer is ``{"seconds_per_step"}``: real steps, timed.

A stage of one's own is priced by a function ``price(config, inputs) -> mapping`` beside its ``run`` function, which
returns any of these; without one nothing is known of it, and the answer is empty. Stages that take the same step are
answered by one process, others side by side on all cores.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from lavit.build import locate
from lavit.errors import LavitError

if TYPE_CHECKING:
    from lavit.pricing.trial import Config

#: Function of a stage -> what builds its trial; imported when a question needs it, because that takes seconds.
TRIALS = {
    "lavit.stages.vision.run": "lavit.pricing.visual.vision",
    "lavit.stages.language.run": "lavit.pricing.text.language",
    "lavit.stages.tokenizer.run": "lavit.pricing.visual.tokenizer",
    "lavit.stages.pixels.run": "lavit.pricing.visual.pixels",
    "lavit.stages.qformer.run": "lavit.pricing.connectors.qformer",
    "lavit.stages.pretrain.run": "lavit.pricing.text.arm",
    "lavit.stages.tune.run": "lavit.pricing.text.arm",
    "lavit.stages.cooldown.run": "lavit.pricing.text.arm",
}
#: Stages that train nothing: their ledgers are empty.
TRAIN_NOTHING = ("evals.stage.run", "evals.inspection.run")

#: Begins the lines that say how many questions have been answered.
PROGRESS = "answered "

_memories: dict[str, dict[str, int]] = {}  # what two stages have in common is found out once
_paces: dict[str, float] = {}


def count(question: Mapping[str, Any]) -> dict[str, Any]:
    """The price of one stage."""
    run, config, inputs = str(question["run"]), question["config"], dict(question.get("inputs", {}))
    if run in TRAIN_NOTHING:
        return _answer({}, {})
    if run not in TRIALS:
        return _own_price(run, config, inputs)
    from lavit.pricing.memory import memory

    trial = locate(TRIALS[run])(config, inputs, "meta")
    ledger = trial.ledger()
    same = _alike(config, inputs)
    if same not in _memories:
        _memories[same] = memory(trial)
    return _answer(asdict(ledger), _memories[same]) | _blocks(trial.network)


def probe(question: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of a training step of one stage on this machine; nothing where it trains none."""
    run = str(question["run"])
    if run not in TRIALS:
        return {}
    from lavit.pricing.probe import seconds_per_step

    config, inputs = question["config"], dict(question.get("inputs", {}))
    same = _alike(config, inputs)
    if same not in _paces:
        _paces[same] = seconds_per_step(locate(TRIALS[run]), config, inputs)
    return {"seconds_per_step": _paces[same]}


def _answer(ledger: dict[str, Any], held: dict[str, int]) -> dict[str, Any]:
    totals = {name: ledger.get(name, 0) for name in ("params_total", "params_trainable")}
    return {**totals, "ledger": ledger, "memory": held}


def _blocks(network: Any) -> dict[str, Any]:
    """Parameters of each block of an arm's model; nothing of another."""
    from lavit.model.blocks import block_sizes
    from lavit.model.lavit import LaVIT

    return {"blocks": block_sizes(network)} if isinstance(network, LaVIT) else {}


def _own_price(run: str, config: Config, inputs: dict[str, Config]) -> dict[str, Any]:
    """What the module of a stage of one's own says; nothing where it offers no price."""
    name = run.rpartition(".")[0]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            return {}  # it lies where only its own launch looks, so it can offer nothing here
        raise
    price = getattr(module, "price", None)
    if not callable(price):
        return {}
    answer = price(config, inputs)
    if not isinstance(answer, Mapping):
        raise LavitError(
            f"{name}.price returned {answer!r}, not a mapping", "return {'params_total': ..., 'ledger': {...}}"
        )
    return dict(answer)


def _alike(config: Config, inputs: dict[str, Config]) -> str:
    """A name of all stages that take the same step: how many of them they take, and in which stage, is left out."""
    own = {key: value for key, value in config.items() if key != "cooldown"}
    own = {
        k: {n: v for n, v in node.items() if n != "steps" and v is not None} if isinstance(node, dict) else node
        for k, node in own.items()
    }
    needed = {name: inputs[name] for name in ("vision", "language", "tokenizer") if name in inputs}
    return json.dumps([own, needed], sort_keys=True, default=str)


def die_with_parent() -> None:
    """End this process once whoever asked is gone, however that ended: nobody is left to read the answers."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def groups(questions: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Numbers of the questions that one process answers best: those whose stages take the same step."""
    found: dict[str, list[int]] = {}
    for i, question in enumerate(questions):
        found.setdefault(_alike(question["config"], dict(question.get("inputs", {}))), []).append(i)
    return list(found.values())


def processes(questions: Sequence[Mapping[str, Any]]) -> int:
    """How many answer at a time: one where steps are timed, or where other work has the machine; else one a core."""
    if any(question.get("probe") for question in questions) or os.nice(0) > 0:
        return 1
    return min(len(os.sched_getaffinity(0)), len(groups(questions)))


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one question, or what went wrong: the planner prints it beside the stage and goes on."""
    try:
        return probe(question) if question.get("probe") else count(question)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def answer_group(numbered: Sequence[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """The answers to questions of one group, each with its number."""
    return [(i, answer(question)) for i, question in numbered]


def main() -> None:
    """Answer the questions on standard input; how many are answered goes to standard error."""
    die_with_parent()
    questions: list[Any] = [OmegaConf.to_container(OmegaConf.create(question)) for question in json.load(sys.stdin)]
    answers: list[Any] = [None] * len(questions)
    parts = [[(i, questions[i]) for i in group] for group in groups(questions)]
    done = 0
    for part in _answered(parts, processes(questions)):
        for i, given in part:
            answers[i] = given
        done += len(part)
        print(f"{PROGRESS}{done}", file=sys.stderr, flush=True)
    json.dump(answers, sys.stdout)


def _answered(parts: list[Any], workers: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    if workers <= 1:
        yield from map(answer_group, parts)
        return
    importlib.import_module("lavit.pricing.memory")  # once, for all that are forked
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=die_with_parent) as pool:
        futures = [pool.submit(answer_group, part) for part in sorted(parts, key=len, reverse=True)]
        for future in as_completed(futures):
            yield future.result()


if __name__ == "__main__":
    main()
