"""Connectors at the sizes of their papers: parameter counts, shapes, and the table that the docs show."""

from pathlib import Path

import pytest

from lavit.connectors.sizes import OFFICIAL, Official, table
from lavit.ledger import count_parameters

DOCS = Path(__file__).parents[3] / "docs"
COUNTS = {one.name: count_parameters(one.module())[0] for one in OFFICIAL}


@pytest.mark.parametrize("one", OFFICIAL, ids=lambda one: one.name)
def test_shapes_at_the_size_of_the_paper(one: Official) -> None:
    taken, given = one.shapes()
    assert taken == (one.patches or 256, one.feature_dim)
    assert given == ((one.tokens or 256), one.width)


def test_projectors_have_the_published_shapes() -> None:
    assert COUNTS["LLaVA 7B"] == 1024 * 4096 + 4096
    assert COUNTS["LLaVA-1.5 7B"] == 1024 * 4096 + 4096 + 4096 * 4096 + 4096  # the 21 M that its papers speak of
    assert COUNTS["nanoVLM 450M"] == 768 * 16 * 960  # no bias
    assert COUNTS["InternVL2 8B"] == 2 * 4096 + (4096 * 4096 + 4096) * 2  # a norm, 4 * 1024 to 4096, 4096 to 4096


def test_the_resampler_has_the_parameters_of_its_formula() -> None:
    width, inner = 1024, 8 * 64
    layer = 4 * width * inner + 2 * 4 * width**2 + 3 * 2 * width  # q, k, v, out; feed-forward; three norms
    assert COUNTS["OpenFlamingo"] == 6 * layer + 64 * width + 2 * width
    # Flamingo's published 194 M hold more than its published depth, width, heads and ratio come to.
    assert COUNTS["Flamingo"] / 194e6 == pytest.approx(0.876, abs=0.001)


def test_the_q_former_has_the_published_parameters() -> None:
    assert COUNTS["BLIP-2, first stage"] == pytest.approx(188e6, rel=0.01)
    queries = COUNTS["BLIP-2, OPT 2.7B"] - (768 * 2560 + 2560)
    assert queries == pytest.approx(105e6, rel=0.005)  # what is left without text parts, embeddings and heads


def test_the_docs_show_the_table_as_it_is() -> None:
    assert table() in (DOCS / "connectors.md").read_text(encoding="utf-8")
