"""An arm that was trained for real: evaluated from its folder, it gives the very files of its own evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.cli import main
from experiments.store import read_json

FILES = ("records.parquet", "metrics.json", "skipped.json", "protocol.json", "drawings-t2i.safetensors")


@pytest.mark.slow
def test_an_arm_s_own_evaluation_is_met_to_the_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = f"runs={tmp_path}"
    assert main(["train", "scale=smoke", "llm=frozen", "seed=2", runs]) == 0
    (own,) = (tmp_path / "store" / "evaluate").iterdir()
    (arm,) = (tmp_path / "store" / "cooldown").iterdir()
    for place in (own, arm):
        assert (
            main(["eval", f"checkpoint={place}", "suite=core", runs, "--out", str(tmp_path / place.parent.name)]) == 0
        )
        for name in FILES:
            assert (tmp_path / place.parent.name / name).read_bytes() == (own / name).read_bytes(), name
    out = tmp_path / "cooldown"
    before = (out / "metrics.json").read_bytes()
    assert main(["eval", "--recompute", str(out)]) == 0
    assert (out / "metrics.json").read_bytes() == before
    (arm / "model.safetensors").unlink()
    assert main(["eval", f"checkpoint={arm}", "suite=core", runs, "--out", str(out)]) == 0  # all there: no model needed
    assert read_json(out / "eval.json")["identity"]["suite"]["name"] == "core"
    assert main(["eval", f"checkpoint={arm}", "suite=held_out", runs, "--out", str(out)]) == 2
    assert "another evaluation; it differs in suite" in capsys.readouterr().err
