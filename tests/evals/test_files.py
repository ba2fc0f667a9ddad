"""A suite of datasets in files: all that is missing is told at once, or skipped where the suite says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_corpus import Blind, TinyCorpus

from evals.errors import EvaluationError
from evals.files import check_files, files_fingerprint
from evals.runner import build_suite, evaluate

ENTRIES = {
    "coco": {"_target_": "evals.benchmarks.coco.CocoCaption", "controls": {"vision_off": None, "shuffled": None}},
    "nocaps": {"_target_": "evals.benchmarks.nocaps.NoCaps"},
    "flickr30k": {"_target_": "evals.benchmarks.flickr30k.Flickr30k"},
    "caption": {"_target_": "evals.benchmarks.caption.Captioning", "count": 5},
}


def suite(missing: str | None = None, **changes: Any) -> dict[str, Any]:
    entries = {name: None if name in changes else entry for name, entry in ENTRIES.items()}
    return {"name": "paper", "benchmarks": entries, **({"missing": missing} if missing else {})}


def test_datasets_and_the_corpus_stand_in_one_suite(root: Path, tmp_path: Path) -> None:
    result = evaluate(Blind(), TinyCorpus(), build_suite(suite()), tmp_path / "out", root=root)
    assert {record.benchmark for record in result.records} == set(ENTRIES)
    assert {"coco/CIDEr", "coco/CIDEr@vision_off", "coco/CIDEr@shuffled"} <= set(result.metrics)
    assert {f"nocaps/CIDEr.{domain}-domain" for domain in ("in", "near", "out")} <= set(result.metrics)
    assert {record.kind for record in result.records if record.benchmark == "nocaps"} >= {"in-domain", "out-domain"}
    assert (tmp_path / "out" / "images" / "coco--391900.png").is_file()


def test_a_checkpoint_without_a_corpus_is_evaluated_on_datasets(root: Path, tmp_path: Path) -> None:
    alone = evaluate(Blind(), None, build_suite(suite(caption=None)), tmp_path / "a", root=root, image_size=8)
    assert len([r for r in alone.records if r.benchmark == "flickr30k" and not r.control]) == 4
    with pytest.raises(EvaluationError, match="this model has none"):
        evaluate(Blind(), None, build_suite(suite()), tmp_path / "b", root=root, image_size=8)


def test_all_that_is_missing_is_told_at_once(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "nocaps")
    (root / "flickr30k/dataset_flickr30k.json").unlink()
    for refuse in (
        lambda: evaluate(Blind(), TinyCorpus(), build_suite(suite()), tmp_path / "out", root=root),
        lambda: files_fingerprint(suite(), root),
        lambda: check_files(suite(), root),
    ):
        with pytest.raises(EvaluationError) as caught:
            refuse()
        told = str(caught.value)
        assert f"- nocaps: NoCaps validation: there is no folder {root}/nocaps" in told
        assert "dataset_flickr30k.json" in told and "- coco:" not in told
        assert "nocaps.org/download" in told and "suite.missing=skip" in told
    assert not (tmp_path / "out" / "resume").exists(), "before any work"


def test_no_root_at_all_is_told_once_for_each_benchmark() -> None:
    with pytest.raises(EvaluationError, match="3 of 3 benchmarks cannot be run") as caught:
        files_fingerprint(suite(), None)
    assert str(caught.value).count("data.root is not set") == 3


def test_what_is_missing_is_skipped_with_its_reason_on_request(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "nocaps")
    result = evaluate(Blind(), TinyCorpus(), build_suite(suite("skip")), tmp_path / "out", root=root)
    assert {record.benchmark for record in result.records} == {"coco", "flickr30k", "caption"}
    assert result.skipped["nocaps"] == f"NoCaps validation: there is no folder {root}/nocaps."
    assert json.loads((tmp_path / "out" / "skipped.json").read_text())["nocaps"]
    assert len(check_files(suite("skip"), root)) == 3


def test_a_broken_file_is_never_skipped(root: Path, tmp_path: Path) -> None:
    path = root / "nocaps/nocaps_val_4500_captions.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(EvaluationError, match="is not JSON"):
        evaluate(Blind(), TinyCorpus(), build_suite(suite("skip")), tmp_path / "out", root=root)
    with pytest.raises(EvaluationError, match=r"suite\.missing is 'ignore'"):
        build_suite(suite("ignore"))


def test_the_hash_is_of_what_the_files_say(root: Path, tmp_path: Path) -> None:
    before = files_fingerprint(suite(), root)
    shutil.copytree(root, tmp_path / "moved")
    assert files_fingerprint(suite(), tmp_path / "moved") == before
    assert files_fingerprint(suite(nocaps=None), root) != before
    assert files_fingerprint({"benchmarks": {"caption": ENTRIES["caption"]}}, None) == ""
    shutil.rmtree(tmp_path / "moved/nocaps")
    skipped = files_fingerprint(suite("skip"), tmp_path / "moved")
    assert skipped != files_fingerprint(suite("skip"), root), "evaluated once it is there"
    path = root / "coco/dataset_coco.json"
    path.write_text(path.read_text().replace("number 7", "number seven"))
    assert files_fingerprint(suite(), root) != before
