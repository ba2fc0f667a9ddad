"""What is wrong with a dataset's folder, files or pictures is told when it is opened, with what to do."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_files import SIDE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from evals.datasets.coco_karpathy import CocoKarpathy
from evals.datasets.dataset import Dataset
from evals.datasets.flickr30k import Flickr30kKarpathy
from evals.datasets.nocaps import NoCapsVal
from evals.errors import EvaluationError

JSON = "coco/dataset_coco.json"


def open_coco(root: Path, split: str = "test") -> CocoKarpathy:
    return CocoKarpathy(root, split, SIDE)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_karpathys_splits_are_those_of_the_file(root: Path) -> None:
    assert {split: open_coco(root, split).size(split) for split in ("restval", "val", "test")} == {
        "restval": 1,
        "val": 3,
        "test": 6,
    }
    test = open_coco(root)
    assert test.image_id(0) == "391900"
    assert test.captions("test", np.array([1, 0]))[1] == [f"a thing number 5 seen {n} times" for n in range(5)]
    assert test.prompts("test", np.array([0])) == ["a thing number 5 seen 0 times"]
    assert "6 images" in test.describe()
    flickr = Flickr30kKarpathy(root, "test", SIDE)
    assert (flickr.size("test"), flickr.image_id(0)) == (4, "1000092798")


def test_pictures_are_squashed_to_the_side_that_the_model_reads(root: Path) -> None:
    images = open_coco(root).images("test", np.array([2, 0, 2]))
    assert images.shape == (3, SIDE, SIDE, 3) and images.dtype == np.uint8
    assert np.array_equal(images[0], images[2]) and not np.array_equal(images[0], images[1])
    with Image.open(root / "coco/val2014/COCO_val2014_000000391902.jpg") as original:
        expected = np.asarray(original.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    assert np.array_equal(images[0], expected)
    assert open_coco(root).images("test", np.zeros(0, int)).shape == (0, SIDE, SIDE, 3)


def test_nocaps_says_which_domain_an_image_is_of(root: Path) -> None:
    nocaps = NoCapsVal(root, "val", SIDE)
    assert [nocaps.kind(index) for index in range(3)] == ["in-domain", "near-domain", "out-domain"]
    assert len(nocaps.captions("val", np.array([0]))[0]) == 10


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root: shutil.rmtree(root), r"there is no folder data.root="),
        (lambda root: shutil.rmtree(root / "coco"), r"there is no folder .*/coco\."),
        (lambda root: _pack(root, "coco"), r"there is no folder .*/coco, but coco.zip: unpack it"),
        (lambda root: (root / JSON).unlink(), r"there is no file .*dataset_coco.json"),
        (lambda root: _zip_the_file(root), r"caption_datasets.zip: unpack what is in there"),
        (lambda root: shutil.rmtree(root / "coco/val2014"), r"there is no folder .*val2014, in which 6 of 6 pictures"),
        (lambda root: _pack(root / "coco", "val2014"), r"val2014.zip: unpack what is in there"),
        (lambda root: _pictures(root)[-1].unlink(), r"the picture .*391905.jpg is missing"),
        (lambda root: [p.unlink() for p in _pictures(root)[-4:]], r"391902.jpg is missing, and 3 more of 6 pictures"),
        (lambda root: _dangling(root), r"/coco is a link to /nowhere, which is not there"),
    ],
)
def test_what_is_missing_is_told_with_the_page_and_the_layout(
    root: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(root)
    with pytest.raises(EvaluationError, match=told) as caught:
        open_coco(root)
    assert "cocodataset.org" in caught.value.remedy and "coco/val2014/" in caught.value.remedy


def _pictures(root: Path) -> list[Path]:
    return sorted((root / "coco/val2014").iterdir())


def _pack(place: Path, name: str) -> None:
    shutil.make_archive(str(place / name), "zip", place / name)
    shutil.rmtree(place / name)


def _zip_the_file(root: Path) -> None:
    (root / JSON).unlink()
    (root / "coco/caption_datasets.zip").touch()


def _dangling(root: Path) -> None:
    shutil.rmtree(root / "coco")
    (root / "coco").symlink_to("/nowhere")


def test_folders_may_be_links_and_annotations_gzipped(root: Path, tmp_path: Path) -> None:
    plain = CocoKarpathy.fingerprint(root, "test")
    (tmp_path / "elsewhere").mkdir()
    (root / "coco/val2014").rename(tmp_path / "elsewhere/pictures")
    (root / "coco/val2014").symlink_to(tmp_path / "elsewhere/pictures")
    (root / f"{JSON}.gz").write_bytes(gzip.compress((root / JSON).read_bytes()))
    (root / JSON).unlink()
    (tmp_path / "linked").symlink_to(root)
    assert open_coco(tmp_path / "linked").images("test", np.arange(6)).any()
    assert CocoKarpathy.fingerprint(root, "test") == plain, "the same annotations, packed"


def _entry(number: int, **values: Any) -> Callable[[Any], None]:
    return lambda content: content["images"][number].update(values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.pop("images"), r"the file: 'images' is missing, not list"),
        (lambda content: content["images"].append("x"), r"images\[11\] is str, not an object"),
        (_entry(7, cocoid="12"), r"images\[7\]: 'cocoid' is str, not int"),
        (_entry(7, cocoid=True), r"images\[7\]: 'cocoid' is bool, not int"),
        (_entry(7, cocoid=391895), r"image '391895' stands twice"),
        (_entry(7, split="dev"), r"images\[7\]: split is 'dev'"),
        (_entry(7, filename=None), r"image 391902: 'filename' is NoneType, not str"),
        (_entry(7, sentences=[]), r"image 391902 has no caption"),
        (_entry(7, sentences=[{"raw": "  "}]), r"image 391902 has no caption"),
        (_entry(7, sentences=[{"tokens": []}]), r"a sentence of image 391902: 'raw' is missing"),
    ],
)
def test_an_entry_that_will_not_do_is_named(root: Path, change: Callable[[Any], None], told: str) -> None:
    edit(root / JSON, change)
    with pytest.raises(EvaluationError, match=told) as caught:
        open_coco(root)
    assert str(root / JSON) in caught.value.message and caught.value.remedy


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["images"][1].update(id=0), r"image id 0 stands twice"),
        (lambda c: c["annotations"][1].update(id=0), r"id 0 stands twice"),
        (lambda c: c["annotations"][0].update(image_id=77), r"captions of image 77, which is not among the images"),
        (lambda c: c.update(annotations=c["annotations"][10:]), r"image 0 has no caption"),
        (lambda c: c["images"][2].update(domain="outside"), r"image 2: domain is 'outside'"),
        (lambda c: c["annotations"][3].pop("caption"), r"annotation 3: 'caption' is missing"),
    ],
)
def test_nocaps_files_are_joined_without_a_remainder(root: Path, change: Callable[[Any], None], told: str) -> None:
    edit(root / "nocaps/nocaps_val_4500_captions.json", change)
    with pytest.raises(EvaluationError, match=told):
        NoCapsVal(root, "val", SIDE)


def test_a_file_that_is_not_utf8_is_told_by_its_line(root: Path) -> None:
    (root / JSON).write_bytes(b'{"images":\n[{"raw": "caf\xe9"}]}')
    with pytest.raises(EvaluationError, match=r"line 2 is not UTF-8"):
        open_coco(root)


@pytest.mark.parametrize(
    "packing", [b"not gzip at all", gzip.compress(b"{}" * 999)[:30], b"\x1f\x8b\x08\0\0\0\0\0\0\3garbage"]
)
def test_a_broken_packing_is_told(root: Path, packing: bytes) -> None:
    (root / JSON).unlink()
    (root / f"{JSON}.gz").write_bytes(packing)
    with pytest.raises(EvaluationError, match=r"dataset_coco.json.gz cannot be read"):
        open_coco(root)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_file_that_is_cut_off_anywhere_is_refused(root: Path, share: float) -> None:
    whole = gzip.compress((root / JSON).read_bytes(), mtime=0)
    text = (root / JSON).read_bytes()
    for name, data in ((JSON, text), (f"{JSON}.gz", whole)):
        shutil.copytree(root, root.parent / "cut", dirs_exist_ok=True)
        (root.parent / "cut" / JSON).unlink()
        (root.parent / "cut" / name).write_bytes(data[: int(share * len(data))])
        with pytest.raises(EvaluationError, match=r"is not JSON|cannot be read") as caught:
            open_coco(root.parent / "cut")
        assert "download it again" in caught.value.remedy
        (root.parent / "cut" / name).unlink()


def test_a_picture_that_cannot_be_read_is_named_when_it_is_asked_for(root: Path) -> None:
    broken = _pictures(root)[-1]
    broken.write_bytes(broken.read_bytes()[:200])
    coco = open_coco(root)
    assert coco.images("test", np.arange(5)).any()
    with pytest.raises(EvaluationError, match=re.escape(f"{broken} is not an image that can be read")):
        coco.images("test", np.array([5]))


def test_pictures_of_other_modes_are_read(root: Path) -> None:
    for path, mode in zip(_pictures(root)[-6:], ("L", "CMYK", "RGB", "L", "RGB", "RGB"), strict=True):
        Image.new(mode, (7, 9), 77 if mode == "L" else None).save(path)
    assert open_coco(root).images("test", np.arange(6)).shape == (6, SIDE, SIDE, 3)


def test_pictures_that_nobody_asks_for_need_not_be_there(root: Path) -> None:
    with pytest.raises(EvaluationError, match="train2014"):
        open_coco(root, "train")
    assert CocoKarpathy(root, "train", SIDE, all_pictures=False).size("train") == 1


def test_a_split_that_the_set_does_not_have(root: Path) -> None:
    with pytest.raises(EvaluationError, match="no split 'dev'") as caught:
        open_coco(root, "dev")
    assert "train, restval, val, test" in caught.value.remedy


def test_another_annotation_file_is_another_fingerprint(root: Path, tmp_path: Path) -> None:
    before = CocoKarpathy.fingerprint(root, "test")
    shutil.copytree(root, tmp_path / "moved")
    assert CocoKarpathy.fingerprint(tmp_path / "moved", "test") == before
    _pictures(root)[0].unlink()
    assert CocoKarpathy.fingerprint(root, "test") == before, "pictures do not count"
    edit(root / JSON, _entry(7, cocoid=5))
    assert CocoKarpathy.fingerprint(root, "test") != before


def test_40_000_pictures_are_looked_for_in_a_second(tmp_path: Path) -> None:
    folder = tmp_path / "many" / "pictures"
    folder.mkdir(parents=True)
    for number in range(40_000):
        (folder / f"{number}.jpg").touch()
    started = time.process_time()
    Many(tmp_path, "test", SIDE)
    assert time.process_time() - started < 1.0


class Many(Dataset):
    """Nothing but pictures."""

    name = title = folder = "many"
    page = layout = ""
    known_splits = ("test",)

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        return []

    def read(self) -> None:
        pass

    def size(self, split: str) -> int:
        return 40_000

    def image_id(self, index: int) -> str:
        return str(index)

    def image_path(self, index: int) -> Path:
        return self.root / "pictures" / f"{index}.jpg"
