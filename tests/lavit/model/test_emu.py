"""Emu's target: which position is asked for which embedding, what learns from what, and the watch over a collapse."""

import pytest
import torch
from tiny_targets import BUILDER, PLACES, SLOTS, WIDTH, make, store_for, target_of

from lavit.model.decoding import generate_images
from lavit.model.draw_settings import DrawSettings
from lavit.model.lavit import LaVIT
from lavit.model.targets.emu import EmuTarget
from lavit.model.targets.spread import effective_rank, variance
from lavit.sequences import collate
from lavit.stages.collapse import VarianceWatch
from lavit.stages.training import TrainingError


@torch.no_grad()
def test_the_mark_predicts_the_first_of_32_and_each_the_next_and_the_last_the_end() -> None:
    """Emu: 33 positions, ``[IMG] z1 ... z32``, for 33 wants, of which the last is the end."""
    model = make("emu", slots=32)
    store, head = store_for(model), model.head
    assert head is not None and isinstance(head.target, EmuTarget) and model.connector is not None
    sequence = BUILDER.generation("blue", store.written(1))
    batch = collate([sequence])
    mark = len(sequence.ids) - 33
    assert sequence.ids[mark] == BUILDER.image_start
    assert batch.predict_at.tolist() == list(range(mark, mark + 33))
    assert batch.predict_row.tolist() == [*range(32, 64), -1]  # rows of the second image, then the end
    assert len(batch.text_at) == 0  # no text loss opens or closes an image
    z_MW = model.connector(*store.padded_features(torch.tensor([1])))[0]
    x_TW = model.embed(batch, store)[0]
    assert torch.allclose(x_TW[mark + 1 :], z_MW, atol=1e-6), "what is fed in is what is regressed"
    hidden = model.hidden(batch, store)[batch.predict_at]
    predicted = head.target.head(head.token_hidden(hidden[:32], torch.arange(32)))
    _, metrics = model.visual_loss(hidden, batch.predict_row, store)
    assert torch.allclose(metrics["token"], (predicted - z_MW).square().mean(), atol=1e-6)
    for slot in range(33):  # the only choices are the next slot and, behind the first, the end
        logits = head.place_logits(hidden[slot : slot + 1], torch.tensor([slot - 1]))[0]
        possible = logits.isfinite().nonzero()[:, 0].tolist()
        assert possible == ([0] if slot == 0 else [32] if slot == 32 else [slot, 32])


def test_the_inputs_teach_the_connector_and_the_target_does_not() -> None:
    for target, through_target in (("emu", False), ("collapse", True)):
        model = make(target)
        store = store_for(model)
        batch = collate([BUILDER.generation("blue", store.written(i)) for i in range(4)])
        hidden = model.hidden(batch, store)[batch.predict_at]
        model.visual_loss(hidden.detach(), batch.predict_row, store)[0].backward()
        assert model.connector is not None
        found = [p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model.connector.parameters()]
        assert any(found) == through_target
        model.zero_grad()
        model.visual_loss(hidden, batch.predict_row, store)[0].backward()
        assert sum(float(p.grad.abs().sum()) for p in model.connector.parameters() if p.grad is not None) > 0


def test_the_read_out_learns_from_what_it_reads_out_alone() -> None:
    model = make("emu")
    store, target = store_for(model), target_of(model)
    batch = collate([BUILDER.generation("blue", store.written(i)) for i in range(4)])
    rows = batch.predict_row[batch.predict_row >= 0]
    vectors = model.embed_read(store, rows)
    loss, told = target.further_loss(vectors, rows, store)
    assert loss is not None
    loss.backward()
    assert {name.split(".")[2] for name, p in model.named_parameters() if p.grad is not None} == {"readout"}
    assert told["readout"] == loss.detach()
    assert float(told["variance"]) > 0 and 1 <= float(told["rank"]) <= WIDTH


def test_slots_are_written_in_order_and_read_out_to_all_patches() -> None:
    model = make("emu")
    prompts = [BUILDER.generation(text, None) for text in ("a red circle", "blue")]
    written = generate_images(model, prompts, DrawSettings(min_tokens=SLOTS))
    assert written.places_BK.tolist() == [list(range(SLOTS))] * 2
    assert bool(written.mask_BK.all()) and written.vectors_BKD.shape == (2, SLOTS, WIDTH)
    readout = target_of(model).readout
    features = readout(written.vectors_BKD, written.mask_BK)
    assert features.shape[1] == PLACES
    short = written.mask_BK.clone()
    short[:, 2:] = False
    cut = written.vectors_BKD.clone()
    cut[:, 2:] += 9
    assert torch.allclose(readout(cut, short), readout(written.vectors_BKD, short), atol=1e-5)
    assert torch.allclose(readout(cut[:, :2]), readout(cut, short), atol=1e-5)


def test_variance_and_rank_are_those_between_images() -> None:
    of_slots = torch.randn(1, 5, 8).expand(6, -1, -1)  # each slot its own vector, whatever the image
    assert float(variance(of_slots)) < 1e-12
    line = torch.randn(64, 1, 1) * torch.randn(1, 1, 8)
    assert float(effective_rank(line)) == pytest.approx(1, abs=1e-3)
    assert float(effective_rank(torch.eye(8).repeat(64, 1)[:, None])) == pytest.approx(7, abs=0.1)  # 8 less the mean
    assert float(variance(torch.tensor([[[1.0]], [[-1.0]]]))) == pytest.approx(1)


def trained(model: LaVIT, steps: int) -> VarianceWatch:
    """Train a whole arm to write four images and to tell them apart in text, watched."""
    watch = VarianceWatch(below=0.1)
    store = store_for(model)
    texts = ["a red circle", "a blue square", "a circle and a square", "blue"]
    written = [BUILDER.generation("blue", store.written(i)) for i in range(4)]
    batch = collate(written + [BUILDER.caption(store.entering(i), text) for i, text in enumerate(texts)])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        hidden = model.hidden(batch, store)
        loss, metrics = model.visual_loss(hidden[batch.predict_at], batch.predict_row, store)
        optimizer.zero_grad()
        (loss + model.text_loss(hidden, batch).mean()).backward()
        optimizer.step()
        watch.see(float(metrics["variance"]), step)
    return watch


def test_without_the_stop_gradient_the_target_collapses_and_training_says_so() -> None:
    with pytest.raises(TrainingError, match="target has collapsed"):
        trained(make("collapse"), 150)
    start, now = trained(make("emu"), 40).seen.tolist()
    assert now > start, "what captions need is not given up"


def test_the_watch_goes_on_where_it_was() -> None:
    watch, other = VarianceWatch(0.5), VarianceWatch(0.5)
    watch.see(2.0, 0)
    other.load_state_dict(watch.state_dict())
    other.see(1.9, 1)
    for step in range(2, 8):
        other.see(0.0, step)  # a moving average: a few such batches alone do not fail a run
    with pytest.raises(TrainingError, match="at step 8"):
        other.see(0.0, 8)
