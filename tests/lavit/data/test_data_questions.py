"""The world's questions: answered again from the scene or the description; balanced; spread over kinds."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from lavit.data import Question
from lavit.data.world import World

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@dataclass
class Seen:
    """An object as an answerer knows it; ``x`` and ``y`` relative to the middle."""

    size: str
    colour: str
    shape: str
    x: float
    y: float


def only(objects: list[Seen], **wanted: str) -> Seen:
    """The one object that fits: more or fewer would make the question ambiguous."""
    fits = [o for o in objects if all(getattr(o, key) == value for key, value in wanted.items())]
    assert len(fits) == 1, (wanted, objects)
    return fits[0]


def solve(question: str, objects: list[Seen]) -> str:
    """Answer by parsing the question: written apart from the code that asks."""
    if m := re.fullmatch(r"what colour is the (large )?(\w+)\?", question):
        return only(objects, shape=m[2], **({"size": "large"} if m[1] else {})).colour
    if m := re.fullmatch(r"what shape is the (large )?(\w+) object\?", question):
        return only(objects, colour=m[2], **({"size": "large"} if m[1] else {})).shape
    if m := re.fullmatch(r"what size is the (\w+) (\w+)\?", question):
        return only(objects, colour=m[1], shape=m[2]).size
    if m := re.fullmatch(r"how many (?:(\w+) )?objects are there\?", question):
        return NUMBERS[sum(m[1] in (None, o.colour) for o in objects)]
    if m := re.fullmatch(r"how many (\w+?)(?:(?<=s)es|s) are there\?", question):
        return NUMBERS[sum(o.shape == m[1] for o in objects)]
    if m := re.fullmatch(r"is there an? (\w+) (\w+)\?", question):
        return "yes" if any((o.colour, o.shape) == (m[1], m[2]) for o in objects) else "no"
    if m := re.fullmatch(r"is the (\w+) (\w+) left or right\?", question):
        x = only(objects, colour=m[1], shape=m[2]).x
        assert x != 0
        return "left" if x < 0 else "right"
    if m := re.fullmatch(r"is the (\w+) (\w+) top or bottom\?", question):
        y = only(objects, colour=m[1], shape=m[2]).y
        assert y != 0
        return "top" if y < 0 else "bottom"
    m = re.fullmatch(r"is the (\w+) (\w+) (left of|right of|above|below) the (\w+) (\w+)\?", question)
    assert m, question
    a, b = only(objects, colour=m[1], shape=m[2]), only(objects, colour=m[4], shape=m[5])
    apart = {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}[m[3]]
    assert apart != 0
    return "yes" if apart > 0 else "no"


def read(description: str) -> list[Seen]:
    """The objects of a description: places as -1, 0, 1."""
    objects = []
    for part in description.split(", "):
        m = re.fullmatch(r"(large )?(\w+) (\w+) (top|bottom)? ?(left|right|middle)?", part)
        assert m, part
        assert m[4] or m[5]
        x = {"left": -1, "right": 1}.get(m[5] or "", 0)
        y = {"top": -1, "bottom": 1}.get(m[4] or "", 0)
        objects.append(Seen("large" if m[1] else "small", m[2], m[3], x, y))
    return objects


def asked(world: World, split: str, count: int, per_image: int) -> list[Question]:
    return [q for row in world.questions(split, np.arange(count), per_image) for q in row]


@pytest.mark.parametrize("split", ["train", "test", "held_out_combinations"])
@pytest.mark.parametrize("scale", ["quick", "standard"])
def test_the_picture_answers_every_question(scale: str, split: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(scale)
    index = np.arange(500)
    half = world.image_size / 2
    for scene, row in zip(world.truth(split, index), world.questions(split, index, 7), strict=True):
        objects = [Seen(o.size, o.colour, o.shape, o.x - half, o.y - half) for o in scene.objects]
        for question in row:
            assert solve(question.text, objects) == question.answer, (question, objects)
            assert question.answers == (question.answer,)
            assert " " not in question.answer


@pytest.mark.parametrize("scale", ["quick", "standard"])
def test_the_description_answers_every_grounded_question(scale: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(scale)
    for description, questions in world.grounded("train", np.arange(500)):
        objects = read(description)
        assert len(questions) == 4
        for question in questions:
            assert solve(question.text, objects) == question.answer, (question, description)


@pytest.mark.parametrize("split", ["train", "test", "held_out_combinations"])
def test_answers_are_balanced_in_every_kind(quick: World, split: str) -> None:
    questions = asked(quick, split, 1000, 5)
    for kind in quick.examiner.kinds:
        answers = Counter(q.answer for q in questions if q.kind == kind)
        assert set(answers) == set(quick.examiner.answers[kind])
        largest = max(answers.values()) / sum(answers.values())
        assert largest < 1.35 / len(answers), (kind, answers)


@pytest.mark.parametrize("per_image", [1, 3, 5])
def test_kinds_are_spread_evenly(quick: World, per_image: int) -> None:
    questions = asked(quick, "train", 2000, per_image)
    assert len(questions) == 2000 * per_image
    kinds = Counter(q.kind for q in questions)
    assert len(kinds) == 7
    assert max(kinds.values()) < 1.5 * min(kinds.values()), kinds


def test_identifiers_are_unique_and_say_where_they_belong(quick: World) -> None:
    questions = asked(quick, "val", 500, 12)
    grounded = [q for _, row in quick.grounded("val", np.arange(500)) for q in row]
    ids = [q.id for q in questions + grounded]
    assert len(ids) == len(set(ids))
    for question in questions:
        assert re.fullmatch(rf"val-\d+-{question.kind}-\d+", question.id)
    texts = Counter((q.id.split("-")[1], q.text) for q in questions)
    assert max(texts.values()) == 1


def test_sizes_may_go_unsaid() -> None:
    from world_settings import make_world

    world = make_world("smoke", name_sizes=False)
    assert "size" not in world.examiner.kinds
    index = np.arange(60)
    texts = [c for row in world.captions("train", index) for c in row] + world.prompts("train", index)
    texts += [q.text for row in world.questions("train", index, 7) for q in row]
    assert not any("large" in t or "small" in t for t in texts)
