"""NoCaps (Agrawal et al. 2019): Open Images photographs of things that COCO captions do not name, ten captions each."""

from __future__ import annotations

from collections import defaultdict

from evals.datasets.karpathy import Captioned, CaptionSet, require_captions
from evals.datasets.reading import field_of, read_json, refuse_duplicates
from evals.errors import EvaluationError

DOMAINS = ("in-domain", "near-domain", "out-domain")


class NoCapsVal(CaptionSet):
    """The validation set: 4,500 images; the captions of the test set are not published.

    An image's kind is its domain: whether all, some or none of its objects are COCO's.
    """

    name = "nocaps"
    title = "NoCaps validation"
    folder = "nocaps"
    page = "https://nocaps.org/download (captions; images through the urls in that file)"
    layout = """\
  nocaps/nocaps_val_4500_captions.json
  nocaps/images/                          0013ea2087020901.jpg, ... (file_name in that file)"""
    known_splits = ("val",)
    file = "nocaps_val_4500_captions.json"

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """The captions."""
        return [cls.file]

    def read(self) -> None:
        """Join images with their captions; a caption of no image and an image without caption are refused."""
        path = self.annotation(self.file)
        data = read_json(path)
        entries = field_of(data, "images", list, path, "the file")
        ids = [field_of(entry, "id", int, path, f"images[{number}]") for number, entry in enumerate(entries)]
        refuse_duplicates(ids, path, "image id")
        said: dict[int, list[str]] = defaultdict(list)
        rows = field_of(data, "annotations", list, path, "the file")
        refuse_duplicates((field_of(r, "id", int, path, f"annotations[{n}]") for n, r in enumerate(rows)), path, "id")
        for row in rows:
            where = f"annotation {row['id']}"
            said[field_of(row, "image_id", int, path, where)].append(field_of(row, "caption", str, path, where))
        if strangers := sorted(set(said) - set(ids)):
            raise EvaluationError(
                f"{path}: there are captions of image {strangers[0]}, which is not among the images.",
                f"Download it again from {self.page}.",
            )
        self.images_of_split = []
        for identity, entry in zip(ids, entries, strict=True):
            where = f"image {identity}"
            domain = field_of(entry, "domain", str, path, where)
            if domain not in DOMAINS:
                raise EvaluationError(
                    f"{path}: {where}: domain is {domain!r}, not {', '.join(DOMAINS)}.",
                    f"Download it again from {self.page}.",
                )
            picture = f"images/{field_of(entry, 'file_name', str, path, where)}"
            captions = require_captions(said[identity], path, str(identity))
            self.images_of_split.append(Captioned(str(identity), picture, captions, domain))
