"""What tells two arms, two runs or two studies' arms apart: config, code, environment, costs, metrics, examples.

Everything is read from what was recorded (``runs.json``, each stage's ``request.yaml``, ``ledger.json`` and
``environment.json``, the records), so it says what ran, whatever the code and the config say today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.confounds import leaves
from experiments.differences import ABSENT, changed_evaluation, changed_leaves, changed_modules, read_request
from experiments.errors import LavitError, did_you_mean
from experiments.store import ENVIRONMENT, Store, read_json


@dataclass(frozen=True)
class Side:
    """One of the two: an arm of a collected study, at all of its seeds or at one.

    Attributes:
        name: as it is shown.
        folder: the study's folder.
        arm: the arm.
        seed: the seed that was asked for; None for all.
        runs: entries of runs.json, by seed.
    """

    name: str
    folder: Path
    arm: str
    seed: int | None
    runs: dict[int, dict[str, Any]]


@dataclass
class ArmDiff:
    """What was found.

    Attributes:
        a, b: the two sides.
        seeds: the seed of each whose stages were compared.
        shared: stages that are one and the same for both.
        config: dotted path -> (A, B).
        code: stage -> lines.
        environment: dotted path -> (A, B), of the stages that are not shared.
        unrecorded: stages of which at least one has no environment recorded.
        evaluation: ``benchmark.part`` -> (A, B): what is not the same rule of evaluation, packages under
            ``benchmark.environment``.
        ledgers: (stage, item, A, B) where they differ; ``wall_s`` among the items.
        metrics: one entry per measure; see :mod:`experiments.diff_records`.
        examples: one entry per measure: how many examples became better or worse, and some of them.
        notes: what could not be compared.
    """

    a: Side
    b: Side
    seeds: tuple[int, int]
    shared: list[str] = field(default_factory=list)
    config: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    code: dict[str, list[str]] = field(default_factory=dict)
    environment: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    unrecorded: list[str] = field(default_factory=list)
    evaluation: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    ledgers: list[tuple[str, str, float, float]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def same_data(self) -> bool:
        """Whether both drew the same data in the same order: equal ``data``, and equal seeds."""
        equal_seeds = self.seeds[0] == self.seeds[1]
        return equal_seeds and not any(path == "data" or path.startswith("data.") for path in self.config)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""

        def pairs(found: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
            return {path: {"a": a, "b": b} for path, (a, b) in found.items()}

        return {
            "a": self.a.name,
            "b": self.b.name,
            "seeds": list(self.seeds),
            "shared_stages": self.shared,
            "config": pairs(self.config),
            "code": self.code,
            "environment": pairs(self.environment),
            "environment_not_recorded": self.unrecorded,
            "evaluation": pairs(self.evaluation),
            "same_data": self.same_data,
            "ledgers": [dict(zip(("stage", "item", "a", "b"), row, strict=True)) for row in self.ledgers],
            "metrics": self.metrics,
            "examples": self.examples,
            "notes": self.notes,
        }


def find_side(runs: Path, text: str, study: str | None) -> Side:
    """Read ``[STUDY/]ARM[:SEED]``.

    Args:
        runs: the runs folder.
        text: as it was typed.
        study: the study of an arm that names none.

    Raises:
        LavitError: there is no such study, arm or seed among the collected ones.
    """
    head, slash, rest = text.partition("/")
    if slash and (runs / head / "runs.json").is_file():
        study, arm = head, rest
    else:
        arm = text
    name, colon, number = arm.rpartition(":")
    seed = int(number) if colon and number.isdigit() else None
    arm = name if seed is not None else arm
    if study is None:
        raise LavitError(f"'{text}': of which study?", "write study=NAME, or NAME/ARM")
    folder = runs / study
    body = read_json(folder / "runs.json")
    if not isinstance(body, dict):
        known = sorted(path.parent.name for path in runs.glob("*/runs.json"))
        hint = did_you_mean(study, known) if known else "nothing was collected yet"
        raise LavitError(f"{folder} holds no collected study (no runs.json)", f"`lavit report` collects; {hint}")
    entries = {int(run["seed"]): run for run in body["runs"] if run["arm"] == arm}
    if not entries:
        arms = dict.fromkeys(run["arm"] for run in body["runs"])
        raise LavitError(f"{study} has no arm '{arm}'", did_you_mean(arm, arms))
    if seed is not None and seed not in entries:
        raise LavitError(f"{study} has no seed {seed} of the arm '{arm}'", f"there is: {', '.join(map(str, entries))}")
    shown = f"{study}/{arm}" + (f":{seed}" if seed is not None else "")
    return Side(shown, folder, arm, seed, entries if seed is None else {seed: entries[seed]})


def diff(runs: Path, a: Side, b: Side, shown: int = 3) -> ArmDiff:
    """Compare two sides; examples are told by so many of each measure."""
    shared_seeds = [seed for seed in a.runs if seed in b.runs]
    seeds = (shared_seeds[0],) * 2 if shared_seeds else (next(iter(a.runs)), next(iter(b.runs)))
    found = ArmDiff(a, b, seeds)
    _compare_stages(found, Store(runs), a.runs[seeds[0]], b.runs[seeds[1]])
    kept = [run.get("fingerprints") or {} for run in (a.runs[seeds[0]], b.runs[seeds[1]])]
    found.evaluation = changed_evaluation(*kept)
    if rules := dict.fromkeys(path.split(".")[0] for path in found.evaluation if ".environment." not in path):
        found.notes.append(f"not evaluated by one rule: {', '.join(rules)}; their metrics differ by more than the arms")
    if all(kept) and (single := sorted(kept[0].keys() ^ kept[1].keys())):
        found.notes.append(f"only one of the two was evaluated on {', '.join(single)}")
    from experiments.diff_records import compare_records

    compare_records(found, shown)
    return found


def _compare_stages(found: ArmDiff, store: Store, one: dict[str, Any], other: dict[str, Any]) -> None:
    keys_a, keys_b = one["stage_keys"], other["stage_keys"]
    configs: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for stage in dict.fromkeys([*keys_a, *keys_b]):
        pair = keys_a.get(stage), keys_b.get(stage)
        if None in pair:
            found.notes.append(f"only one of the two has the stage {stage}")
            continue
        requests = [read_request(store, stage, str(key)) for key in pair]
        for config, request in zip(configs, requests, strict=True):
            config.update((request or {}).get("config", {}))
        if pair[0] == pair[1]:
            found.shared.append(stage)
            continue
        if requests[0] is None or requests[1] is None:
            found.notes.append(f"{stage}: what was asked is no longer in the store")
            continue
        if requests[0].get("code") != requests[1].get("code"):
            found.code[stage] = changed_modules(store.root, str(requests[0]["code"]), str(requests[1]["code"]))
        _compare_environments(found, store, stage, pair)
        _compare_ledgers(found, stage, one, other)
    found.config = changed_leaves(*configs)


def _compare_environments(found: ArmDiff, store: Store, stage: str, pair: tuple[str, str]) -> None:
    sides = [store.read(stage, key, ENVIRONMENT) for key in pair]
    if not all(sides):
        found.unrecorded.append(stage)
        return
    found.environment |= changed_leaves(*sides)


def _compare_ledgers(found: ArmDiff, stage: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    pages = []
    for run in (one, other):
        page = dict(leaves(run["ledgers"].get(stage, {})))
        pages.append(page | {"wall_s": run["wall_s"].get(stage)})
    for item in dict.fromkeys([*pages[0], *pages[1]]):
        before, after = (page.get(item) for page in pages)
        if isinstance(before, int | float) and isinstance(after, int | float) and before != after:
            found.ledgers.append((stage, item, float(before), float(after)))


def render(found: ArmDiff) -> str:
    """The comparison for the console."""
    lines = [f"A  {found.a.name}", f"B  {found.b.name}", ""]
    lines += [f"shared stages  {', '.join(found.shared) or 'none'}"]
    data = "the same, in the same order" if found.same_data else "not the same, or not in the same order"
    lines += [f"data           {data} (seed {found.seeds[0]} against {found.seeds[1]})", ""]
    lines += _section("config", [f"{path}: {_short(a)} -> {_short(b)}" for path, (a, b) in found.config.items()])
    code = [f"{stage}: {line}" for stage, changed in found.code.items() for line in changed]
    lines += _section("code", code)
    environment = [f"{path}: {_short(a)} -> {_short(b)}" for path, (a, b) in found.environment.items()]
    if found.unrecorded:
        environment.append(f"not recorded: {', '.join(found.unrecorded)}")
    lines += _section("environment", environment)
    evaluation = [f"{path}: {_short(a)} -> {_short(b)}" for path, (a, b) in found.evaluation.items()]
    lines += _section("evaluation", evaluation)
    ledgers = [
        f"{stage} {item}: {a:,.6g} -> {b:,.6g}" + (f" (x {b / a:.3g})" if a else "")
        for stage, item, a, b in found.ledgers
    ]
    lines += _section("ledgers", ledgers)
    lines += _section("metrics: B - A, 95 % interval, p of this one comparison", [_metric(m) for m in found.metrics])
    lines += _section("examples whose score changed", [line for entry in found.examples for line in _examples(entry)])
    lines += _section("not compared", found.notes) if found.notes else []
    return "\n".join(lines).rstrip()


def _section(title: str, lines: list[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines or ["nothing differs"]), ""]


def _metric(entry: dict[str, Any]) -> str:
    text = f"{entry['measure']}: {entry['estimate']:+.4g}"
    if entry["a"] is not None and entry["b"] is not None:
        text = f"{entry['measure']}: {entry['a']:.4g} -> {entry['b']:.4g}, {entry['estimate']:+.4g}"
    if entry["low"] is None:
        return f"{text} ({entry['reason'] or 'no interval'})"
    return f"{text} [{entry['low']:+.4g}, {entry['high']:+.4g}], p = {entry['p']:.3g} ({entry['scope']})"


def _examples(entry: dict[str, Any]) -> list[str]:
    head = f"{entry['measure']}: {entry['better']} better, {entry['worse']} worse, {entry['equal']} equal in B"
    lines = [head]
    for example in entry["shown"]:
        scores = f"{example['score_a']:.4g} -> {example['score_b']:.4g}"
        lines.append(f"  {example['example_id']} (seed {example['seed_a']}): {scores}")
        lines += [f"    {side}  {_short(example[name])}" for side, name in _TEXTS if example[name]]
    return lines


_TEXTS = (("A", "prediction_a"), ("B", "prediction_b"), ("reference", "reference"))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 90 or value == ABSENT else text[:87] + "..."
