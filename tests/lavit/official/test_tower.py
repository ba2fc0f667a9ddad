"""The understanding tower: what learns, what stays, and that codes never move with it."""

from __future__ import annotations

import pytest
import torch

from lavit.official.config import OfficialConfig
from lavit.official.tokenizer import OfficialTokenizer
from lavit.official.tower import UnderstandingTower

SIZES = OfficialConfig(
    image_size=28, width=32, heads=2, vision_blocks=1, merger_blocks=2, codebook_size=64, code_dim=8, llm_width=16
)


@pytest.fixture
def tower() -> UnderstandingTower:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UnderstandingTower(OfficialTokenizer(SIZES))


def images() -> torch.Tensor:
    return torch.rand(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))


KEEP = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])


def test_it_begins_as_the_tokenizer(tower: UnderstandingTower) -> None:
    with torch.no_grad():
        rows = tower(tower.tokenizer.encoder.features(images()), KEEP)
        assert torch.equal(rows.rows_RD, tower.tokenizer(images(), KEEP).projected_RL)
    assert rows.lengths_B.tolist() == [2, 0, 4]
    assert torch.equal(rows.keep_BN, KEEP)


def test_only_its_copy_learns_and_codes_stay(tower: UnderstandingTower) -> None:
    tower.train()
    assert not tower.tokenizer.training
    assert tower.merger.training
    learning = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    assert learning == set(tower.learned())
    assert {name.split(".")[0] for name in learning} == {"merger", "projector"}
    with torch.no_grad():
        before = tower.tokenizer(images(), KEEP)
        features = tower.tokenizer.encoder.features(images())
    optimizer = torch.optim.AdamW(tower.parameters(), lr=0.1, weight_decay=0.1)
    tower(features, KEEP).rows_RD.square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        after, rows = tower.tokenizer(images(), KEEP), tower(features, KEEP).rows_RD
    assert torch.equal(before.codes_R, after.codes_R)
    assert torch.equal(before.projected_RL, after.projected_RL)
    assert not torch.allclose(rows, after.projected_RL)


def test_decisions_are_the_tokenizers_own(tower: UnderstandingTower) -> None:
    features = tower.tokenizer.encoder.features(images())
    drawn = [tower(features, generator=torch.Generator().manual_seed(seed)).keep_BN for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(tower(features).keep_BN, tower.tokenizer.selector(features).keep_BM)
