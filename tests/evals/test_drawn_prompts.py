"""Text to image from published prompts: layouts, set-level metrics, missing weights, interruption."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from t2i_files import METADATA, Painter, write_clip, write_coco, write_compbench, write_detector, write_geneval
from tiny_corpus import Oracle, TinyCorpus

from evals.errors import EvaluationError
from evals.metrics.frechet import frechet_of_features
from evals.records import load_records
from evals.runner import build_suite, evaluate, recompute

COCO, GENEVAL, COMPBENCH, WORLD = (
    f"evals.benchmarks.{name}"
    for name in ("coco_t2i.CocoTextToImage", "geneval.GenEvalDrawings", "t2i_compbench.CompBench", "t2i.TextToImage")
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def run(out: Path, root: Path, target: str, model=None, name: str = "x", **settings):
    suite = build_suite({"name": "one", "benchmarks": {name: {"_target_": target, "batch": 4, **settings}}})
    result = evaluate(model or Painter(), None, suite, out, root=root, image_size=16)
    if result.records:
        assert recompute(out) == (result.metrics, result.skipped), "from records and kept features"
    return result


def test_coco_compares_drawings_with_photographs_and_says_what_is_missing(tmp_path) -> None:
    write_coco(tmp_path)
    result = run(tmp_path / "out", tmp_path, COCO, controls={"ceiling": None})
    assert set(result.metrics) == {"x/FD_own", "x/FD_own@ceiling"}
    assert "suite.benchmarks.x.inception=PATH" in result.skipped["x/FID"]
    assert "suite.benchmarks.x.clip=PATH" in result.skipped["x/CMMD"] and "x/CLIPScore" in result.skipped
    photos, drawn = [], []
    for record in load_records(tmp_path / "out" / "records.parquet"):
        if record.control == "":
            photo = Image.open(tmp_path / f"coco/val2014/COCO_val2014_{int(record.example_id):012d}.jpg")
            photos.append(np.asarray(photo.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)))
            drawn.append(np.asarray(Image.open(tmp_path / f"out/drawings/x/{record.example_id}.png")))
            assert record.prompt.startswith("picture") and "\n" not in record.prompt
    own = [Painter().features(np.stack(images)).mean(axis=1) for images in (photos, drawn)]
    assert result.metrics["x/FD_own"] == pytest.approx(frechet_of_features(*own), rel=1e-6)


def test_a_caption_is_chosen_for_each_image_by_a_seed(tmp_path) -> None:
    write_coco(tmp_path, images=12)

    def prompts(out: str, **settings):
        run(tmp_path / out, tmp_path, COCO, set_metrics=[], **settings)
        return {record.example_id: record.prompt for record in load_records(tmp_path / out / "records.parquet")}

    first, fewer, other = prompts("a"), prompts("b", count=5), prompts("c", caption_seed=1)
    assert len(first) == 12 and fewer.items() <= first.items()
    assert first.keys() == other.keys() and first != other


def test_set_metrics_survive_an_interruption(tmp_path, clip) -> None:
    write_coco(tmp_path)
    settings = {"set_metrics": ["FD_own", "KD_own", "FD_CLIP", "CMMD", "CLIPScore"], "clip": str(clip), "batch": 2}
    whole = run(tmp_path / "whole", tmp_path, COCO, **settings)
    assert set(whole.metrics) == {f"x/{name}" for name in settings["set_metrics"]} and not whole.skipped

    class Tired(Painter):
        calls = 0

        def draw(self, prompts, seed, settings):
            Tired.calls += 1
            if Tired.calls == 3:
                raise RuntimeError("the power went out")
            return super().draw(prompts, seed, settings)

    with pytest.raises(RuntimeError, match="power"):
        run(tmp_path / "cut", tmp_path, COCO, Tired(), **settings)
    again = run(tmp_path / "cut", tmp_path, COCO, **settings)
    assert again.metrics == whole.metrics
    for name in ("records.parquet", "metrics.json", "features-x.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_weights_are_in_the_fingerprint_by_content_not_by_path(tmp_path, clip) -> None:
    write_coco(tmp_path)

    def protocol(folder):
        suite = build_suite({"name": "s", "benchmarks": {"x": {"_target_": COCO, "clip": str(folder)}}})
        return suite[0].settings()

    moved = tmp_path / "moved"
    shutil.copytree(clip, moved)
    assert protocol(clip) == protocol(moved)
    (moved / "vocab.txt").write_text("another")
    assert protocol(clip) != protocol(moved)


def test_other_weights_are_another_evaluation(tmp_path) -> None:
    write_geneval(tmp_path)

    def files(**settings):
        suite = build_suite({"name": "s", "benchmarks": {"x": {"_target_": GENEVAL, **settings}}})
        return suite[0].files_fingerprint(tmp_path)

    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "model.safetensors").write_text("one")
    first = files(detector=str(tmp_path / "detector"))
    (tmp_path / "detector" / "model.safetensors").write_text("another")
    assert len({files(), first, files(detector=str(tmp_path / "detector"))}) == 3


def test_statistics_stand_in_for_photographs(tmp_path) -> None:
    write_coco(tmp_path)
    shutil.rmtree(tmp_path / "coco/val2014")
    with pytest.raises(EvaluationError, match="val2014"):
        run(tmp_path / "a", tmp_path, COCO)
    statistics = tmp_path / "statistics.npz"
    np.savez(statistics, mu=np.zeros(2048), sigma=np.eye(2048))
    result = run(tmp_path / "b", tmp_path, COCO, statistics=str(statistics), controls={"ceiling": 4})
    assert result.skipped["x/FD_own"] == "this benchmark has no real images to compare with"
    assert "Inception" in result.skipped["x/FID"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d["annotations"][3].pop("caption"), "annotation 1003: 'caption' is missing"),
        (lambda d: d["annotations"][3].update(image_id=1), "annotation 1003 is of image 1"),
        (lambda d: d["annotations"].append(d["annotations"][0]), "annotation id 1000 stands twice"),
        (lambda d: d["images"].append(d["images"][0]), "image id 42 stands twice"),
        (lambda d: d.pop("images"), "'images' is missing"),
        (lambda d: d.update(annotations=[]), "holds no caption"),
    ],
)
def test_a_wrong_caption_file_is_refused_by_name(tmp_path, change, complaint) -> None:
    path = write_coco(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(EvaluationError, match=complaint) as caught:
        run(tmp_path / "out", tmp_path, COCO)
    assert str(path) in str(caught.value)


def test_geneval_keeps_drawings_as_its_own_detector_reads_them(tmp_path) -> None:
    write_geneval(tmp_path)
    result = run(tmp_path / "out", tmp_path, GENEVAL, drawings=2)
    assert result.metrics == {} and "x.detector=DIR" in result.skipped["x/overall"]
    for number, metadata in enumerate(METADATA):
        folder = tmp_path / "out/drawings/x" / f"{number:05d}"
        assert json.loads((folder / "metadata.jsonl").read_text()) == metadata
        assert sorted(path.name for path in (folder / "samples").iterdir()) == ["0000.png", "0001.png"]
        assert Image.open(folder / "samples/0001.png").size == (16, 16)
    records = load_records(tmp_path / "out" / "records.parquet")
    assert {record.cluster_id for record in records} == {f"{n:05d}" for n in range(4)} and len(records) == 8


def test_geneval_judges_with_a_local_detector_and_clip(tmp_path, clip) -> None:
    write_geneval(tmp_path)
    detector = write_detector(tmp_path / "detector")
    settings = {"drawings": 1, "detector": str(detector)}
    without = run(tmp_path / "a", tmp_path, GENEVAL, **settings)
    assert "x/overall" not in without.metrics and "colours need a CLIP model" in without.skipped["x/overall"]
    assert "x/correct.counting" in without.metrics and "x/correct.colors" not in without.metrics
    result = run(tmp_path / "b", tmp_path, GENEVAL, clip=str(clip), **settings)
    kinds = [result.metrics[f"x/correct.{row['tag']}"] for row in METADATA]
    assert result.metrics["x/overall"] == pytest.approx(np.mean(kinds)) and not result.skipped


def test_compbench_scores_by_category_and_keeps_the_authors_layout(tmp_path, clip) -> None:
    write_compbench(tmp_path)
    result = run(tmp_path / "a", tmp_path, COMPBENCH, clip=str(clip))
    assert "x/CLIPScore" in result.metrics and "x/CLIPScore.numeracy" in result.metrics
    assert "x/CLIPScore.3d_spatial" not in result.metrics
    folder = tmp_path / "a/drawings/x/color/samples"
    assert sorted(path.name for path in folder.iterdir()) == [
        "a color thing and or another_000000.png",
        "the other color thing._000000.png",
    ]
    bare = run(tmp_path / "b", tmp_path, COMPBENCH)
    assert bare.metrics == {} and "x/CLIPScore" in bare.skipped


def test_the_world_has_set_metrics_on_request_and_is_unchanged_without(tmp_path) -> None:
    def world(out, **settings):
        node = {"_target_": WORLD, "count": 12, "batch": 4, "controls": {"ceiling": 8}, **settings}
        suite = build_suite({"name": "one", "benchmarks": {"t2i": node}})
        return evaluate(Oracle(), TinyCorpus(), suite, tmp_path / out)

    plain, more = world("a"), world("b", set_metrics=["FD_own", "FID"])
    assert set(more.metrics) - set(plain.metrics) == {"t2i/FD_own", "t2i/FD_own@ceiling"}
    assert more.metrics["t2i/FD_own@ceiling"] == pytest.approx(0, abs=1e-9)  # this model reconstructs perfectly
    assert "set_metrics" not in plain.protocol["t2i"] and "t2i/FID" in more.skipped
    assert not (tmp_path / "a/drawings-t2i@ceiling.safetensors").exists()
    with pytest.raises(EvaluationError, match="there is no metric 'IS'"):
        world("c", set_metrics=["IS"])
