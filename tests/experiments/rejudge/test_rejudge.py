"""`lavit rejudge`: drawings of finished runs under another pixel decoder, with the store as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.records import load_records
from experiments.cli import main
from experiments.errors import LavitError
from experiments.rejudge import decoder_name, split_decoder

STUDY = ["study=quickstart", "scale=smoke", "study.seeds=1", "tokens=dynamic", "target=discrete", "llm=unfrozen"]


def test_the_decoder_is_told_from_the_study() -> None:
    study, decoder = split_decoder(["study=x", "pixels=unet", "scale=smoke", "pixels.decoder.steps=8"])
    assert study == ["study=x", "scale=smoke"]
    assert decoder == ["pixels=unet", "pixels.decoder.steps=8"]
    assert decoder_name(decoder) == "unet-decoder.steps-8"
    assert decoder_name(["pixels=unet"]) == "unet"
    with pytest.raises(LavitError, match="pixels=LEVEL"):
        split_decoder(["study=x", "pixels.steps=3"])


def test_a_study_without_drawings_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rejudge", *STUDY, "pixels=patch", f"runs={tmp_path}"]) == 2
    assert "no finished run of quickstart has drawings" in capsys.readouterr().err


def stored(runs: Path) -> dict[str, str]:
    """Every finished stage but the decoders', by what it says of itself."""
    return {str(path): path.read_text() for path in runs.glob("store/*/*/DONE.json") if path.parts[-3] != "pixels"}


@pytest.mark.slow
def test_drawings_are_judged_again_without_running_an_arm(tmp_path: Path) -> None:
    runs = [f"runs={tmp_path}"]
    assert main(["run", *STUDY, *runs, "hydra.launcher.n_jobs=1"]) == 0
    before = stored(tmp_path)
    again = tmp_path / "quickstart" / "rejudged"

    assert main(["rejudge", *STUDY, *runs, "pixels=patch"]) == 0
    records = [record for path in (again / "patch" / "records").iterdir() for record in load_records(path)]
    assert {record.control for record in records} == {"", "ceiling"}
    for record in records:  # the same decoder: the same verdict, up to the half precision of what was kept
        assert record.score == record.aux["before_exact"]
        if record.control:
            assert record.aux["psnr"] == record.aux["before_psnr"]
            assert record.aux["feature_cosine"] == record.aux["before_feature_cosine"]
        else:
            assert record.aux["background_share"] == pytest.approx(record.aux["before_background_share"], abs=0.02)

    unet = ["rejudge", *STUDY, *runs, "pixels=unet", "pixels.steps=4"]
    pytest.importorskip("diffusers")
    assert main(unet) == 0
    folder = again / "unet-steps-4"
    assert "pixels=unet" in (folder / "table.md").read_text()
    assert (folder / "table.csv").read_text().startswith("arm,t2i/exact.now")
    assert list((folder / "default-s0" / "samples").glob("ceiling-*.png"))
    made = {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    assert main(unet) == 0
    assert made == {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}, "judged once is enough"
    assert stored(tmp_path) == before, "no arm was run again"
    keys = json.loads((folder / "default-s0" / "judged.json").read_text())
    assert (tmp_path / "store" / "pixels" / keys["pixels"] / "DONE.json").is_file()
