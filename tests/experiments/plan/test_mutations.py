"""Mutated study files: each plans, or is refused with a message that names the file, the key and what to do.

The mutations know nothing of the language: their keys and values come from the study files themselves.
"""

from __future__ import annotations

import copy
import random
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.compose import config_folder
from experiments.errors import LavitError
from tests.experiments.plan.test_study import Desk

RICH = """\
question: Does everything that a study file can say survive?
design: full
axes:
  regime: [unified, adapter]
  target: {levels: [discrete, continuous], only_if: {regime: unified}}
  rate: {key: optimizer.lr, levels: [1e-3, 5.0e-4], only_if: {target: [continuous]}}
  budget: {paired: [train.steps, train.batch_size], levels: {short: [10, 4], long: [20, 8]}}
  pair:
    both: [tokens=dynamic, llm=unfrozen]
    none: [tokens=fixed, llm=frozen]
void:
  - when: {regime: adapter, pair: [none]}
    why: an adapter needs a language model that learns
seeds: [0, 5]
headline: caption/CIDEr
default: {budget: long}
family: [regime=adapter]
margin: 0.5
power: {sd_seed: 0.25}
also: [data.split_key=other]
arms:
  large: {budget: short, also: [optimizer.weight_decay=0.5]}
"""
HEIR = """\
defaults: [rich, _self_]
question: And what is inherited?
axes: {budget: null, rate: {levels: [0.1, 0.2, 0.3]}}
default: {regime: unified, budget: null}
arms: {large: null}
seeds: 1
"""
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2.5, 10**30, float("inf"), float("nan"), "", " ", "x", "a, b", "a=b", "é☃", "null"),
    *("${seed}", "${nowhere}", "${", "???", "on", "=", "~x", "+x=1", "x.y.z", "x/y", "/", "..", "-", "1,2", "[", "'"),
    *([], [[]], [[1, 2], [3]], [None], [True, False], {}, {"a": {}}, {"": 1}, {True: 2}, {3: [4]}, {None: None}, "\n"),
]  # fmt: skip
CHARACTERS = ":-[]{}#&*!|>'\"%@`,?=~ \t\n\r\0\x07é☃0aZ/\\$."


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in nested maps and lists."""
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from places(tree[key])


def sources(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((folder / "study").glob("*.yaml"))}


@cache
def parsed(text: str) -> Any:
    return yaml.safe_load(text)


def mutate(texts: dict[str, str], seed: int) -> str:
    """One of the study files with one to three things wrong with it, in its data or in its text. What is put in comes
    from these files and the shipped ones."""
    choose = random.Random(seed)
    name = choose.choice(sorted(texts))
    if choose.random() < 0.25:
        text = texts[name]
        for _ in range(choose.randint(1, 3)):
            at = choose.randrange(len(text))
            put = "".join(choose.choices(CHARACTERS, k=choose.choice([0, 1, 1, 2])))
            text = text[:at] + put + text[at + choose.choice([0, 1, 1, 5]) :]
        return text
    donors = [parsed(text) for text in (*texts.values(), *sources(config_folder()).values())]
    found = [place for body in donors for place in places(body)]
    keys = sorted({str(key) for box, key in found if isinstance(box, dict)})
    values = [*ODD, *(box[key] for box, key in found)]
    body = copy.deepcopy(parsed(texts[name]))
    for _ in range(choose.choice([1, 1, 1, 2, 3])):
        everything = list(places(body))
        if not everything:
            break
        box, key = choose.choice(everything)
        value = copy.deepcopy(choose.choice(values))
        match choose.choice(["delete", "replace", "replace", "rename", "wrap", "double", "insert"]):
            case "delete":
                del box[key]
            case "replace":
                box[key] = value
            case "wrap":
                box[key] = choose.choice([[box[key]], {choose.choice(keys): box[key]}])
            case "double" if isinstance(box, list):
                box.append(copy.deepcopy(box[key]))
            case "insert" if isinstance(box, list):
                box.insert(key, value)
            case "insert":
                box[choose.choice(keys)] = value
            case _ if isinstance(box, dict):
                renamed = [*keys, f"{key}s", str(key)[:-1], str(key).upper(), True, 3, None, "é"]
                box[choose.choice(renamed)] = box.pop(key)
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


#: What names the place in a message, after the file's name: a line, a key, or an arm.
PLACE = r"(, (line|character) \d+|: [^\s:][^:]*:|: in the arm '|: the arms? '|: the default arm)"


def complaint(text: str, desk: Desk) -> LavitError | None:
    """Plan a study file; return what is said where it is refused."""
    try:
        plan = desk.plan(text)
    except LavitError as error:
        return error
    assert plan.runs
    assert plan.render()
    assert plan.to_json()
    assert yaml.safe_dump(plan.study_document())
    return None


def check(text: str, desk: Desk) -> None:
    """Assert that a study file plans, or is refused by file, place and remedy."""
    error = complaint(text, desk)
    if error is not None:
        said = f"{error}\n--- in\n{text}"
        name = f"good{desk.written - 1}.yaml"
        assert name in error.message, said
        assert re.search(re.escape(name) + PLACE, error.message), said
        assert error.hint, said
        assert len(str(error).splitlines()) <= 6, said


@pytest.fixture(scope="module")
def small(shared_conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = Path(shutil.copytree(shared_conf, tmp_path_factory.mktemp("mutations") / "conf"))
    (folder / "study" / "rich.yaml").write_text(RICH)
    (folder / "study" / "heir.yaml").write_text(HEIR)
    return Desk(folder)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(Path(shutil.copytree(config_folder(), tmp_path_factory.mktemp("mutations") / "conf")))


EXAMPLES = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def nameless(texts: dict[str, str]) -> dict[str, str]:
    """Study files without their names, since each is written to a file of another name."""
    return {name: re.sub(r"(?m)^name: .*\n", "", text) for name, text in texts.items()}


def test_the_sources_plan(small: Desk) -> None:
    for name, text in nameless(sources(small.conf)).items():
        assert complaint(text, small) is None, name


SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=25, derandomize=True, **EXAMPLES)  # type: ignore[arg-type]
@given(seed=SEEDS)
def test_a_mutated_study_plans_or_is_refused(seed: int, small: Desk) -> None:
    check(mutate({"rich": RICH, "heir": HEIR}, seed), small)


@pytest.mark.slow
@settings(max_examples=300, **EXAMPLES)  # type: ignore[arg-type]
@given(seed=SEEDS)
def test_many_mutated_studies_plan_or_are_refused(seed: int, small: Desk) -> None:
    check(mutate({"rich": RICH, "heir": HEIR}, seed), small)


@pytest.mark.slow
@settings(max_examples=300, **EXAMPLES)  # type: ignore[arg-type]
@given(seed=SEEDS)
def test_many_mutations_of_the_shipped_studies_plan_or_are_refused(seed: int, real: Desk) -> None:
    check(mutate(nameless(sources(config_folder())), seed), real)
