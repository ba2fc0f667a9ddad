"""Caption datasets in their publishers' own layout, a few pictures each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 24


def picture(path: Path, number: int) -> None:
    """A photograph that is not square, of a colour that tells its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((30, 40, 3), (40 * number % 256, 200 - 10 * number, 90), np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def sentences(number: int, count: int = 5) -> list[dict[str, Any]]:
    texts = [f"a thing number {number} seen {time} times" for time in range(count)]
    return [
        {"tokens": text.split(), "raw": text, "imgid": number, "sentid": number * 10 + n}
        for n, text in enumerate(texts)
    ]


def make_coco(root: Path, tests: int = 6) -> None:
    """Karpathy's file with images of all four splits, and pictures of those in val2014."""
    images: list[dict[str, Any]] = []
    for number, split in enumerate(["train", "restval", "val", "val", "val", *["test"] * tests]):
        folder = "train2014" if split == "train" else "val2014"
        name = f"COCO_{folder}_{391895 + number:012d}.jpg"
        images.append(
            {
                "filepath": folder,
                "sentids": [number * 10 + n for n in range(5)],
                "filename": name,
                "imgid": number,
                "split": split,
                "sentences": sentences(number),
                "cocoid": 391895 + number,
            }
        )
        if split != "train":
            picture(root / "coco" / folder / name, number)
    write(root / "coco" / "dataset_coco.json", {"images": images, "dataset": "coco"})


def make_flickr30k(root: Path, tests: int = 4) -> None:
    images: list[dict[str, Any]] = []
    for number, split in enumerate(["train", "val", "val", *["test"] * tests]):
        name = f"{1000092795 + number}.jpg"
        entry = {"sentids": [number], "imgid": number, "sentences": sentences(number), "split": split, "filename": name}
        images.append(entry)
        picture(root / "flickr30k" / "flickr30k-images" / name, number)
    write(root / "flickr30k" / "dataset_flickr30k.json", {"images": images, "dataset": "flickr30k"})


def make_nocaps(root: Path, count: int = 6) -> None:
    domains = ("in-domain", "near-domain", "out-domain")
    images, annotations = [], []
    for number in range(count):
        name = f"{number:04d}13ea2087020901.jpg"
        images.append(
            {
                "id": number,
                "open_images_id": Path(name).stem,
                "height": 30,
                "width": 40,
                "coco_url": f"https://s3.amazonaws.com/nocaps/val/{name}",
                "file_name": name,
                "license": 0,
                "domain": domains[number % 3],
            }
        )
        for text in sentences(number, 10):
            annotations.append({"image_id": number, "id": text["sentid"], "caption": text["raw"]})
        picture(root / "nocaps" / "images" / name, number)
    content = {"licenses": [], "info": {"url": "http://nocaps.org"}, "images": images, "annotations": annotations}
    write(root / "nocaps" / "nocaps_val_4500_captions.json", content)
