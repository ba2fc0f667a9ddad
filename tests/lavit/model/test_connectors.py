"""Every connector of conf/connector can be built and gives the language model's width."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lavit.build import build, locate, plain
from lavit.connectors.bound import BoundConnector
from lavit.connectors.image import ImageConnector
from lavit.errors import LavitError
from lavit.language import build_llm
from lavit.model.lavit import build_connector

CONF = Path(__file__).parents[3] / "conf"
TOKENIZER = {"feature_dim": 8, "num_places": 16, "places_implied": True}


def node(file: Path) -> dict[str, Any]:
    """A connector's node at the smoke scale."""
    scale = OmegaConf.load(CONF / "scale/smoke.yaml")
    resolved: dict[str, Any] = plain(OmegaConf.create({"scale": scale, "connector": OmegaConf.load(file)}).connector)
    return resolved


FILES = sorted((CONF / "connector").glob("*.yaml"))
WHOLE = [file for file in FILES if issubclass(locate(node(file)["_target_"]), ImageConnector)]
ROW_WISE = [file for file in FILES if file not in WHOLE]


def connector_of(file: Path, **also: Any) -> nn.Module:
    torch.manual_seed(0)
    connector = build_connector(node(file) | also, TOKENIZER, 10)
    if isinstance(connector, BoundConnector):
        shape = {"width": 10, "layers": 1, "heads": 1, "mlp_width": 8, "max_positions": 8}
        connector.bind(build_llm(shape, vocab_size=20))
    return connector


@pytest.mark.parametrize("file", ROW_WISE, ids=lambda file: file.stem)
def test_a_row_wise_connector_maps_rows_of_features_to_the_width_of_the_llm(file: Path) -> None:
    connector = connector_of(file)
    rows = torch.randn(7, 8)
    out = connector(rows)
    assert out.shape == (7, 10)
    assert torch.allclose(connector(rows[2:3]), out[2:3], atol=1e-6)  # row by row
    assert not torch.allclose(out[0], out[1])


@pytest.mark.parametrize("file", WHOLE, ids=lambda file: file.stem)
def test_a_connector_that_sees_an_image_whole_gives_it_a_fixed_number_of_embeddings(file: Path) -> None:
    connector = connector_of(file)
    features_BNC = torch.randn(3, 16, 8)
    mask_BN = torch.ones(3, 16, dtype=torch.bool)
    out_BMW = connector(features_BNC, mask_BN)
    assert out_BMW.shape == (3, 4, 10)
    assert torch.allclose(connector(features_BNC[1:2], mask_BN[1:2]), out_BMW[1:2], atol=1e-5)  # image by image
    assert not torch.allclose(out_BMW[0], out_BMW[1], atol=1e-3)
    assert not torch.allclose(out_BMW[0, 0], out_BMW[0, 1], atol=1e-3)
    out_BMW.sum().backward()
    assert all(p.grad is not None for p in connector.parameters())  # nothing is built that is never used


@pytest.mark.parametrize("file", WHOLE, ids=lambda file: file.stem)
def test_a_connector_that_sees_an_image_whole_refuses_a_tokenizer_that_drops_patches(file: Path) -> None:
    with pytest.raises(LavitError, match="tokens=fixed"):
        build_connector(node(file), TOKENIZER | {"places_implied": False}, 10)


def test_an_unknown_option_of_a_connector_is_named() -> None:
    with pytest.raises(LavitError, match="depth"):
        build({"_target_": "lavit.connectors.mlp.MLP", "depth": 3}, feature_dim=6, width=10)
