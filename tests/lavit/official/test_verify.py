"""Parity with official runs: the fixture where it lies at hand, and one of our own making, whole and broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lavit.tokenizer.verify import main

Write = Callable[..., Path]
Change = Callable[[dict[str, Tensor], dict[str, Any]], None]


def test_every_tensor_of_an_official_run_agrees(
    reference_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(reference_file("lavit/tokenizer_a.safetensors"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(lines) - 2} passed, 0 failed"
    for form, count in (("policy", 100), ("exact", 90), ("packed", 70)):
        assert sum(f" {form} " in line for line in lines) >= count
    for case in ("argmax", "gumbel", "edge", "none"):
        assert any(line.startswith(f"{case}.decoder.x_rec") for line in lines)


def test_a_fixture_of_other_sizes_agrees_and_is_run_from_the_command_line(write_fixture: Write) -> None:
    path = write_fixture()
    done = subprocess.run(
        [sys.executable, "-m", "lavit.tokenizer.verify", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" passed, 0 failed")


def spoil_weight(tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
    tensors["sd.tokenizer.causal_encoder.blocks.0.mlp.fc1.bias"] += 0.01


def spoil_code(tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
    tensors["edge.quant.codes"][3] += 1


def spoil_nan(tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
    tensors["edge.quant.pre"][0, 0] = float("nan")


def spoil_shape(tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
    tensors["edge.merger.out"] = tensors["edge.merger.out"][:, :-1]
    del document["shapes"]


def spoil_unknown(tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
    tensors["edge.merger.entropy"] = torch.zeros(3)
    del document["shapes"]


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (spoil_weight, "edge.merger.block0.mlp"),
        (spoil_code, "edge.quant.codes"),
        (spoil_nan, "edge.quant.pre "),
        (spoil_shape, "expected [3, 8, 24]"),
        (spoil_unknown, "edge.merger.entropy"),
    ],
)
def test_what_differs_fails_by_its_name(
    change: Change, row: str, write_fixture: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_fixture(change))]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert any(row in line for line in failed)


def rename(old: str, new: str | None) -> Change:
    def change(tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
        value = tensors.pop(old)
        if new is not None:
            tensors[new] = value
        document.pop("shapes")

    return change


def cut(tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
    tensors["sd.decoder.in_proj.weight"] = tensors["sd.decoder.in_proj.weight"][:, :4]
    document.pop("shapes")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename("sd.tokenizer.vit_proj.bias", None), ["missing", "vit_proj.bias [20]"]),
        (rename("sd.decoder.norm.bias", "sd.decoder.norm.bios"), ["missing", "norm.bias [24]", "norm.bios [24]"]),
        (cut, ["misshapen", "in_proj.weight: found [24, 4], needed [24, 6]"]),
        (rename("input.images", None), ["input.images"]),
        (rename("edge.decisions", None), ["edge.decisions"]),
        (lambda t, d: t.pop("edge.quant.pre"), ["missing", "edge.quant.pre"]),
        (lambda t, d: d["config"].pop("heads"), ["config.heads"]),
        (lambda t, d: d.pop("tolerance"), ["tolerance.policy_softmax"]),
    ],
)
def test_a_fixture_that_cannot_be_used_is_refused(
    change: Change, said: list[str], write_fixture: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_fixture(change))]) == 2
    message = capsys.readouterr().err
    for part in said:
        assert part in message


def test_files_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.safetensors")]) == 2
    assert "nothing.safetensors" in capsys.readouterr().err
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    (tmp_path / "broken.json").write_text("{}")
    assert main([str(tmp_path / "broken.safetensors")]) == 2
    assert "broken.safetensors is not a readable" in capsys.readouterr().err
