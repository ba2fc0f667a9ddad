"""`lavit score fid|kid|cmmd|clipscore|geneval`: files of anyone, refused by name or scored."""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from t2i_files import METADATA, write_clip, write_inception

from evals.errors import EvaluationError
from evals.records import save_records
from evals.score.scored import Scored


def score(kind: str, *words: object) -> Scored:
    module = importlib.import_module(f"evals.score.{kind}")
    parser = argparse.ArgumentParser()
    module.configure(parser)
    scored = module.score(parser.parse_args([str(word) for word in words]))
    json.dumps(scored.totals, allow_nan=False)
    return scored


@pytest.fixture
def sets(tmp_path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    for name, rows in (("a", 30), ("b", 20)):
        np.save(tmp_path / f"{name}.npy", random.normal(size=(rows, 5)).astype(np.float32))
    return tmp_path / "a.npy", tmp_path / "b.npy"


def test_fid_of_arrays_statistics_and_archives_is_one_number(sets, tmp_path) -> None:
    a, b = sets
    features = np.load(b).astype(np.float64)
    np.savez(tmp_path / "s.npz", mu=features.mean(0), sigma=np.cov(features.T))
    np.savez_compressed(tmp_path / "f.npz", features=features, names=np.array(["x"] * 20))
    found = score("fid", "--features", a, b)
    assert found.totals["n_a"] == 30 and found.totals["n_b"] == 20 and found.totals["dimensions"] == 5
    for other in ("s.npz", "f.npz"):
        assert score("fid", "--features", a, tmp_path / other).totals["FID"] == pytest.approx(found.totals["FID"])
    assert "n_b" not in score("fid", "--features", a, tmp_path / "s.npz").totals
    save_records(tmp_path / "r.parquet", found.records)


def test_kid_has_three_estimators_and_subsets_on_request(sets) -> None:
    a, b = sets
    plain = score("kid", "--features", a, b)
    assert {"KID", "KID_biased"} < set(plain.totals) and "30 and 20 rows" in plain.missing["KID_u_statistic"]
    assert "KID_u_statistic" in score("kid", "--features", a, a).totals
    twice = [score("kid", "--features", a, b, "--subsets", 5, "--subset-size", 10).totals for _ in range(2)]
    assert twice[0] == twice[1] and twice[0]["KID_subsets_std"] > 0
    assert score("cmmd", "--features", a, a).totals["CMMD"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "b.npy cannot be read as arrays"),
        (lambda p: p.unlink(), "b.npy: there is no such file"),
        (lambda p: p.write_bytes(pickle.dumps([1])), "b.npy cannot be read as arrays"),
        (lambda p: np.save(p, np.array([{}, {}], dtype=object)), "b.npy cannot be read as arrays"),
        (lambda p: np.save(p, np.full((3, 5), np.nan)), r"b.npy\[0, 0\] is nan, and 14 more"),
        (lambda p: np.save(p, np.ones((3, 4))), "a.npy has 5 features, .*b.npy has 4"),
        (lambda p: np.save(p, np.ones((1, 5))), "b.npy has 1 rows"),
        (lambda p: np.save(p, np.ones(5)), r"b.npy has shape \[5\]"),
        (lambda p: np.save(p, np.full((3, 5), "x")), "b.npy has dtype <U1"),
    ],
)
@pytest.mark.parametrize("kind", ["fid", "kid", "cmmd"])
def test_spoilt_features_are_refused_by_name(sets, spoil, complaint, kind) -> None:
    spoil(sets[1])
    with pytest.raises(EvaluationError, match=complaint):
        score(kind, "--features", *sets)


def test_arrays_that_are_not_told_apart_are_refused(sets, tmp_path) -> None:
    np.savez(tmp_path / "two.npz", x=np.ones((3, 5)), y=np.ones((3, 5)))
    with pytest.raises(EvaluationError, match="holds the arrays x, y"):
        score("fid", "--features", sets[0], tmp_path / "two.npz")
    np.savez(tmp_path / "s.npz", mu=np.zeros(5), sigma=np.eye(5))
    with pytest.raises(EvaluationError, match="holds statistics"):
        score("kid", "--features", sets[0], tmp_path / "s.npz")


def test_fid_case_files_give_the_reference(shared_fixtures, tmp_path) -> None:
    arrays = np.load(shared_fixtures / "t2i/fid_cases.npz")
    expected = json.loads((shared_fixtures / "t2i/fid_kid_expected.json").read_text())["fid"]
    for case in expected:
        for side in (1, 2):
            parts = {part: arrays[f"{case['name']}/{part}{side}"] for part in ("mu", "sigma")}
            np.savez(tmp_path / f"{side}.npz", **parts)
        value = score("fid", "--features", tmp_path / "1.npz", tmp_path / "2.npz").totals["FID"]
        assert abs(value - case["reference"]) <= 1e-6 * max(1, abs(case["reference"])), case["name"]


def test_clipscore_of_features(shared_fixtures, tmp_path) -> None:
    expected = json.loads((shared_fixtures / "t2i/clipscore_expected.json").read_text())
    path = shared_fixtures / "t2i/clipscore_features.npz"
    found = score("clipscore", "--features", path)
    assert found.totals["CLIPScore"] == expected["clipscore_mean"]
    assert found.totals["RefCLIPScore"] == pytest.approx(np.mean(expected["refclipscore"]), abs=1e-6)
    assert [r.score for r in found.records if r.metric == "CLIPScore"] == pytest.approx(expected["clipscore"], abs=1e-6)
    arrays = dict(np.load(path))
    np.savez(tmp_path / "less.npz", image=arrays["image"], candidate=arrays["candidate"])
    assert score("clipscore", "--features", tmp_path / "less.npz").missing == {
        "RefCLIPScore": "there are no references"
    }
    np.savez(tmp_path / "half.npz", **{name: arrays[name] for name in ("image", "candidate", "refs")})
    with pytest.raises(EvaluationError, match="ref_index"):
        score("clipscore", "--features", tmp_path / "half.npz")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for side in "ab":
        (folder / side).mkdir()
        for number in range(3):
            noise = np.random.default_rng([ord(side), number]).integers(0, 255, (20 + number, 30, 3), np.uint8)
            Image.fromarray(noise).save(folder / side / f"image{number}.png")
    return folder


def test_pictures_by_clip_are_never_called_fid(pictures, tmp_path) -> None:
    clip = write_clip(tmp_path / "clip")
    a, b = pictures / "a", pictures / "b"
    found = score("fid", "--images", a, b, "--clip", clip)
    assert set(found.totals) == {"FD_CLIP", "n_a", "n_b", "dimensions"} and found.fingerprint["weights_sha256"]
    assert score("cmmd", "--images", a, b, "--clip", clip).totals["CMMD"] != 0
    (tmp_path / "captions.json").write_text(json.dumps({"image0": "a cat", "image2": "a dog"}))
    (tmp_path / "refs.json").write_text(json.dumps({"image0": ["cat", "two"], "image2": ["dog"]}))
    words = ("--images", a, "--captions", tmp_path / "captions.json", "--clip", clip)
    scored = score("clipscore", *words, "--references", tmp_path / "refs.json")
    assert scored.totals["n"] == 2 and {"CLIPScore", "RefCLIPScore"} < set(scored.totals)
    assert [record.example_id for record in scored.records[:2]] == ["image0", "image2"]
    (tmp_path / "captions.json").write_text(json.dumps({"image7": "a cat"}))
    with pytest.raises(EvaluationError, match="no picture 'image7'"):
        score("clipscore", *words)


def test_pictures_by_inception_are_fid_also_against_statistics(pictures, tmp_path) -> None:
    weights = write_inception(tmp_path / "pt_inception.pth")
    np.savez(tmp_path / "s.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    np.save(tmp_path / "f.npy", np.random.default_rng(0).normal(size=(4, 2048)))
    found = score("kid", "--images", pictures / "a", tmp_path / "f.npy", "--inception", weights)
    assert found.totals["n_a"] == 3 and found.totals["n_b"] == 4 and "KID" in found.totals


def test_pictures_need_one_extractor(pictures, tmp_path) -> None:
    with pytest.raises(EvaluationError, match="needs one extractor"):
        score("fid", "--images", pictures / "a", pictures / "b")
    with pytest.raises(EvaluationError, match="no such file"):
        score("fid", "--images", pictures / "a", pictures / "b", "--inception", tmp_path / "none.pth")
    with pytest.raises(EvaluationError, match=r"There is no folder .*none with a CLIP model"):
        score("cmmd", "--images", pictures / "a", pictures / "b", "--clip", tmp_path / "none")


def test_geneval_reads_cases_in_every_packing(shared_fixtures, tmp_path) -> None:
    source = shared_fixtures / "t2i/geneval_cases.json.gz"
    cases = json.loads(gzip.decompress(source.read_bytes()))["cases"]
    whole = score("geneval", "--cases", source)
    assert [bool(record.score) for record in whole.records] == [case["expected_correct"] for case in cases]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    for name in ("cases.jsonl", "cases.json"):
        assert score("geneval", "--cases", tmp_path / name).totals == whole.totals
    rows = [
        {
            "filename": f"{n}.png",
            "tag": case["metadata"]["tag"],
            "prompt": case["metadata"]["prompt"],
            "correct": case["expected_correct"],
            "reason": case["expected_reason"],
            "metadata": json.dumps(case["metadata"]),
        }
        for n, case in enumerate(cases)
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert score("geneval", "--results", tmp_path / "results.jsonl").totals == whole.totals


CASE = {
    "id": 3,
    "metadata": METADATA[2],
    "detections": {"bus": [[0, 0, 9, 9, 0.9]]},
    "detection_colors": {"bus": ["red"]},
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"detections": {"bus": [[0, 0, 9, 0.9]]}}, "detections of 'bus' are not rows"),
        ({"detections": {"bus": [[0, 0, 9, 9, float("nan")]]}}, "detections of 'bus' are not rows"),
        ({"detections": []}, "'detections' is list, not dict"),
        ({"detection_colors": {}}, "detection_colors lacks 'bus' number 0"),
        ({"metadata": {"tag": "colors", "prompt": "x"}}, "'include' is missing"),
        ({"metadata": {**METADATA[2], "include": [{"class": "bus", "count": 0}]}}, "'count' is 0"),
        ({"metadata": {**METADATA[3], "include": METADATA[3]["include"][1:]}}, "names demand 0"),
    ],
)
def test_a_wrong_case_is_named(tmp_path, change, complaint) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"cases": [{**CASE, **change}]}))
    with pytest.raises(EvaluationError, match=complaint) as caught:
        score("geneval", "--cases", path)
    assert "id 3" in str(caught.value)
    path.write_text(json.dumps([CASE, CASE]))
    with pytest.raises(EvaluationError, match="id '3' stands twice"):
        score("geneval", "--cases", path)
