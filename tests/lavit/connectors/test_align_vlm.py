"""AlignVLM mixes the words that the LLM has, and leaves the LLM as it is."""

import pytest
import torch

from lavit.connectors.align_vlm import AlignVLM
from lavit.errors import LavitError
from lavit.language import build_llm

SHAPE = {"width": 10, "layers": 1, "heads": 1, "mlp_width": 8, "max_positions": 8}


def small(**options: object) -> AlignVLM:
    torch.manual_seed(0)
    connector = AlignVLM(6, 10, **options)  # type: ignore[arg-type]
    connector.bind(build_llm(SHAPE, vocab_size=20))
    return connector


def test_every_embedding_is_a_convex_mixture_of_words() -> None:
    connector = small()
    features_EC = torch.randn(5, 6)
    weights_EV = connector.words(features_EC)
    assert (weights_EV >= 0).all()
    assert torch.allclose(weights_EV.sum(1), torch.ones(5))
    table_VW = connector._llm[0].model.embed_tokens.weight
    assert torch.allclose(connector(features_EC), weights_EV @ table_VW)
    assert (connector(features_EC * 1e3) <= table_VW.amax(0)).all()  # it cannot leave their hull


def test_few_words_or_a_low_temperature_make_it_discrete() -> None:
    features_EC = torch.randn(5, 6)
    assert ((small(top_k=3).words(features_EC) > 0).sum(1) == 3).all()
    cold = small(temperature=1e-4)
    chosen_E = cold.words(features_EC).argmax(1)
    table_VW = cold._llm[0].model.embed_tokens.weight
    assert torch.allclose(cold(features_EC), table_VW[chosen_E], atol=1e-4)
    with pytest.raises(LavitError, match=r"connector\.temperature=0"):
        small(temperature=0)


@pytest.mark.parametrize("own_head", [False, True])
def test_only_its_own_weights_learn_and_are_kept(own_head: bool) -> None:
    connector = small(own_head=own_head)
    connector(torch.randn(5, 6)).square().sum().backward()
    assert all(p.grad is not None for p in connector.parameters())
    assert all(p.grad is None for p in connector._llm[0].parameters())
    kept = {"project.weight", "project.bias", "norm.weight", "norm.bias"} | ({"rows_VW"} if own_head else set())
    assert set(connector.state_dict()) == kept
    assert connector.lent_weights == (1 if own_head else 2) * 20 * 10
    if own_head:
        assert connector.rows_VW is not None
        assert torch.equal(connector.rows_VW, connector._llm[0].lm_head.weight)
