"""`lavit score caption`: COCO's own files in, the official totals out; wrong files are refused by name and id."""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evals.errors import EvaluationError
from evals.metrics.caption import METRICS, score_set
from evals.metrics.java import find_java
from evals.records import load_records, save_records
from evals.score import caption
from evals.score.scored import Scored

needs_java = pytest.mark.skipif(find_java()[0] is None, reason="no Java here")

REFERENCES = {7: ["a red circle", "one red circle"], 3: ["two blue squares"], 9: ["nothing at all", "an empty picture"]}
SAID = {3: "two squares", 7: "a red circle", 9: "a picture of a dog"}
PLAIN = "Bleu,ROUGE_L,CIDEr"


def annotations(references: dict[Any, list[str]] = REFERENCES, **further: Any) -> dict[str, Any]:
    rows = [{"image_id": image, "caption": text} for image, texts in references.items() for text in texts]
    for number, row in enumerate(rows):
        row["id"] = number
    return {"info": {}, "images": [{"id": image} for image in references], "annotations": rows} | further


def results(said: dict[Any, str] = SAID) -> list[dict[str, Any]]:
    return [{"image_id": image, "caption": text} for image, text in said.items()]


def write(path: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def run(tmp_path: Path):
    """Scores files of the given contents with the given further arguments."""

    def call(references: Any = None, predictions: Any = None, *further: str, packed: str = "") -> Scored:
        ann = write(tmp_path / f"ann.json{packed}", annotations() if references is None else references)
        res = write(tmp_path / f"res.json{packed}", results() if predictions is None else predictions)
        parser = argparse.ArgumentParser()
        caption.configure(parser)
        given = ["--references", str(ann), "--predictions", str(res), "--metrics", PLAIN, "--tokenizer", "python"]
        return caption.score(parser.parse_args([*given, *further]))

    return call


def test_totals_and_records_are_those_of_the_set(run, tmp_path: Path) -> None:
    found = run()
    expected = score_set([SAID[image] for image in REFERENCES], list(REFERENCES.values()), METRICS[:4] + METRICS[5:7])
    assert found.totals == expected.totals
    assert not found.missing
    assert found.fingerprint["tokenizer"].startswith("ptb-python")
    assert found.fingerprint["images"] == 3
    save_records(tmp_path / "records.parquet", found.records)
    rows = [row for row in load_records(tmp_path / "records.parquet") if row.metric == "CIDEr"]
    assert [row.example_id for row in rows] == ["7", "3", "9"]
    assert [row.score for row in rows] == expected.per_image["CIDEr"].tolist()
    assert rows[0].references == ("a red circle", "one red circle")
    assert sum(row.score for row in rows) / 3 == pytest.approx(found.totals["CIDEr"], abs=1e-12)


def test_ids_may_be_text_or_numbers_and_files_may_be_packed_or_hold_more(run) -> None:
    rows = [row | {"id": 5, "score": 0.5} for row in results({str(image): text for image, text in SAID.items()})]
    rows[0]["image_id"] = float(rows[0]["image_id"])
    assert run(None, rows, packed=".gz").totals == run().totals
    by_name = annotations({f"{image}.jpg": texts for image, texts in REFERENCES.items()}, licenses=[], type="captions")
    assert run(by_name, results({f"{image}.jpg": text for image, text in SAID.items()})).totals == run().totals


def test_images_come_in_the_order_of_the_references_and_may_be_left_out_there(run) -> None:
    some = annotations(images=[{"id": 12, "file_name": "unannotated.jpg"}, {"id": 9}])
    found = run(some)
    assert [row.example_id for row in found.records[:3]] == ["9", "7", "3"]
    assert found.totals == pytest.approx(run().totals, abs=1e-12)
    assert run(annotations()["annotations"]).totals == run().totals


def test_blanks_and_line_breaks_around_and_in_a_caption_do_not_matter(run) -> None:
    odd = SAID | {3: " two\nsquares \r\n", 7: "\ta  red\u2028circle\n\n"}
    assert run(None, results(odd)).totals == run().totals


def test_empty_and_foreign_captions_are_scored(run, tmp_path: Path) -> None:
    found = run(None, results({3: "", 7: "日本 café 😀 \ud83d", 9: "..."}))
    assert found.totals["CIDEr"] == 0
    save_records(tmp_path / "records.parquet", found.records)


def test_more_and_fewer_references_are_taken_as_they_come(run) -> None:
    many = REFERENCES | {3: ["two blue squares"] * 7 + ["squares"]}
    assert run(annotations(many)).totals["ROUGE_L"] >= run().totals["ROUGE_L"]


def test_a_part_is_scored_on_request_only_and_says_so(run) -> None:
    part = results({7: SAID[7], 9: SAID[9]})
    with pytest.raises(EvaluationError, match=r"res.json: image_id 3 of .*ann.json has no caption \(1 of 3 images\)"):
        run(None, part)
    found = run(None, part, "--partial")
    assert found.fingerprint["images"] == "2 of 3"
    assert found.totals == run(annotations({7: REFERENCES[7], 9: REFERENCES[9]}), part).totals


@pytest.mark.parametrize(
    ("references", "predictions", "words"),
    [
        (None, json.dumps(results())[:-5], r"res.json is not JSON: .* line 1"),
        (None, "", r"res.json is not JSON"),
        (json.dumps(annotations())[:40], None, r"ann.json is not JSON"),
        (None, [], r"res.json is an empty list"),
        (None, {"annotations": []}, r"res.json is an object and not a list"),
        (None, [*results(), {"image_id": "7", "caption": "x"}], r"res.json: result 3: image_id 7 stands twice"),
        (None, [*results(), {"image_id": 4, "caption": "x"}], r"res.json: image_id 4 has no reference in .*ann.json"),
        (None, [*results(), "a dog"], r"res.json: result 3 \(from 0\) is text, not an object"),
        (None, [{"image_id": 7, "caption": None}], r"caption of image_id 7 is null, not text"),
        (None, [{"image_id": 7, "caption": ["a"]}], r"caption of image_id 7 is a list, not text"),
        (None, [{"image_id": 7}], r"caption of image_id 7 is missing"),
        (None, [{"caption": "a"}], r"result 0 \(from 0\): image_id is missing"),
        (None, [{"image_id": True, "caption": "a"}], r"image_id is true or false"),
        (None, [{"image_id": 1.5, "caption": "a"}], r"image_id is the number 1.5"),
        (None, [{"image_id": float("nan"), "caption": "a"}], r"image_id is the number nan"),
        ({"images": []}, None, r"ann.json has no list of annotations"),
        ({"annotations": []}, None, r"ann.json has no annotations"),
        ({"annotations": [{"image_id": 7, "caption": 5}]}, None, r"annotation 0 .* is the number 5, not text"),
    ],
)
def test_wrong_files_are_refused_by_name_and_id(run, references: Any, predictions: Any, words: str) -> None:
    with pytest.raises(EvaluationError, match=words) as refused:
        run(references, predictions)
    assert refused.value.remedy


def test_a_broken_archive_is_refused(run, tmp_path: Path) -> None:
    (tmp_path / "broken.json.gz").write_bytes(gzip.compress(json.dumps(results()).encode())[:-20])
    with pytest.raises(EvaluationError, match=r"broken.json.gz cannot be read"):
        run(None, None, "--predictions", str(tmp_path / "broken.json.gz"))


@pytest.mark.parametrize("java", [True, False])
def test_the_command_prints_totals_alone_and_what_is_missing_apart(
    tmp_path: Path, repository: Path, java: bool
) -> None:
    ann, res = write(tmp_path / "ann.json", annotations()), write(tmp_path / "res.json", results())
    command = [
        sys.executable,
        "-c",
        "import sys; from experiments.cli import main; sys.exit(main())",
        "score",
        "caption",
    ]
    command += ["--references", str(ann), "--predictions", str(res), "--json", "--records", str(tmp_path / "r.parquet")]
    command += ["--metrics", "Bleu_4,CIDEr" if java else "Bleu_4,METEOR,CIDEr"]
    path = {"PYTHONPATH": str(repository), **({} if java else {"PATH": str(tmp_path)})}
    done = subprocess.run(command, capture_output=True, text=True, env=path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == ["Bleu_4", "CIDEr"]
    lines = done.stderr.splitlines()
    assert lines == [] if java else len(lines) == 1 and lines[0].startswith("METEOR: not computed: there is no Java")
    assert len(load_records(tmp_path / "r.parquet")) == 6


@needs_java
@pytest.mark.slow
def test_numbers_of_a_real_set_are_the_official_ones(reference_file) -> None:
    """All metrics through the command's module, METEOR among them."""
    name = "caption/coco_karptest_25"
    parser = argparse.ArgumentParser()
    caption.configure(parser)
    given = ["--references", str(reference_file(f"{name}.ann.json.gz"))]
    given += ["--predictions", str(reference_file(f"{name}.constant_a.results.json.gz"))]
    found = caption.score(parser.parse_args(given))
    expected = json.loads(reference_file(f"{name}.constant_a.expected.json").read_text())["overall"]
    assert {name: found.totals[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found.fingerprint["tokenizer"].startswith("ptb-java")
