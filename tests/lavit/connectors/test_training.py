"""Every connector that sees an image whole trains as an arm, and is priced at what it measures."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny_stages import Stages, question, whole

from lavit.build import locate
from lavit.connectors.image import ImageConnector
from lavit.count import count

CONF = Path(__file__).parents[3] / "conf/connector"


def seeing_images_whole() -> list[str]:
    files = sorted(CONF.glob("*.yaml"))
    return [file.stem for file in files if issubclass(locate(OmegaConf.load(file)._target_), ImageConnector)]


@pytest.mark.parametrize("connector", seeing_images_whole())
def test_it_trains_as_an_arm_at_the_price_that_was_planned(connector: str, stages: Stages) -> None:
    config = whole(connector=connector, tokens="fixed")
    measured = stages.ledger(config, "pretrain")
    assert count(question(config, "pretrain"))["ledger"] == pytest.approx(measured, rel=1e-9)
