"""Images with human text: read from folder or zip, described and questioned; what is wrong is named."""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lavit.data import Corpus, build, check, fingerprint
from lavit.data.image_text import ImageText
from lavit.data.image_text.rows import plain
from lavit.errors import LavitError

REAL = Path(os.environ.get("LAVIT_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
GROUPS = ["animals & nature", "objects"]


def make_rows(count: int = 24) -> list[dict[str, Any]]:
    return [
        {
            "id": f"p{i}",
            "name": f"Thing  number {i}",
            "keywords": ["Thing", "animal" if i % 2 else "tool", *(["red"] if i % 3 == 0 else [])],
            "group": GROUPS[i % 2 == 0],
            "part": ("train", "train", "val", "test")[i % 4],
        }
        for i in range(count)
    ]


def write(folder: Path, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A miniature data set, and the config node that reads it."""
    rows = make_rows() if rows is None else rows
    images = folder / "images"
    (images / "deep").mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(make_rows()):
        if i % 3 == 0:
            picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
            picture.paste((200, 10 * i, 0, 255), (0, 0, 8, 16))
            picture.save(images / f"{row['id']}.png")
        else:
            Image.new("RGB", (12, 6), (0, 10 * i, 250)).save(images / "deep" / f"{row['id']}.jpg", quality=95)
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        "_target_": "lavit.data.image_text.ImageText",
        "name": "mini",
        "images": str(images),
        "texts": str(texts),
        "split_key": "part",
        "image_size": 16,
        "keyword_count": 2,
    }


@pytest.fixture
def node(tmp_path: Path) -> dict[str, Any]:
    return write(tmp_path)


def test_a_folder_becomes_a_corpus(node: dict[str, Any]) -> None:
    corpus = build(node)
    assert isinstance(corpus, ImageText)
    assert isinstance(corpus, Corpus)
    assert [corpus.size(split) for split in corpus.splits()] == [12, 6, 6]
    index = np.array([0, 2, 0])
    images = corpus.images("train", index)
    assert images.shape == (3, 16, 16, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images[0], images[2])
    # A transparent half lies on white.
    assert images[0, 3, 3].tolist() == [200, 0, 0]
    assert images[0, 3, 12].tolist() == [255, 255, 255]
    assert corpus.prompts("train", index) == ["thing number 0", "thing number 4", "thing number 0"]
    assert corpus.captions("train", index)[0] == ["thing number 0", "thing number 0: tool, red"]
    assert corpus.scene_judge() is None
    assert corpus.patch_labels("train", index, 8) is None
    assert "12 train, 6 val, 6 test" in corpus.describe()
    assert check(node) == corpus.describe()


def test_what_is_not_square_is_padded_not_stretched(node: dict[str, Any]) -> None:
    picture = build(node).images("train", np.array([1]))[0]
    assert picture[0].min() > 200
    assert picture[8, 8, 2] > 200
    assert picture[8, 8, 0] < 60


def test_opacity_gives_occupied_patches_and_area(node: dict[str, Any]) -> None:
    corpus = build(node)
    index = np.array([0, 1])
    occupied = corpus.object_patches("train", index, 8)
    assert occupied is not None
    assert occupied.tolist() == [[True, False, True, False], [True, True, True, True]]
    assert corpus.complexity("train", index)["area"] == pytest.approx([0.5, 0.5], abs=0.1)


def test_without_transparency_nothing_is_claimed(tmp_path: Path) -> None:
    node = write(tmp_path)
    for row in make_rows():
        Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "images" / f"{row['id']}.png")
        (tmp_path / "images" / "deep" / f"{row['id']}.jpg").unlink(missing_ok=True)
    corpus = build(node)
    assert corpus.object_patches("train", np.array([0]), 8) is None
    assert corpus.complexity("train", np.array([0])) == {}


def test_a_zip_is_the_same_as_its_folder(tmp_path: Path, node: dict[str, Any]) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "images").rglob("*.*")):
            file.write(path, f"any/{path.name}")
        file.writestr("__MACOSX/any/p0.png", b"not one")
        file.writestr("any/readme.txt", b"not one either")
    zipped = {**node, "images": str(archive)}
    for split in ("train", "val", "test"):
        index = np.arange(build(node).size(split))
        assert np.array_equal(build(node).images(split, index), build(zipped).images(split, index))
    assert fingerprint(node) != fingerprint(zipped)
    assert fingerprint(zipped) == fingerprint(zipped)


def test_a_change_of_text_or_pictures_changes_the_fingerprint(tmp_path: Path, node: dict[str, Any]) -> None:
    before = fingerprint(node)
    Image.new("RGB", (31, 30)).save(tmp_path / "images" / "p0.png")
    after = fingerprint(node)
    assert before != after
    rows = make_rows()
    rows[0]["name"] = "another"
    assert fingerprint(write(tmp_path, rows)) != after


def test_questions_are_true_balanced_and_pure(node: dict[str, Any]) -> None:
    corpus = build(node)
    index = np.arange(12)
    rows = corpus.rows("train", index)
    asked = corpus.questions("train", index, 4)
    answers: Counter[str] = Counter()
    for i, (row, questions) in enumerate(zip(rows, asked, strict=True)):
        assert questions == corpus.questions("train", np.array([i]), 4)[0]
        assert questions[:2] == corpus.questions("train", np.array([i]), 2)[0]
        for q in questions:
            if q.kind == "group":
                assert q.text == "what kind of thing is this?"
                assert q.answer == row.group
            else:
                word = q.text.removeprefix("is this a").removeprefix("n").strip(" ?")
                assert q.answer == ("yes" if word in row.keywords else "no")
                answers[q.answer] += 1
    assert {q.kind for row in asked for q in row} == {"group", "keyword"}
    assert abs(answers["yes"] - answers["no"]) <= 6
    for row, (description, questions) in zip(rows, corpus.grounded("train", index), strict=True):
        assert row.name in description
        assert row.group in description
        for q in questions:
            if q.answer == "yes":
                assert q.text.split()[-1].strip("?") in description.split("keywords: ")[1]
    assert all(corpus.documents("train", index))


def test_text_is_made_plain() -> None:
    assert plain("  Smileys & Emotion\n") == "smileys and emotion"
    assert plain("Two O\u2019clock") == "two o'clock"


def spoil(key: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        if value is None:
            del rows[4][key]
        else:
            rows[4][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("name", None), r"texts.jsonl, line 5: the field 'name' is missing"),
        (spoil("part", None), r"line 5: the field 'part' is missing.\n.*data.split_key=FIELD"),
        (spoil("name", 7), r"line 5: name must be a non-empty string, not 7"),
        (spoil("group", "  "), r"line 5: group must be a non-empty string"),
        (spoil("keywords", "red"), r"line 5: keywords must be a list"),
        (spoil("keywords", ["red", 3]), r"line 5: keywords must be a list"),
        (spoil("part", "dev"), r"line 5: part is 'dev', which is no split.\n.*train, val, test"),
        (spoil("id", "p1"), r"line 5: the id 'p1' stands on line 2 already"),
        (spoil("id", "p99"), r"line 5: .*has no picture for the id 'p99'.\n.*p99.png"),
        (lambda rows: rows.__setitem__(slice(None), rows[:2]), r"no row has part='val'"),
        (lambda rows: rows.clear(), r"holds no rows"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, change: Callable[..., None], message: str) -> None:
    rows = make_rows()
    change(rows)
    with pytest.raises(LavitError, match=message):
        build(write(tmp_path, rows))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "p0",', "line 3: this is not JSON"),
        ("[1, 2]", "line 3: a JSON object was expected, not a list"),
    ],
)
def test_a_line_that_is_not_a_row_is_refused(tmp_path: Path, line: str, message: str) -> None:
    node = write(tmp_path)
    texts = Path(node["texts"])
    lines = texts.read_text().splitlines()
    texts.write_text("\n".join([lines[0], "", line, *lines[1:]]))
    with pytest.raises(LavitError, match=message):
        build(node)


def test_texts_that_are_not_utf8_are_refused(node: dict[str, Any]) -> None:
    Path(node["texts"]).write_bytes(b"\xff\xfe\x00{}")
    with pytest.raises(LavitError, match="not UTF-8"):
        build(node)


def test_a_file_that_is_no_image_is_named(tmp_path: Path, node: dict[str, Any]) -> None:
    (tmp_path / "images" / "p0.png").write_bytes(b"<html>not found</html>" * 400)
    with pytest.raises(LavitError, match=r"p0\.png is not an image"):
        build(node)


def test_a_truncated_image_is_named_before_work_starts(tmp_path: Path, node: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    broken = tmp_path / "images" / "p0.png"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:6000])
    with pytest.raises(LavitError, match=r"p0\.png is not an image"):
        check(node)


@pytest.mark.parametrize("missing", ["images", "texts"])
def test_what_is_not_given_or_not_there_is_named(node: dict[str, Any], missing: str) -> None:
    with pytest.raises(LavitError, match=rf"needs data\.{missing}"):
        build({**node, missing: None})
    with pytest.raises(LavitError, match=rf"data\.{missing}: there is no"):
        build({**node, missing: "nowhere"})


def test_an_empty_folder_and_a_bad_zip_are_named(tmp_path: Path, node: dict[str, Any]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LavitError, match="holds no PNG or JPEG"):
        build({**node, "images": str(tmp_path / "empty")})
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    with pytest.raises(LavitError, match="neither a folder nor a readable zip"):
        build({**node, "images": str(tmp_path / "bad.zip")})


def test_two_files_of_one_id_are_refused(tmp_path: Path, node: dict[str, Any]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "deep" / "p0.png")
    with pytest.raises(LavitError, match="have one id, 'p0'"):
        build(node)


@pytest.mark.skipif(not (REAL / "emoji_noto128.zip").is_file(), reason="the emoji set is not here (LAVIT_REAL_DATA)")
def test_the_emoji_set() -> None:
    corpus = build(
        {
            "_target_": "lavit.data.image_text.ImageText",
            "images": str(REAL / "emoji_noto128.zip"),
            "texts": str(REAL / "emoji_captions.jsonl"),
            "split_key": "part",
        }
    )
    assert {split: corpus.size(split) for split in corpus.splits()} == {
        "train": 1082,
        "val": 163,
        "test": 157,
    }
    index = np.arange(corpus.size("test"))
    assert len(np.unique(corpus.images("test", index).reshape(len(index), -1), axis=0)) == len(index)
    asked = [q for row in corpus.questions("test", index, 6) for q in row]
    groups = {q.answer for q in asked if q.kind == "group"}
    assert len(groups) == 8
    answers = Counter(q.answer for q in asked if q.kind == "keyword")
    assert abs(answers["yes"] - answers["no"]) < 0.1 * sum(answers.values())
    assert len({q.id for q in asked}) == len(asked)
