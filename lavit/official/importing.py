"""Importing released weights: everything is looked at, then either all of it is written or nothing.

What is written lies in a folder of its own beside the target until it is complete, and is then renamed: an import that
is interrupted leaves no half of a model behind.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavit.errors import LavitError
from lavit.official.keyreport import PartReport
from lavit.official.reading import Weights, read_weights
from lavit.official.released_llm import read_llm
from lavit.official.released_pixels import read_pixels
from lavit.official.released_visual import read_decoder, read_visual
from lavit.official.section import Section
from lavit.official.writing import SHARD_BYTES

FORMAT = 1
PARTS = ("tokenizer", "understanding", "llm", "low", "high")
TOKENIZER = "visual_tokenizer/tokenizer_encoder.bin"
UNDERSTANDING = "language_model/visual_weight.bin"
LLM = "language_model/config.json"
DECODERS = {"low": "visual_tokenizer/tokenizer_decoder.bin", "high": "visual_tokenizer/highres_tokenizer_decoder.bin"}
PIXELS = {"low": "pixel_decoding", "high": "highres_pixel_decoding"}
WHERE = {"tokenizer": TOKENIZER, "understanding": UNDERSTANDING, "llm": LLM, **DECODERS}


class ImportRefusedError(LavitError):
    """Tensors do not fit; nothing was written.

    Attributes:
        survey: what was found.
    """

    def __init__(self, message: str, remedy: str, survey: Survey):
        super().__init__(message, remedy)
        self.survey = survey


@dataclass
class Survey:
    """What a release holds.

    Attributes:
        source: its folder.
        sections: the models that are there.
        absent: what is not there: part -> the path where it would be.
        vocabulary: text ids and codes of the LLM, if both are known.
    """

    source: Path
    sections: list[Section] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    vocabulary: dict[str, int] | None = None

    @property
    def reports(self) -> list[PartReport]:
        """The fate of every tensor."""
        return [section.report for section in self.sections]

    @property
    def bytes(self) -> int:
        """What the import takes on disk."""
        return sum(section.bytes for section in self.sections)

    def require_clean(self) -> None:
        """Refuse what does not fit.

        Raises:
            ImportRefusedError: a tensor is missing, left over or misshapen; names each, with its shapes.
        """
        wrong = [(report.part, line) for report in self.reports for line in report.keys.complaints()]
        if wrong:
            lines = "\n".join(f"  {part}: {line}" for part, line in wrong)
            raise ImportRefusedError(
                f"{self.source} was not imported; tensors that do not fit: {len(wrong)}\n{lines}",
                "nothing was written; --ignore PATTERN leaves out a left-over tensor that you know to be useless",
                self,
            )

    def config(self) -> dict[str, Any]:
        """What the imported ``config.json`` holds."""
        return {
            "format": FORMAT,
            "made_by": "lavit import-official",
            "source": str(self.source.resolve()),
            "parts": {section.report.part: section.options for section in self.sections},
            "absent": self.absent,
            "vocabulary": self.vocabulary,
        }


def survey(source: Path, only: Sequence[str] = (), ignored: Iterable[str] = ()) -> Survey:
    """Look at a released checkpoint: names and shapes of everything, no values.

    Args:
        source: the folder.
        only: the parts that are wanted, which must then be there; all that are there by default.
        ignored: patterns of left-over names to leave out.

    Raises:
        LavitError: the folder or a part that was asked for is not there, or a file cannot be read safely.
    """
    if not source.is_dir():
        raise LavitError(f"{source}: there is no such folder")
    if unknown := [part for part in only if part not in PARTS]:
        raise LavitError(f"there is no part '{unknown[0]}'", f"the parts are {', '.join(PARTS)}")
    chosen = [part for part in PARTS if not only or part in only]
    there = [part for part in chosen if (source / WHERE[part]).is_file()]
    if only and (lost := [part for part in chosen if part not in there]):
        raise LavitError(f"{source}: {lost[0]} was asked for, and there is no {WHERE[lost[0]]}")
    if not there:
        raise LavitError(
            f"{source}: no part of a released LaVIT is in this folder",
            "it should hold " + ", ".join(WHERE[part] for part in chosen),
        )
    found = Survey(source, absent={part: WHERE[part] for part in chosen if part not in there})
    llm = read_llm((source / LLM).parent, ignored) if "llm" in there else None
    if {"tokenizer", "understanding", *DECODERS} & set(there):
        _look_at_visual(found, there, llm, ignored)
    if llm is not None:
        found.sections.append(llm)
    for report in found.reports:
        report.files = [str(Path(file).relative_to(source)) for file in report.files]
    return found


def _look_at_visual(found: Survey, there: list[str], llm: Section | None, ignored: Iterable[str]) -> None:
    """The parts whose sizes the tokenizer's file tells."""
    if not (found.source / TOKENIZER).is_file():
        raise LavitError(f"{found.source}: there is no {TOKENIZER}", "it tells the sizes of every visual part")
    tokenizer = read_weights(found.source / TOKENIZER)
    copied: Weights | None = None
    if (found.source / UNDERSTANDING).is_file() and {"tokenizer", "understanding"} & set(there):
        copied = read_weights(found.source / UNDERSTANDING)
    config, sections = read_visual(tokenizer, copied, llm.options["width"] if llm else None, ignored)
    found.sections += [section for section in sections if section.report.part in there]
    if llm is not None:
        found.vocabulary = {"text_size": llm.options["ids"] - config.codebook_size - 2, "codes": config.codebook_size}
        if found.vocabulary["text_size"] < 1:
            raise LavitError(
                f"{found.source / LLM}: vocab_size: {llm.options['ids']}, which does not hold the tokenizer's "
                f"{config.codebook_size} codes and two ids more",
                "the language model and the tokenizer belong to different releases",
            )
    for part in DECODERS:
        if part not in there:
            continue
        decoder = read_decoder(read_weights(found.source / DECODERS[part]), config, part == "high", ignored)
        width = decoder.options["condition_dim"] + (decoder.options["pooled_dim"] if part == "high" else 0)
        pixels = read_pixels(found.source / PIXELS[part], part, width, ignored)
        found.sections += [decoder, *pixels]
        held = {section.report.part for section in pixels}
        for kind in ("unet", "vae", "scheduler"):
            if f"{part}/{kind}" not in held:
                found.absent[f"{part}/{kind}"] = f"{PIXELS[part]}/{kind}"


def import_official(
    source: Path,
    out: Path,
    only: Sequence[str] = (),
    ignored: Iterable[str] = (),
    shard_bytes: int = SHARD_BYTES,
) -> Survey:
    """Bring a released checkpoint into our format.

    Args:
        source: the folder of the release.
        out: a folder that is not there yet, or is empty.
        only: the parts that are wanted; all that are there by default.
        ignored: patterns of left-over names to leave out.
        shard_bytes: most bytes of a file of the LLM.

    Raises:
        ImportRefusedError: a tensor is missing, left over or misshapen.
        LavitError: something cannot be read, ``out`` is in use, or the disk is too small. In every case nothing was
            written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LavitError(f"{out} is there already", "name a folder that is not there yet")
    found = survey(source, only, ignored)
    found.require_clean()
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if found.bytes > free:
        raise LavitError(f"{out}: {found.bytes / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB are free")
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.importing-", dir=out.parent))
    try:
        for section in found.sections:
            section.write(staging, shard_bytes)
        _write_json(staging / "config.json", found.config())
        _write_json(staging / "report.json", [report.to_dict() for report in found.reports])
        staging.chmod(0o755)
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging)
        raise
    return found


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
