"""Caption metrics by the field's own code: the official numbers, and what happens where Java or models are missing."""

from __future__ import annotations

import gzip
import json
import stat
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.errors import EvaluationError
from evals.metrics import caption, java, meteor, spice
from evals.metrics.caption import METRICS, choose_metrics, choose_tokenizer, score_set
from evals.metrics.java import find_java

needs_java = pytest.mark.skipif(find_java()[0] is None, reason="no Java here")

REFERENCES = [
    ["a red circle", "one red circle in the picture"],
    ["two blue squares", "a pair of blue squares"],
    ["nothing at all", "an empty picture"],
]
SAID = ["a red circle", "two squares", "a picture of a dog"]
PLAIN = tuple(name for name in METRICS if name not in ("METEOR", "SPICE"))
SETS = [
    "coco_karptest_25.vinvl_base",
    "coco_karptest_25.constant_a",
    "coco_karptest_500.vinvl_base",
    "coco_karptest_500.constant_a",
    "coco_karptest_500_human_vs_4.human",
    "coco_karpval_300.vinvl_base",
]


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Makes a program of a few lines of shell, to stand in for Java."""

    def make(lines: str) -> str:
        path = tmp_path / "java"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


def _read(folder: Path, name: str):
    packed = folder / "caption" / f"{name}.json.gz"
    if packed.exists():
        return json.loads(gzip.decompress(packed.read_bytes()))
    return json.loads((folder / "caption" / f"{name}.json").read_text())


def _official(folder: Path, name: str):
    """Captions and references of a set in the official order, and what the official code makes of them."""
    expected = _read(folder, f"{name}.expected")
    references: dict[int, list[str]] = {}
    for row in _read(folder, f"{name.rpartition('.')[0]}.ann")["annotations"]:
        references.setdefault(row["image_id"], []).append(row["caption"])
    said = {row["image_id"]: row["caption"] for row in _read(folder, f"{name}.results")}
    order = expected.get("image_id_order", list(said))
    return [said[image] for image in order], [references[image] for image in order], expected


def _compare(found: caption.CaptionScores, expected, tolerance: float) -> None:
    for name, value in found.totals.items():
        assert value == pytest.approx(expected["overall"][name], abs=tolerance), name
        if "per_image" in expected:
            np.testing.assert_allclose(found.per_image[name], expected["per_image"][name], atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", SETS)
def test_numbers_without_java_are_the_official_ones_for_every_image(shared_fixtures: Path, name: str) -> None:
    said, references, expected = _official(shared_fixtures, name)
    found = score_set(said, references, PLAIN, "python")
    assert tuple(found.totals) == PLAIN
    _compare(found, expected, 1e-9)


@needs_java
@pytest.mark.parametrize("name", [*SETS[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in SETS[2:])])
def test_numbers_with_java_are_the_official_ones_for_every_image(shared_fixtures: Path, name: str) -> None:
    said, references, expected = _official(shared_fixtures, name)
    _compare(score_set(said, references, PLAIN, "java"), expected, 1e-9)


@needs_java
@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_meteor_is_the_official_one_for_every_image(shared_fixtures: Path, name: str) -> None:
    said, references, expected = _official(shared_fixtures, name)
    found = score_set(said, references, ("METEOR",), "java")
    assert not found.missing
    _compare(found, expected, 1e-9)


@needs_java
@pytest.mark.slow
def test_meteor_survives_what_puts_its_official_wrapper_out_of_step() -> None:
    odd = ["a red\ncircle", "two ||| blue squares", "", "café \u2028 日本語 😀", "a\r\n", "|||"]
    said = [*odd, "two blue squares"]
    references = [
        ["a red circle"],
        ["two blue squares"],
        ["nothing"],
        ["café"],
        ["a ||| b"],
        ["x"],
        ["two blue squares"],
    ]
    total, scores = meteor.meteor(said, references, find_java()[0] or "")
    assert scores[0] == pytest.approx(meteor.meteor(["a red circle"], [["a red circle"]], find_java()[0] or "")[1][0])
    assert scores[1] == scores[6] > 0.9
    assert scores[2] == 0
    assert np.isfinite(scores).all()
    assert 0 < total < 1


def test_meteor_that_falls_silent_is_killed(program: Callable[[str], str]) -> None:
    began = time.monotonic()
    with pytest.raises(EvaluationError, match=r"no answer in 0 s"):
        meteor.meteor(["a"], [["a"]], program("exec sleep 60"), silence=0.2)
    assert time.monotonic() - began < 20


def test_meteor_that_ends_says_what_it_complained_about(program: Callable[[str], str]) -> None:
    # More complaints than a pipe holds: unread, they would stop the program.
    lines = "head -c 200000 /dev/zero | tr '\\0' x >&2\necho 'Could not reserve enough space' >&2\nexit 3"
    with pytest.raises(EvaluationError, match=r"code 3: x+Could not reserve enough space"):
        meteor.meteor(["a"] * 5000, [["a"]] * 5000, program(lines), silence=20)


def test_meteor_that_answers_nonsense_is_refused(program: Callable[[str], str]) -> None:
    with pytest.raises(EvaluationError, match="'hello' where a number was expected"):
        meteor.meteor(["a"], [["a"]], program("while read line; do echo hello; echo hello; done"), silence=20)


def test_without_java_all_else_goes_on_and_one_line_says_what_to_do(no_java: None) -> None:
    found = score_set(SAID, REFERENCES, (*PLAIN, "METEOR"), choose_tokenizer("auto", "here"))
    assert tuple(found.totals) == PLAIN
    assert list(found.missing) == ["METEOR"]
    assert "\n" not in found.missing["METEOR"]
    assert found.missing["METEOR"].startswith("not computed: there is no Java here: install")


def test_a_java_that_does_not_run_counts_as_none(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program("echo 'No Java runtime present, requesting install.' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert choose_tokenizer("auto", "here") == "python"
    assert "No Java runtime present" in find_java()[1]


def test_java_by_name_is_refused_where_there_is_none(no_java: None) -> None:
    with pytest.raises(EvaluationError, match="--tokenizer: there is no Java here"):
        choose_tokenizer("java", "--tokenizer")
    with pytest.raises(EvaluationError, match="cannot run"):
        score_set(SAID, REFERENCES, ("CIDEr",), "java")


def test_java_home_is_enough(program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home" / "bin"
    home.mkdir(parents=True)
    Path(program("exit 0")).rename(home / "java")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(home.parent))
    assert find_java() == (str(home / "java"), "")


def test_without_its_models_spice_is_missing_in_one_line_and_nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(spice.VARIABLE, str(tmp_path))
    found = score_set(SAID, REFERENCES, ("CIDEr", "SPICE"), "python")
    assert list(found.totals) == ["CIDEr"]
    assert "stanford-corenlp-3.6.0-models.jar" in found.missing["SPICE"]
    assert str(tmp_path) in found.missing["SPICE"]
    assert "\n" not in found.missing["SPICE"]
    assert not list(tmp_path.iterdir())


def test_spice_runs_its_program_with_the_models_of_a_folder(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in for Java answers as SPICE does: this pins files, class path and the reading of scores."""
    models = tmp_path / "models"
    models.mkdir()
    for name in spice.MODELS:
        (models / name).touch()
    answer = json.dumps([{"image_id": i, "scores": {"All": {"f": i / 4}}} for i in (2, 0, 1)])
    path = program(
        f'case "$3" in *spice-1.0.jar*{models}/{spice.MODELS[0]}*) ;; *) [ "$1" = -version ] || exit 9 ;; esac\n'
        f'while [ $# -gt 0 ]; do [ "$1" = -out ] && echo \'{answer}\' > "$2"; shift; done; exit 0'
    )
    monkeypatch.setattr(caption, "find_java", lambda: (path, ""))
    found = score_set(SAID, REFERENCES, ("SPICE",), "python", models)
    assert not found.missing
    assert found.per_image["SPICE"].tolist() == [0, 0.25, 0.5]
    assert found.totals["SPICE"] == 0.25


def test_a_metric_that_fails_takes_no_other_with_it(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program("exit 3")
    monkeypatch.setattr(caption, "find_java", lambda: (path, ""))
    found = score_set(SAID, REFERENCES, ("METEOR", "CIDEr"), "python")
    assert list(found.totals) == ["CIDEr"]
    assert "ended with code 3" in found.missing["METEOR"]


def test_a_caption_that_was_not_made_counts_in_no_metric_but_as_a_document() -> None:
    part = score_set([SAID[0], None, None], REFERENCES, PLAIN)
    assert part.per_image["CIDEr"][0] == score_set(SAID, REFERENCES, PLAIN).per_image["CIDEr"][0]
    alone = score_set(SAID[:1], REFERENCES[:1], PLAIN)
    assert [part.totals[name] for name in PLAIN[:-1]] == [alone.totals[name] for name in PLAIN[:-1]]
    assert all(np.isnan(part.per_image[name][1:]).all() for name in PLAIN)


def test_bleu_of_a_set_is_not_the_mean_over_its_captions() -> None:
    found = score_set(SAID, REFERENCES, ("Bleu_1",))
    assert found.totals["Bleu_1"] != pytest.approx(found.per_image["Bleu_1"].mean(), abs=1e-3)


@pytest.mark.parametrize("names", [["bleu", "cider"], ["CIDEr", "Bleu_4", "bleu_2", "Bleu_1", "BLEU_3"]])
def test_metrics_are_chosen_by_name_in_the_official_order(names: list[str]) -> None:
    assert choose_metrics(names, "x") == ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "CIDEr")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(EvaluationError, match="--metrics: there is no metric 'blue'"):
        choose_metrics(["blue"], "--metrics")
    with pytest.raises(EvaluationError, match="no metric named"):
        choose_metrics([], "--metrics")
    with pytest.raises(EvaluationError, match="no tokenizer 'nltk'"):
        choose_tokenizer("nltk", "--tokenizer")


def test_the_jars_of_the_installed_package_are_found() -> None:
    assert java.jar(*meteor.PROGRAM.parts).is_file()
    assert java.jar("tokenizer", "stanford-corenlp-3.4.1.jar").is_file()


_WORD = st.sampled_from(["a", "red", "blue", "dog", "cat", "on", "the", "table", "."])
_CAPTION = st.lists(_WORD, max_size=7).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_CAPTION, st.lists(_CAPTION, min_size=1, max_size=4)), min_size=2, max_size=6), st.randoms())
def test_the_order_of_images_does_not_matter(rows, random) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    straight = score_set([text for text, _ in rows], [texts for _, texts in rows], PLAIN)
    mixed = score_set([rows[i][0] for i in order], [rows[i][1] for i in order], PLAIN)
    for name in PLAIN:
        assert mixed.totals[name] == pytest.approx(straight.totals[name], abs=1e-12)
        np.testing.assert_allclose(mixed.per_image[name], straight.per_image[name][order], atol=1e-12)
