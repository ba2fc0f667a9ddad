"""NLVR (Suhr et al. 2017): is this sentence true of an image of three boxes with coloured shapes?"""

from __future__ import annotations

from pathlib import Path

from evals.datasets.nlvr_files import Claim, read_nlvr
from evals.datasets.question_set import QuestionSet
from evals.errors import EvaluationError
from lavit.data.protocol import Question


class NlvrClaims(QuestionSet):
    """5,934 claims (dev), 5,940 (test), six an example: its three boxes in every order."""

    name = "nlvr"
    title = "NLVR"
    folder = "nlvr"
    page = "https://github.com/lil-lab/nlvr/tree/master/nlvr"
    layout = """\
  nlvr/dev/dev.json                       (test/test.json for the split test)
  nlvr/dev/images/                        0/dev-1572-0-0.png, ..., in folders named by "directory\""""
    known_splits = ("dev", "test", "train")
    claims: dict[str, Claim]

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """One file a split."""
        return [f"{split}/{split}.json"]

    def rows(self) -> list[tuple[str, Question]]:
        """In the order of the file; each claim has an image of its own."""
        path = self.annotation(self.annotation_files(self.split)[0])
        self.claims = {f"{self.split}-{claim.id}": claim for claim in read_nlvr(path)}
        found = []
        for image, claim in self.claims.items():
            if claim.id == claim.identifier or not claim.folder:
                raise EvaluationError(
                    f"{path}: example {claim.identifier} has no 'directory', or is of NLVR2, which shows two images.",
                    f"Download NLVR from {self.page}.",
                )
            found.append((image, Question(claim.id, "", claim.text, claim.label, (claim.label,))))
        return found

    def picture(self, image: str) -> Path:
        """In the folder that the example names."""
        return self.root / self.split / "images" / self.claims[image].folder / f"{image}.png"
