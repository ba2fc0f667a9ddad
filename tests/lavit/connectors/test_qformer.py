"""The Q-Former: who sees whom in its three losses, whose feed-forward part is whose, and what its first stage keeps."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lavit.connectors.qformer import FIRST_STAGE, QFormer
from lavit.connectors.qformer_text import (
    QFormerPretraining,
    contrast_loss,
    contrast_mask,
    generation_mask,
    hard_negatives,
    matching_mask,
)
from lavit.errors import LavitError

M, T, V = 3, 4, 20


def small(**options: int) -> QFormer:
    torch.manual_seed(0)
    return QFormer(6, 10, patches=9, tokens=M, **{"depth": 3, "hidden": 12, "heads": 3} | options)  # type: ignore[arg-type]


def with_text() -> QFormerPretraining:
    return QFormerPretraining(small(), V, longest=T, mlp_ratio=4, joint=5, temperature=0.07)


def pair() -> tuple[Tensor, Tensor, Tensor]:
    """Features [1, 9, 6], ids [1, T] and which of them are text: the last one is padding."""
    torch.manual_seed(1)
    return torch.randn(1, 9, 6), torch.tensor([[1, 5, 7, 0]]), torch.tensor([[True, True, True, False]])


def influence(network: QFormerPretraining, seen_BLL: Tensor) -> Tensor:
    """Which embedded input (column) moves which output (row) [L, L]."""
    features_BNC, ids_BT, _ = pair()
    mask_BN = torch.ones(1, 9, dtype=torch.bool)
    text_BTH = network.words(ids_BT) + network.places.weight
    parts = list(network.text_parts)
    before = network.qformer.read(features_BNC, mask_BN, text_BTH, seen_BLL, parts)[0]
    found = torch.zeros(M + T, M + T, dtype=torch.bool)
    for column in range(M + T):
        noise = torch.randn(12)
        text = text_BTH.clone()
        queries = network.qformer.queries_MH.data.clone()
        if column < M:
            network.qformer.queries_MH.data[column] += noise
        else:
            text[0, column - M] += noise
        after = network.qformer.read(features_BNC, mask_BN, text, seen_BLL, parts)[0]
        network.qformer.queries_MH.data.copy_(queries)
        found[:, column] = (after - before).abs().amax(1) > 1e-7
    return found


@pytest.mark.parametrize("loss", ["contrast", "matching", "generation"])
def test_who_sees_whom_is_what_the_loss_says(loss: str) -> None:
    _, _, text_BT = pair()
    masks = {"contrast": contrast_mask, "matching": matching_mask, "generation": generation_mask}
    found_LL = influence(with_text(), masks[loss](M, text_BT))
    query, text = slice(0, M), slice(M, M + T - 1)  # without padding
    assert found_LL[query, query].all()
    assert not found_LL[: M + T - 1, -1].any()  # nobody sees padding
    assert found_LL[query, text].all() == (loss == "matching")
    assert found_LL[query, text].any() == (loss == "matching")
    assert found_LL[text, query].all() == found_LL[text, query].any() == (loss != "contrast")
    expected_TT = torch.ones(T - 1, T - 1, dtype=torch.bool)
    assert torch.equal(found_LL[text, text], expected_TT.tril() if loss == "generation" else expected_TT)


def test_queries_and_text_have_feed_forward_parts_of_their_own() -> None:
    network = with_text()
    features_BNC, ids_BT, text_BT = pair()
    apart = contrast_mask(M, text_BT)
    query_before, text_before = network.run(features_BNC, ids_BT, apart)
    for part in network.text_parts:
        part.get_parameter("narrow.weight").data.mul_(2)
    query, text = network.run(features_BNC, ids_BT, apart)
    assert torch.equal(query, query_before)
    assert not torch.allclose(text, text_before)
    shared = network.qformer.layers[0].get_parameter("attend_self.value.weight")
    shared.data.mul_(2)  # self-attention is theirs in common
    assert not torch.allclose(network.run(features_BNC, ids_BT, apart)[0], query)
    assert not torch.allclose(network.run(features_BNC, ids_BT, apart)[1], text)


def test_every_second_layer_reads_the_image_from_the_first_on() -> None:
    assert [layer.attend_cross is not None for layer in small(depth=5).layers] == [True, False, True, False, True]
    assert [layer.attend_cross is not None for layer in small(depth=2, cross_every=1).layers] == [True, True]


def test_the_text_never_reads_the_image_but_through_queries() -> None:
    network = with_text()
    features_BNC, ids_BT, text_BT = pair()
    apart = contrast_mask(M, text_BT)
    _, text_BTH = network.run(features_BNC, ids_BT, apart)
    assert torch.equal(network.run(features_BNC + 1, ids_BT, apart)[1], text_BTH)


def test_features_that_are_masked_have_no_influence() -> None:
    connector = small()
    features_BNC, mask_BN = torch.randn(2, 9, 6), torch.arange(9) < torch.tensor([[9], [5]])
    out_BMW = connector(features_BNC, mask_BN)
    features_BNC[1, 5:] = 100.0
    assert torch.equal(connector(features_BNC, mask_BN), out_BMW)
    features_BNC[1, 4] = torch.randn(6)
    assert not torch.allclose(connector(features_BNC, mask_BN), out_BMW)


def test_generation_begins_with_a_token_of_its_own_and_never_sees_what_it_predicts() -> None:
    network = with_text()
    features_BNC, ids_BT, text_BT = pair()
    loss = network.generation(features_BNC, ids_BT, text_BT)
    other = ids_BT.clone()
    other[0, 0] = 9  # replaced by the decode token
    assert torch.equal(network.generation(features_BNC, other, text_BT), loss)
    network.words.weight.data[network.decode_id] += torch.randn(12)
    assert not torch.equal(network.generation(features_BNC, ids_BT, text_BT), loss)


def test_contrast_takes_the_best_query_and_does_not_tell_equal_texts_apart() -> None:
    network = with_text()
    features_BNC, ids_BT, text_BT = pair()
    queries_BMH, text_BTH = network.run(features_BNC, ids_BT, contrast_mask(M, text_BT))
    image_ME = torch.nn.functional.normalize(network.image_joint(queries_BMH[0]), dim=-1)
    text_E = torch.nn.functional.normalize(network.text_joint(text_BTH[0, 0]), dim=-1)
    found = network.similarity(features_BNC, ids_BT, text_BT).item()
    assert found == pytest.approx((image_ME @ text_E).max().item() / 0.07, rel=1e-4)
    similarity_BB = torch.randn(3, 3)
    apart = torch.eye(3, dtype=torch.bool)
    expected = [
        torch.nn.functional.cross_entropy(s, torch.arange(3), label_smoothing=0.1)
        for s in (similarity_BB, similarity_BB.T)
    ]
    assert contrast_loss(similarity_BB, apart, 0.1) == pytest.approx(float(sum(expected) / 2), rel=1e-5)
    same = apart.clone()
    same[0, 1] = same[1, 0] = True
    swapped_BB = similarity_BB[:, [1, 0, 2]][[1, 0, 2]]
    assert contrast_loss(swapped_BB, same, 0.1) == pytest.approx(float(contrast_loss(similarity_BB, same, 0.1)))


def test_hard_negatives_are_drawn_by_similarity_and_never_from_equal_texts() -> None:
    similarity_BB = torch.tensor([[9.0, 3.0, 2.0, 0.0]]).repeat(4, 1)
    same_BB = torch.eye(4, dtype=torch.bool)
    same_BB[0, 1] = True
    drawn = torch.stack([hard_negatives(similarity_BB, same_BB, torch.Generator().manual_seed(s)) for s in range(400)])
    assert not (drawn == torch.arange(4)).any()
    assert not (drawn[:, 0] == 1).any()
    share = float((drawn[:, 0] == 2).float().mean())  # against column 3: exp(2) to 1, each with the rounding
    odds = [float(torch.tensor([9.0, 3, 2, 0]).softmax(0)[c]) + 1e-4 for c in (2, 3)]
    assert share == pytest.approx(odds[0] / sum(odds), abs=0.06)
    again = [hard_negatives(similarity_BB, same_BB, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*again)


def test_only_the_query_part_is_kept(tmp_path: Path) -> None:
    network = with_text()
    save_file(network.qformer.query_state(), tmp_path / FIRST_STAGE)
    fresh = QFormer(6, 10, patches=9, tokens=M, depth=3, hidden=12, heads=3)
    way_out = fresh.state_dict()["out.weight"].clone()
    fresh.begin_from(tmp_path)
    for name, value in fresh.query_state().items():
        assert torch.equal(value, network.qformer.state_dict()[name]), name
    assert torch.equal(fresh.state_dict()["out.weight"], way_out)
    assert not any("text" in name or "word" in name for name in fresh.state_dict())
    with pytest.raises(LavitError, match="does not fit"):
        small(depth=2).begin_from(tmp_path)
