"""By which rule results were evaluated: refused where it differs, said where it does not, absences explained."""

from __future__ import annotations

import copy
import json
import re

import pandas as pd
import pytest
from synthetic_study import slug, write_study

import reports
from experiments.errors import LavitError
from reports.frame import load
from reports.layout import build_tables
from reports.results import analyse

PARTS = {
    "caption": {"class": "Captioning", "decode.beams": 1, "examples.real": 30, "image.size": 32, "protocol": "CIDEr-D"},
    "vqa": {"class": "QuestionAnswering", "decode.beams": 1, "examples.real": 90, "protocol": "exact-1"},
}


def rule(name: str, **changes: object) -> dict:
    parts = {**PARTS[name], "examples_sha256": "e" * 64} | changes
    digest = f"{abs(hash(tuple(sorted(map(str, parts.items()))))):064x}"[-64:]
    line = f"test, {parts['examples.real']} images, {parts['protocol']}, greedy"
    environment = {"torch": "2.13"} if name == "caption" else {}
    return {"hash": digest, "line": line, "parts": parts, "environment": environment, "hygiene": "held-out"}


@pytest.fixture
def study(tmp_path):
    """A study whose runs tell how they were evaluated, and how to change what they tell."""
    folder = write_study(tmp_path / "study", images=30)

    def tell(change=None, **header):
        path = folder / "runs.json"
        document = json.loads(path.read_text()) | header
        for entry in document["runs"]:
            entry["fingerprints"] = {name: copy.deepcopy(rule(name)) for name in PARTS}
            if change is not None:
                change(entry)
        path.write_text(json.dumps(document))
        return folder

    return tell


def test_one_rule_stands_below_every_table_that_it_was_used_for(study) -> None:
    folder = study()
    summary = reports.build(folder)
    expected = f"caption: test, 30 images, CIDEr-D, greedy, held-out, {rule('caption')['hash'][:6]}"
    assert expected in summary.table_markdown.replace("\\", "")
    assert expected in summary.console_table
    assert expected in (folder / "tables" / "main.html").read_text()
    assert expected in summary.html.read_text()
    tex = (folder / "tables" / "main.tex").read_text().replace("{-}", "-")
    assert expected in tex
    assert expected in json.loads((folder / "tables" / "main.json").read_text())["footer"]
    assert not any("caption:" in line for line in json.loads((folder / "tables" / "kinds.json").read_text())["footer"])
    document = json.loads((folder / "report.json").read_text())
    assert {entry["benchmark"] for entry in document["fingerprints"]} == {"caption", "vqa"}


def test_another_decoding_in_one_arm_is_refused_and_named(study) -> None:
    def change(entry):
        if entry["arm"] == "llm=frozen":
            entry["fingerprints"]["caption"] = rule("caption", **{"decode.beams": 4})

    with pytest.raises(LavitError) as caught:
        load(study(change))
    text = str(caught.value)
    assert "caption was not evaluated alike in 'default' seed 0" in text and "'llm=frozen' seed 0" in text
    assert "decode.beams: 1 / 4" in text
    assert "one suite" in text and "suite.benchmarks.caption.decode.beams" in text


def test_seeds_of_one_arm_must_agree_whatever_the_study_varies(study) -> None:
    def change(entry):
        if entry["arm"] == "default" and entry["seed"] == 2:
            entry["fingerprints"]["vqa"] = rule("vqa", **{"decode.beams": 4})

    with pytest.raises(LavitError, match=r"vqa .*'default' seed 0.*'default' seed 2.*decode.beams: 1 / 4"):
        load(study(change, varied=["suite.benchmarks.vqa.decode"]))


def test_what_the_study_itself_varies_is_told_and_not_refused(study) -> None:
    def change(entry):
        if entry["arm"] == "llm=frozen":
            entry["fingerprints"]["caption"] = rule("caption", **{"decode.beams": 4, "examples_sha256": "f" * 64})

    frame = load(study(change, varied=["suite.benchmarks.caption.decode.beams", "llm"]))
    line = frame.fingerprints.line("caption")
    assert re.search(r"decode.beams varied by the study: 1 \(default, .*\); 4 \(llm=frozen\)", line)
    assert rule("caption", **{"decode.beams": 4, "examples_sha256": "f" * 64})["hash"][:6] in line


def test_other_examples_are_refused_with_the_first_that_differs(study) -> None:
    def change(entry):
        if entry["arm"] == "tokens=pooled":
            entry["fingerprints"]["vqa"] = rule("vqa", examples_sha256="a" * 64)

    folder = study(change)
    path = folder / "records" / f"{slug('tokens=pooled')}-s0.parquet"
    rows = pd.read_parquet(path)
    place = rows.index[(rows["benchmark"] == "vqa") & (rows["control"] == "")][4]
    rows.loc[place, "reference"] = '["something else"]'
    rows.to_parquet(path, index=False)
    with pytest.raises(
        LavitError, match=r"examples_sha256.*first at example 4 .*reference: .* / \[\"something else\"\]"
    ):
        load(folder)


def test_other_versions_of_a_package_are_warned_of(study) -> None:
    def change(entry):
        if entry["arm"] == "llm=frozen" and entry["seed"] == 1:
            entry["fingerprints"]["caption"]["environment"]["torch"] = "2.14"

    summary = reports.build(study(change))
    warned = [text for text in summary.findings if "torch" in text]
    assert len(warned) == 1
    assert "2.14 for llm=frozen seed 1" in warned[0]
    assert "not one environment" in summary.html.read_text()


def test_what_no_arm_has_and_what_one_arm_lacks_is_said(study) -> None:
    def change(entry):
        entry["skipped"] = {"caption/METEOR": "Java is not installed"}
        if entry["arm"] == "llm=frozen":
            entry["skipped"]["vqa"] = "the corpus asks nothing"

    folder = study(change)
    path = folder / "records"
    for seed in range(3):
        file = path / f"{slug('llm=frozen')}-s{seed}.parquet"
        rows = pd.read_parquet(file)
        rows[rows["benchmark"] != "vqa"].to_parquet(file, index=False)
    tables = folder / "conf"
    tables.mkdir()
    (tables / "main.yaml").write_text(
        "title: All\norder: 1\ncolumns:\n"
        "  - {group: Captioning, label: CIDEr, score: caption/CIDEr, scale: 100, better: higher}\n"
        "  - {group: Captioning, label: METEOR, metric: caption/METEOR, scale: 100}\n"
        "  - {group: VQA, label: accuracy, score: vqa/accuracy, scale: 100, better: higher}\n"
    )
    results = analyse(load(folder), tables)
    main = build_tables(results)[0]
    assert "In no arm: caption/METEOR. Java is not installed." in main.footer
    cell = next(row for row in main.rows if row.key == "llm=frozen").cells["score.vqa/accuracy"]
    assert cell.absent and dict(main.notes)[cell.notes[0]] == "The corpus asks nothing."
    page = reports.build(folder, folder, tables).html.read_text()
    assert "caption/METEOR, every arm: Java is not installed" in page
    assert "vqa, llm=frozen: the corpus asks nothing" in page


def test_results_from_elsewhere_need_no_fingerprint(tmp_path) -> None:
    frame = load(write_study(tmp_path, images=12, foreign=True))
    assert frame.fingerprints.benchmarks == []
    assert all(table.footer == () for table in build_tables(analyse(frame)))
