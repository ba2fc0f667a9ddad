"""Packed rows: every document once, none sees another, and nothing is learned that padded rows would not teach."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tiny_arm import BUILDER, CODEBOOK, FEATURES, MODELS, PLACES, make

from lavit.errors import LavitError
from lavit.model.lavit import LaVIT
from lavit.sequences import Sequence, SequenceBatch, VisualStore, batches, collate, fit_rows, join, packed
from lavit.stages import processes
from lavit.stages.arm import ArmModule

LENGTHS = st.lists(st.integers(1, 40), max_size=30)
TRAIN = {"row": 24, "bucket_overhead": 16}


@given(LENGTHS, st.integers(1, 60))
def test_every_document_is_in_one_row_and_no_row_is_too_long(lengths: list[int], capacity: int) -> None:
    rows = fit_rows(lengths, capacity)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    for row in rows:
        assert sum(lengths[i] for i in row) <= capacity or len(row) == 1
        assert row == sorted(row), "documents keep their order"
    assert rows == fit_rows(lengths, capacity)


@given(LENGTHS, st.integers(40, 60))
def test_no_two_rows_would_fit_into_one(lengths: list[int], capacity: int) -> None:
    filled = sorted(sum(lengths[i] for i in row) for row in fit_rows(lengths, capacity))
    assert len(filled) < 2 or filled[0] + filled[1] > capacity


@given(LENGTHS.filter(bool), st.permutations(range(30)))
def test_the_order_of_documents_changes_no_length_of_a_row(lengths: list[int], order: list[int]) -> None:
    mixed = [lengths[i] for i in order if i < len(lengths)]
    shapes = [sorted(sorted(given[i] for i in row) for row in fit_rows(given, 50)) for given in (lengths, mixed)]
    assert shapes[0] == shapes[1]


def store(seed: int = 0) -> VisualStore:
    generator = torch.Generator().manual_seed(seed)
    counts = [3, 1, 5, 2, 4, 2, 6, 1]
    places = torch.cat([torch.arange(n) for n in counts])
    codes = torch.randint(0, len(CODEBOOK), (sum(counts),), generator=generator)
    features = torch.randn(sum(counts), FEATURES, generator=generator)
    assert places.max() < PLACES
    return VisualStore(features, CODEBOOK[codes], codes, places, torch.tensor([0, *counts]).cumsum(0))


def mix(images: VisualStore) -> list[Sequence]:
    """Sequences of every kind."""
    pairs = [("a red circle", "blue"), ("green", "a red circle")]
    return [
        BUILDER.caption(images.rows(0), "a blue square and a red circle"),
        BUILDER.generation("blue", images.rows(1)),
        BUILDER.questions(images.rows(2), pairs),
        BUILDER.generation("a red circle", images.rows(3)),
        BUILDER.grounded("a blue square and a red circle", pairs, 0.2),
        BUILDER.generation("green", images.rows(4)),
        BUILDER.caption(images.rows(5), "blue"),
        BUILDER.drawing(["red", images.rows(6)], images.rows(7)),
        BUILDER.document("a red circle and a blue square and a red circle and a blue square"),
    ]


def loss(model: LaVIT, parts: list[SequenceBatch], images: VisualStore) -> torch.Tensor:
    """The arm's: text and images together."""
    total, predicting, rows = torch.zeros(()), [], []
    for part in parts:
        hidden = model.hidden(part, images)
        if len(part.text_at):
            total = total + model.text_loss(hidden, part).sum()
        predicting.append(hidden[part.predict_at])
        rows.append(part.predict_row)
    visual, _ = model.visual_loss(torch.cat(predicting), torch.cat(rows), images)
    return total + visual


def test_a_packed_row_holds_its_documents_as_they_are() -> None:
    documents = mix(store())
    row = join(documents)
    assert row.documents == [len(d.ids) for d in documents] and len(row.ids) == sum(row.documents)
    alone, together = collate(documents), collate([row])
    assert together.positions == alone.positions and torch.equal(together.lengths_S, alone.lengths_S)
    assert together.position_BT is not None
    starts = torch.tensor([0, *row.documents]).cumsum(0)[:-1]
    assert (together.position_BT[0] == 0).nonzero()[:, 0].tolist() == starts.tolist()
    width = alone.ids_BT.shape[1]
    for name, *held in (
        ("text_at", "text_ids", "text_weights"),
        ("enter_at", "enter_row"),
        ("generated_at", "generated_row"),
        ("predict_at", "predict_row"),
    ):
        flat, now = getattr(alone, name), getattr(together, name)
        moved, order = (starts[flat // width] + flat % width).sort()
        assert torch.equal(now.sort().values, moved), name
        for values in held:
            assert torch.equal(getattr(together, values)[now.argsort()], getattr(alone, values)[order]), values
    for name in vars(alone):  # whatever is told of each position is told of it alike
        if name.endswith("_BT") and name not in ("document_BT", "position_BT"):
            rows = [row[:length] for row, length in zip(getattr(alone, name), alone.lengths_S.tolist(), strict=True)]
            assert torch.equal(getattr(together, name)[0], torch.cat(rows)), name


def test_what_stands_first_in_a_document_is_not_predicted_by_the_one_before() -> None:
    first, second = Sequence().text([5, 6], 1.0), Sequence().text([7, 8], 1.0)
    assert collate([join([first, second])]).text_ids.tolist() == [6, 8] == collate([first, second]).text_ids.tolist()


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_no_document_sees_another(kind: str) -> None:
    model, images = make("discrete"), store()
    model.llm.set_attn_implementation(kind)
    documents = mix(images)
    row = join(documents)
    batch, width = collate([row, join(documents[:2])]), len(row.ids)
    ends = torch.tensor(row.documents).cumsum(0)
    with torch.no_grad():
        before = model.hidden(batch, images)[:width]
        for changed, (start, end) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)):
            other = store()
            own = batch.enter_row[(batch.enter_at >= start) & (batch.enter_at < end)]
            other.features_MC[own] += 1.0
            ids_BT = batch.ids_BT.clone()
            ids_BT[0, start:end] = (ids_BT[0, start:end] + 1) % len(BUILDER.text)
            after = model.hidden(SequenceBatch(**{**vars(batch), "ids_BT": ids_BT}), other)[:width]
            inside = torch.zeros(width, dtype=torch.bool)
            inside[start:end] = True
            assert torch.equal(before[~inside], after[~inside]), f"document {changed} is seen by others"
            assert not torch.equal(before[inside], after[inside])


@pytest.mark.parametrize(("target", "positions"), list(MODELS))
def test_packed_rows_teach_what_padded_ones_do(target: str, positions: str) -> None:
    model, images = MODELS[target, positions], store()
    found = {}
    for name in ("padded", "buckets", "packed"):
        model.zero_grad()
        parts = [collate(part) for part in batches(mix(images), {"batching": name, **TRAIN})]
        total = loss(model, parts, images)
        total.backward()
        found[name] = [total.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
    model.zero_grad()
    for name in ("buckets", "packed"):
        assert len(found[name]) == len(found["padded"]) > 10
        for one, other in zip(found[name], found["padded"], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * max(1e-3, float(other.abs().max())))


@pytest.mark.parametrize("count", [1, 9])
def test_longer_documents_have_rows_of_their_own(count: int) -> None:
    long, short = Sequence().text([1] * 200), [Sequence().text([2] * 8) for _ in range(count)]
    parts = packed([*short, long], 16, 16)
    assert sorted(len(row.ids) for part in parts for row in part)[-1] == 200
    assert sum(len(row.documents) for part in parts for row in part) == count + 1
    wasted = sum(len(part) * max(len(row.ids) for row in part) for part in parts) - 200 - 8 * count
    assert wasted <= 16, "short rows are not padded to the longest document"


def test_documents_that_share_no_row_need_no_mask() -> None:
    (part,) = packed([Sequence().text([1] * 20), Sequence().text([2] * 19)], 20, 16)
    assert collate(part).document_BT is None and collate(part).lengths_S.tolist() == [19, 20]


@pytest.mark.parametrize("batching", ["buckets", "packed", "padded"])
def test_processes_that_share_layers_call_them_equally_often(batching: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [[90, 4, 5, 6], [3, 4, 5, 6], [20, 20, 20, 20]]  # of each process' sequences
    shares = [[Sequence().text([1] * length) for length in own] for own in lengths]
    config = {"train": {"batching": batching, **TRAIN}, "trainer": {"strategy": "fsdp"}}
    module = SimpleNamespace(config=OmegaConf.create(config))
    monkeypatch.setattr(processes, "size", lambda: len(lengths))
    counts = []
    for rank, own in enumerate(lengths):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        parts = ArmModule._cut(module, [shares])  # type: ignore[arg-type]
        assert sorted(n for part in parts for row in part for n in row.documents or [len(row.ids)]) == sorted(own)
        counts.append(len(parts))
    assert len(set(counts)) == 1


def test_ways_of_batching_that_there_are_not_and_attention_that_takes_no_mask_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(LavitError, match=r"train\.batching='bins'"):
        batches([Sequence().text([1])], {"batching": "bins", **TRAIN})
    model, images = make("discrete"), store()
    monkeypatch.setattr(model.llm.config, "_attn_implementation", "flash_attention_2")
    with pytest.raises(LavitError, match="flash_attention_2"):
        model.hidden(collate([join(mix(images))]), images)


@pytest.mark.parametrize("autocast", [False, True])
def test_padding_of_a_packed_row_is_finite(autocast: bool) -> None:
    model, images = make("discrete"), store()
    batch = collate([join(mix(images)), join(mix(images)[:1])])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert model.hidden(batch, images).isfinite().all()
