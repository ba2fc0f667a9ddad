"""Corpora that the tests of the data share."""

from __future__ import annotations

import pytest
from world_settings import make_world

from lavit.data.world import World


@pytest.fixture(scope="session")
def quick() -> World:
    return make_world("quick")


@pytest.fixture(scope="session")
def standard() -> World:
    return make_world("standard")
