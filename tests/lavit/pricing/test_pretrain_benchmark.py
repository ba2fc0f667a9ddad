"""The benchmark of a training step runs, and its sides learn the same."""

import re

import pytest

from benchmarks import pretrain


def test_every_part_of_the_benchmark_reports(capsys: pytest.CaptureFixture[str]) -> None:
    pretrain.batching("smoke", 1, 2)
    pretrain.row_lengths("smoke", 2)
    pretrain.lightning("smoke", 3)
    pretrain.features("smoke", 2)
    shown = capsys.readouterr().out
    apart = [float(found) for found in re.findall(r"at most (\S+) from padded", shown)]
    assert len(apart) == 3 and max(apart) < 1e-4
    assert "equal to the bit" in shown, "Lightning's loop and a plain one train the same weights"
    for ratio in ("packed over padded", "packed over buckets", "Lightning's step", "a step with kept features"):
        assert re.search(rf"{ratio}.*: \d+\.\d\d \(", shown), ratio


def test_images_of_the_stand_in_differ_in_their_number_of_tokens() -> None:
    module, visual = pretrain.make("smoke")
    counts = [module.store.rows(image)[1] for image in range(len(module.store))]
    assert min(counts) >= 1 and max(counts) <= visual.num_places
    assert len(set(counts)) > 4
