"""What each level of the LLM lets learn, what it costs, and that the rest keeps every bit."""

from __future__ import annotations

import builtins
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_stages import Stages, question, read, whole

import lavit.model
from lavit.count import count
from lavit.errors import LavitError
from lavit.ledger import attention_flops
from lavit.model.blocks import BLOCKS, block_of, passes, tensors_hash
from lavit.model.lora import add_lora
from lavit.pricing import text
from lavit.stages.arm import ArmModule

LORA = "llm.lora.r=4"


def tensors_of(folder: Path, block: str) -> dict[str, torch.Tensor]:
    found = load_file(folder / "model.safetensors")
    return {name: value for name, value in found.items() if block_of(name) == block}


def trial(*also: str, stage: str = "pretrain", **groups: str) -> ArmModule:
    torch.manual_seed(0)
    asked = question(whole(*also, **groups), stage)
    return text.arm(asked["config"], dict(asked["inputs"]), "cpu").module


@pytest.mark.parametrize(
    ("groups", "stage"),
    [
        ({"llm": "lora"}, "pretrain"),
        pytest.param(
            {"llm": "lora", "regime": "align_sft", "visual_input": "discrete"}, "tune", marks=pytest.mark.slow
        ),
        ({"llm": "new_rows"}, "pretrain"),
        pytest.param({"llm": "new_rows", "regime": "omni", "target": "continuous"}, "cooldown", marks=pytest.mark.slow),
    ],
)
def test_the_price_of_every_level_is_what_it_measures(groups: dict[str, str], stage: str, stages: Stages) -> None:
    config = whole("train.vision.start=0.25", *([LORA] if groups["llm"] == "lora" else []), **groups)
    price = count(question(config, stage))
    assert price["ledger"] == pytest.approx(stages.ledger(config, stage), rel=1e-9)
    blocks = json.loads((stages.run(config, stage) / "blocks.json").read_text())
    assert price["blocks"] == blocks
    assert sum(size["trainable"] for size in blocks.values()) == price["params_trainable"]
    assert sum(size["total"] for size in blocks.values()) == price["params_total"]


def test_lora_leaves_the_llm_as_the_language_stage_left_it(stages: Stages) -> None:
    config = whole(LORA, llm="lora")
    folders = stages.arm(config)
    arm = lavit.model.load(folders)
    trained = tensors_of(folders["cooldown"], "llm")
    language = {f"llm.{name}": value for name, value in load_file(folders["language"] / "llm.safetensors").items()}
    assert trained.keys() == language.keys()
    assert tensors_hash(trained.items()) == tensors_hash(language.items())
    added = tensors_of(folders["cooldown"], "lora")
    assert added and any(name.endswith("lora_B.default.weight") and bool(value.any()) for name, value in added.items())
    ids = torch.tensor([[1, 5, 9, 7]])
    with torch.no_grad():
        adapted, untouched = arm.tokens().llm(ids).logits, arm.untouched().llm(ids).logits
    assert not torch.allclose(adapted, untouched)  # text is measured with the updates, against the LLM without them
    assert isinstance(arm.answer(None, ["what is there"])[0], str)
    with torch.no_grad():
        again = lavit.model.load(folders).tokens().llm(ids).logits
    assert torch.equal(again, adapted)


def test_updates_begin_as_no_change_and_are_those_of_the_seed() -> None:
    plain, first, again = trial(llm="frozen"), trial(LORA, llm="lora"), trial(LORA, llm="lora")
    ids_BT = plain.batch(0)[-1].ids_BT.clamp_max(plain.model.text_vocabulary - 1)
    with torch.no_grad():
        assert torch.equal(*(one.model.llm.model(ids_BT).last_hidden_state for one in (plain, first)))
    ours, theirs = ({n: p for n, p in one.model.named_parameters() if block_of(n) == "lora"} for one in (first, again))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name in ("marks.weight", "place.weight"):  # what arms have in common starts equal
        assert torch.equal(plain.model.get_parameter(name), first.model.get_parameter(name))
    assert not any("lm_head" in name or "embed" in name for name in ours)
    assert {name.split(".")[-4] for name in ours} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }


def test_each_block_has_a_rate_of_its_own() -> None:
    module = trial(LORA, "llm.lr_scale=3", "regime.pretrain.lr.lora=0.5", "regime.pretrain.lr.rows=0.2", llm="lora")
    rate = {id(p): group["lr_scale"] for group in module.parameter_groups() for p in group["params"]}
    found: dict[str, set[float]] = {}
    for name, parameter in module.model.named_parameters():
        if parameter.requires_grad:
            found.setdefault(block_of(name), set()).add(rate[id(parameter)])
    assert found == {"lora": {1.5}, "rows": {0.2}, "connector": {1.0}, "head": {1.0}}
    turned = {id(p) for group in module.parameter_groups() if group["orthogonal"] for p in group["params"]}
    factors = [p for name, p in module.model.named_parameters() if block_of(name) == "lora"]
    assert not turned & set(map(id, factors))


def flops(module: ArmModule, step: int = 0) -> float:
    return float(sum(module.count(part) for part in module.batch(step))[3])


def test_frozen_blocks_cost_what_flows_through_them() -> None:
    """The five cases of the rule, each against the sums written out."""
    full, frozen, lora = trial(), trial(llm="frozen"), trial(LORA, llm="lora")
    rows, head = trial(llm="new_rows"), trial("llm.only=[head]", llm="new_rows")
    parts = full.batch(0)
    positions, texts = sum(p.positions for p in parts), sum(len(p.text_at) for p in parts)
    entering, written = (sum(len(getattr(p, name)) for p in parts) for name in ("enter_at", "generated_at"))
    squared = sum(float(p.lengths_S.double().square().sum()) for p in parts)
    llm = full.model.llm
    body = sum(p.numel() for p in llm.model.layers.parameters())
    matrices = body * positions + llm.lm_head.weight.numel() * texts
    assert flops(full) - flops(frozen) == 2 * matrices  # weight gradients of the LLM
    added = sum(p.numel() for n, p in lora.model.named_parameters() if block_of(n) == "lora")
    assert flops(lora) - flops(frozen) == 6 * added * positions
    connector = sum(p.numel() for p in full.model.connector.parameters())
    assert flops(frozen) - flops(rows) == 4 * connector * entering  # nothing below it learns: forward alone
    layers, width = llm.config.num_hidden_layers, llm.config.hidden_size
    through = attention_flops(layers, width, squared, 4) - attention_flops(layers, width, squared, 2)
    below = 4 * full.model.code_in.weight.numel() * written  # how codes enter: 6 where it learns
    assert flops(rows) - flops(head) == 2 * matrices + through + below  # nothing upstream of the head learns


def test_factors_follow_from_which_blocks_learn() -> None:
    assert [passes("llm", {block}) for block in ("llm", "lora", "connector", "rows", "head")] == [6, 4, 4, 4, 2]
    assert [passes("connector", {block}) for block in ("connector", "rows", "llm")] == [6, 2, 2]
    assert [passes("head", {block}) for block in ("head", "connector", "llm")] == [6, 4, 4]
    assert passes("lora", {"rows"}) == passes("lora", {"llm"}) == 4
    assert [passes(block, ()) for block in BLOCKS] == [2] * len(BLOCKS)


def test_random_weights_that_never_learn_are_refused() -> None:
    for level in ("frozen", "lora", "new_rows"):
        with pytest.raises(LavitError, match=f"llm_init=scratch with llm={level}") as error:
            trial(llm=level, llm_init="scratch")
        assert "llm=unfrozen" in error.value.remedy
    assert trial(llm_init="scratch").learning >= {"llm"}


def test_a_phase_in_which_nothing_learns_is_refused() -> None:
    with pytest.raises(LavitError, match=r"nothing learns in pretrain.*learns=\['llm'\].*llm=frozen"):
        trial("regime.pretrain.learns=[llm]", llm="frozen")
    with pytest.raises(LavitError, match=r"learns=\['connector'\], llm.only=\['rows', 'head'\]"):
        trial("regime.pretrain.learns=[connector]", llm="new_rows")
    with pytest.raises(LavitError, match=r"llm.only names 'row'"):
        trial("llm.only=[row]", llm="new_rows")


def test_lora_without_peft_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "peft":
            raise ImportError("No module named 'peft'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(LavitError, match="needs peft") as error:
        trial(llm="lora")
    assert "lavit-lab[lora]" in error.value.remedy


def test_options_of_lora_that_fit_nothing_are_named() -> None:
    llm = trial(llm="frozen").model.llm
    with pytest.raises(LavitError, match=r"takes exactly r, alpha"):
        add_lora(llm, {"r": 4, "alhpa": 8, "dropout": 0.0, "targets": "all-linear"})
    with pytest.raises(LavitError, match=r"llm\.lora: .*c_attn") as error:
        add_lora(llm, {"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["c_attn"]})
    assert "all-linear" in error.value.remedy


def test_a_lora_stage_goes_on_where_it_was_stopped(tmp_path: Path, stages: Stages) -> None:
    from lavit.stages import pretrain
    from lavit.stages.context import Preempted, StageContext

    config = whole(LORA, llm="lora")
    done = stages.run(config, "pretrain")
    inputs = {need: stages.run(config, need) for need in ("vision", "language", "tokenizer")}
    own = OmegaConf.create(read(config, "pretrain"))
    asked = iter([False, True, *[False] * 9])
    with pytest.raises(Preempted):
        pretrain.run(StageContext("pretrain", own, 0, inputs, tmp_path, stop_requested=lambda: next(asked)))
    pretrain.run(StageContext("pretrain", own, 0, inputs, tmp_path))
    hashes = [hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() for folder in (done, tmp_path)]
    assert hashes[0] == hashes[1]
