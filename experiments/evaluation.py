"""Running an evaluation that `lavit eval` asked for: every input is checked first, then the model is loaded.

The folder holds what the ``evaluate`` stage leaves (``records.parquet``, ``metrics.json``, ``skipped.json``,
``protocol.json``, pictures), ``eval.json``, which says what was evaluated, and ``table.md``.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.environment import stage_environment
from experiments.errors import LavitError
from experiments.eval_progress import EvalProgress
from experiments.eval_request import EvalRequest
from experiments.store import RESUME, read_json, write_atomic

if TYPE_CHECKING:
    from evals.benchmark import Benchmark
    from lavit.data.protocol import Corpus

EVAL = "eval.json"


def run_evaluation(request: EvalRequest, out: Path) -> bool:
    """Evaluate into ``out``, going on where an earlier attempt stopped.

    Returns:
        Whether there was anything to do: False where it is all there.

    Raises:
        LavitError: ``out`` holds another evaluation, or data, a dataset or a setting is not as it should be.
    """
    identity = json.loads(json.dumps(request.identity()))
    held = read_json(out / EVAL)
    if held is not None and held["identity"] != identity:
        told = ", ".join(_differences(held["identity"], identity)) or "its settings"
        raise LavitError(f"{out} holds another evaluation; it differs in {told}", "name another folder with --out DIR")
    if held is None and out.is_dir() and any(out.iterdir()):
        raise LavitError(f"{out} is not empty, and holds no evaluation", "name another folder with --out DIR")
    if held is not None and held["finished"] is not None:
        return False
    suite, corpus = check_inputs(request)
    out.mkdir(parents=True, exist_ok=True)
    body = {"identity": identity, "folder": str(request.checkpoint.folder.absolute()), "finished": None}
    write_atomic(out / EVAL, json.dumps(body, indent=1, ensure_ascii=False))
    _settle(request)

    from evals.runner import evaluate

    with EvalProgress(f"{request.checkpoint.name} on {request.suite_name}") as progress:
        side = request.checkpoint.image_size
        evaluate(request.checkpoint.model, corpus, suite, out, request.seed, progress, request.root, side)
    shutil.rmtree(out / RESUME, ignore_errors=True)
    body |= {"finished": time.time(), "environment": stage_environment()}
    write_atomic(out / EVAL, json.dumps(body, indent=1, ensure_ascii=False))
    return True


def check_inputs(request: EvalRequest) -> tuple[list[Benchmark], Corpus | None]:
    """The suite and the corpus, with every dataset's files opened and checked.

    Raises:
        LavitError: names all that is wrong at once.
    """
    import lavit.data
    from evals.files import open_sources
    from evals.runner import build_suite

    suite = build_suite(request.suite)
    corpus = None if request.data is None else lavit.data.build(request.data)
    sources = open_sources(suite, corpus, request.root, request.checkpoint.image_size)
    for benchmark, source in zip(suite, sources, strict=True):
        benchmark.examples(source)
    return suite, corpus


def recompute(out: Path) -> None:
    """Score an evaluation's records again, without the model, and replace its ``metrics.json`` and ``skipped.json``.

    Raises:
        LavitError: the folder holds no finished evaluation.
    """
    from evals.runner import recompute as score_again

    held = read_json(out / EVAL)
    if held is None or held["finished"] is None:
        raise LavitError(f"{out} holds no finished evaluation: there is no {EVAL} that says so", "lavit eval makes one")
    metrics, missing = score_again(out)
    absent = {name: why for name, why in (read_json(out / "skipped.json") or {}).items() if "/" not in name}
    for name, body in (("metrics.json", metrics), ("skipped.json", absent | missing)):
        write_atomic(out / name, json.dumps(body, indent=1, ensure_ascii=False) + "\n")


def _settle(request: EvalRequest) -> None:
    """An arm computes on one thread and from a known state, as its study evaluated it: the same to the bit."""
    import torch

    torch.manual_seed(request.seed)
    if request.checkpoint.kind == "arm":
        torch.set_num_threads(1)


def _differences(one: Any, other: Any, at: str = "") -> list[str]:
    """Dotted keys in which two documents differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [at]
    keys = sorted({*one, *other})
    return [found for key in keys for found in _differences(one.get(key), other.get(key), f"{at}.{key}".lstrip("."))]
