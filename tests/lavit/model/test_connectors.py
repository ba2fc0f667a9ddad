"""Every connector of conf/connector can be built and gives the language model's width."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from lavit.build import build
from lavit.errors import LavitError

FILES = sorted((Path(__file__).parents[3] / "conf/connector").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_connector_maps_rows_of_features_to_the_width_of_the_llm(file: Path) -> None:
    connector = build(OmegaConf.load(file), feature_dim=6, width=10)
    rows = torch.randn(7, 6)
    out = connector(rows)
    assert out.shape == (7, 10)
    assert torch.allclose(connector(rows[2:3]), out[2:3], atol=1e-6)  # row by row
    assert not torch.allclose(out[0], out[1])


def test_an_unknown_option_of_a_connector_is_named() -> None:
    with pytest.raises(LavitError, match="depth"):
        build({"_target_": "lavit.connectors.mlp.MLP", "depth": 3}, feature_dim=6, width=10)
