"""GenEval's rules, against the authors' own code and at their edges."""

from __future__ import annotations

import gzip
import json

from evals.metrics.geneval import judge, keep, overlap, relations, summarise


def same_reason(reason: str) -> str:
    """The authors' code lists relations in no fixed order."""
    lines = []
    for line in reason.split("\n"):
        head, found, tail = line.partition(", found ")
        if tail.endswith(" target"):
            tail = " and ".join(sorted(tail.removesuffix(" target").split(" and ")))
        lines.append(head + found + tail)
    return "\n".join(lines)


def test_all_cases_and_places(shared_fixtures) -> None:
    content = json.loads(gzip.decompress((shared_fixtures / "t2i/geneval_cases.json.gz").read_bytes()))
    assert len(content["cases"]) == 400
    for case in content["cases"]:
        kept = keep(case["detections"], case["metadata"]["tag"])
        assert {name: [[*item.box, item.confidence] for item in items] for name, items in kept.items()} == case["kept"]
        colours = case["detection_colors"]
        found = judge(case["metadata"], kept, lambda name, place, colours=colours: colours[name][place])
        assert found.correct == case["expected_correct"], case["id"]
        assert same_reason(found.reason) == same_reason(case["expected_reason"])
    for case in content["position_cases"]:
        assert set(relations(case["a"], case["b"])) == set(case["relations"])
        assert abs(overlap(case["a"], case["b"]) - case["iou"]) < 1e-12


def row(confidence: float, left: float = 0.0) -> list[float]:
    return [left, 0.0, left + 10, 10.0, confidence]


def test_only_the_surest_objects_are_judged_and_counting_asks_for_more() -> None:
    asks = {"tag": "colors", "include": [{"class": "bus", "count": 1, "color": "red"}]}
    kept = keep({"bus": [row(0.5), row(0.8)]}, "colors")
    assert [item.place for item in kept["bus"]] == [1, 0]
    assert not judge(asks, kept, lambda name, place: ["red", "blue"][place]).correct
    assert judge(asks, kept, lambda name, place: ["blue", "red"][place]).correct
    assert len(keep({"bus": [row(0.31)] * 20}, "two_object")["bus"]) == 16
    assert keep({"bus": [row(0.3)], "car": [row(0.89)]}, "single_object").keys() == {"car"}
    assert keep({"car": [row(0.9)]}, "counting") == {}


def test_a_place_beside_a_target_that_was_not_found() -> None:
    asks = {"include": [{"class": "bench", "count": 1}, {"class": "bus", "count": 1, "position": ["left of", 0]}]}
    found = judge(asks, keep({"bus": [row(0.9)]}, "position"), lambda name, place: "")
    assert found.reason == "expected bench>=1, found 0\nno target for bus to be left of"
    beside = keep({"bus": [row(0.9)], "bench": [row(0.9, left=100)]}, "position")
    assert judge(asks, beside, lambda name, place: "").correct
    assert relations(row(1)[:4], row(1)[:4]) == []


def test_overall_is_the_mean_over_kinds_and_a_prompt_needs_one_right_drawing() -> None:
    totals = summarise(["counting", "counting", "counting", "colors"], ["a", "a", "b", "c"], [True, False, False, True])
    assert totals["by_tag"] == {"counting": 1 / 3, "colors": 1.0}
    assert totals["overall"] == (1 / 3 + 1) / 2 and totals["images"] == 0.5 and totals["prompts"] == 2 / 3
    assert (totals["n_images"], totals["n_prompts"]) == (4, 3)
