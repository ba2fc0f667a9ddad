"""Which pictures are on the page: as many as fit, none where none are wanted, a dataset's only where asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic_study import write_study

import reports
from reports import report
from reports.html import page as page_module


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study with pictures of its own world."""
    arms: dict[str, dict[str, str]] = {"default": {}, "llm=frozen": {"llm": "frozen"}}
    return write_study(tmp_path_factory.mktemp("pictured") / "s", arms, (0, 1), images=24, questions=1, pictures=12)


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FIGURES", ())


def data_of(html: Path) -> dict[str, Any]:
    """What the example browser is given."""
    found = re.search(r'id="data">(.*?)</script>', html.read_text(encoding="utf-8"), re.S)
    assert found is not None
    return dict(json.loads(found[1]))


def test_the_worlds_own_pictures_are_on_the_page(pictured: Path, tmp_path: Path) -> None:
    html = reports.build(pictured, tmp_path).html
    data = data_of(html)
    assert len(data["pictures"]) > 12
    assert '<section id="samples">' in html.read_text(encoding="utf-8")
    assert all(e["image"] in data["pictures"] for e in data["examples"] if e["image"])


def test_a_page_can_be_without_pictures(pictured: Path, tmp_path: Path) -> None:
    html = reports.build(pictured, tmp_path, images=False).html
    assert "data:image/" not in html.read_text(encoding="utf-8")
    assert data_of(html)["examples"]


def test_pictures_of_a_dataset_are_on_the_page_only_where_asked_for(pictured: Path, tmp_path: Path) -> None:
    moved = {}
    for path in sorted((pictured / "images").glob("c*.png")):
        moved[path] = path.rename(path.with_name(f"caption--i{path.stem[1:]}.png"))
    try:
        html = reports.build(pictured, tmp_path / "a").html
        examples = [e for e in data_of(html)["examples"] if e["benchmark"] == "caption"]
        assert examples
        assert not any(e["image"] for e in examples)
        assert "Pictures of caption are a dataset&#39;s" in html.read_text(encoding="utf-8")
        html = reports.build(pictured, tmp_path / "b", images=True).html
        assert any(e["image"] for e in data_of(html)["examples"] if e["benchmark"] == "caption")
    finally:
        for old, new in moved.items():
            new.rename(old)


def test_pictures_take_no_more_than_there_is_room_for(
    pictured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reports.build(pictured, tmp_path / "a").html
    size = len(whole.read_bytes())
    pictures = sum(map(len, data_of(whole)["pictures"].values()))
    embedder = page_module.Embedder
    monkeypatch.setattr(page_module, "Embedder", lambda room: embedder(pictures // 2))
    html = reports.build(pictured, tmp_path / "b").html
    assert len(html.read_bytes()) < size - pictures // 4
    data = data_of(html)
    assert data["pictures"]
    for example in data["examples"]:
        drawn = {"i" in chip for arm in example["arms"] for chip in arm}
        assert example["benchmark"] != "t2i" or len(drawn) == 1, "all drawings of an example or none"
    assert "had no room on the page" in html.read_text(encoding="utf-8")
