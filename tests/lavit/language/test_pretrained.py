"""Released LLMs: found, checked, read as transformers reads them, and extended beside their own tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from released_checkpoints import VOCABULARY, save_llm, save_tokenizer

from lavit.errors import LavitError
from lavit.language import PretrainedLLM, access, load_llm, load_text
from lavit.language.export import export_llm, learn_new_rows_alone, merge_rows
from lavit.model.decoding import greedy_text
from lavit.model.lavit import LaVIT, build_lavit
from lavit.model.targets import DiscreteTarget
from lavit.released_files import find_checkpoint, fingerprint, sha256_of
from lavit.sequences import SequenceBuilder, collate

KINDS: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen2": {"tie_word_embeddings": True, "num_key_value_heads": 1},
    "Qwen3": {"head_dim": 16, "num_key_value_heads": 1},
    "Mistral": {"sliding_window": 64, "num_key_value_heads": 1},
    "Gemma": {"head_dim": 16, "num_key_value_heads": 1},
    "Gemma2": {"head_dim": 16, "num_key_value_heads": 1, "attn_implementation": "eager"},
    "Gemma3": {"head_dim": 16, "num_key_value_heads": 1},
    "GPTNeoX": {},
}
NODE = {"num_places": 4, "places_implied": True, "positions": "place", "feature_dim": 6, "place_patches_MN": None}
CODEBOOK = torch.nn.functional.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(1)), dim=-1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each architecture."""
    root = tmp_path_factory.mktemp("llms")
    for kind, changes in KINDS.items():
        save_llm(root / kind, kind, **changes)
    return {kind: root / kind for kind in KINDS}


def arm(llm: Any, trainable: bool = False) -> LaVIT:
    connector = {"_target_": "lavit.connectors.linear.Linear"}
    return build_lavit(llm, NODE, CODEBOOK, connector, DiscreteTarget, trainable, seed=3)


def released(folder: Path, **options: Any) -> PretrainedLLM:
    attention = "eager" if folder.name == "Gemma2" else "sdpa"
    return PretrainedLLM(str(folder), attention=attention, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_an_arm_leaves_the_text_logits_of_an_untrained_extension_untouched(kind: str, folders: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM

    attention = "eager" if kind == "Gemma2" else "sdpa"
    own: Any = AutoModelForCausalLM.from_pretrained(folders[kind], attn_implementation=attention).eval()
    source = released(folders[kind])
    assert source.inspect()["architecture"] == f"{kind}ForCausalLM"
    model, text = arm(source.load().eval()), source.text()
    builder = SequenceBuilder(text)
    batch = collate([builder.document("a red circle and a blue square")])
    hidden = model.hidden(batch, None).view(*batch.ids_BT.shape, -1)  # type: ignore[arg-type]
    assert torch.equal(access.text_logits(model.llm, hidden), own(batch.ids_BT).logits)

    prompt = [text.bos, *text.encode("a picture of")]
    written = own.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False, eos_token_id=text.eos)
    expected = written[0, len(prompt) :].tolist()
    expected = expected[: expected.index(text.eos)] if text.eos in expected else expected
    assert greedy_text(model.llm, [prompt], 8, text.eos) == [expected]


def test_new_ids_lie_behind_the_tables_padding(folders: dict[str, Path]) -> None:
    source = released(folders["Qwen2"])
    text = source.text()
    model, builder = arm(source.load()), SequenceBuilder(text)
    assert len(text.tokenizer) < VOCABULARY == len(text) == model.text_vocabulary
    assert (builder.image_start, builder.image_end) == (VOCABULARY, VOCABULARY + 1)
    rows = model.embed_ids(torch.tensor([[VOCABULARY - 1, builder.image_start, builder.image_end]]))[0]
    assert torch.equal(rows[0], access.embedding(model.llm).weight[-1])
    assert torch.equal(rows[1:], model.marks.weight)
    assert text.decode([*text.encode("a red square"), VOCABULARY - 1, text.eos]) == "a red square"


def test_questions_are_marked_by_words_and_read_as_they_would_be_written(folders: dict[str, Path]) -> None:
    text = released(folders["Llama"]).text()
    sequence = SequenceBuilder(text).questions(None, [("is there a circle?", "yes"), ("how many?", None)])
    end = sequence.ids.index(text.eos)
    assert text.decode(sequence.ids[3:end]) == "Question: is there a circle? Answer: yes"
    assert sequence.ids[3:end] == text.encode("Question: is there a circle? Answer: yes")
    supervised = [i for i, weight in zip(sequence.ids, sequence.supervised, strict=True) if weight]
    assert supervised == [*text.follow("yes"), text.eos]
    assert sequence.ids[0] == text.bos != text.eos
    assert released(folders["Qwen2"]).text().bos == text.eos  # Qwen begins a text with nothing of its own


def test_new_rows_begin_at_the_mean_of_the_rows_as_they_enter(folders: dict[str, Path]) -> None:
    for kind in ("Llama", "Gemma"):
        llm = released(folders[kind]).load()
        entering = access.embed_text(llm, torch.arange(VOCABULARY))
        assert torch.allclose(arm(llm).marks.weight, entering.mean(0).expand(2, -1), atol=1e-6)
    drawn = arm(released(folders["Llama"], new_rows="normal").load()).marks.weight
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("kind", ["Llama", "Qwen2"])
def test_a_frozen_llm_keeps_its_bits_while_new_rows_learn(kind: str, folders: dict[str, Path]) -> None:
    llm = released(folders[kind]).load()
    before = {name: value.clone() for name, value in llm.state_dict().items()}
    model = arm(llm)
    marks = model.marks.weight.detach().clone()
    builder = SequenceBuilder(released(folders[kind]).text())
    batch = collate([builder.caption(None, "a red circle")])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for _ in range(2):
        model.text_loss(model.hidden(batch, None), batch).sum().backward()  # type: ignore[arg-type]
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.llm.state_dict().items())
    assert not torch.equal(model.marks.weight, marks)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Gemma"])
def test_merged_rows_are_the_arms_and_text_keeps_its_logits(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    model = arm(released(folders[kind]).load().eval())
    with torch.no_grad():
        assert model.code_rows is not None and model.code_in is not None
        model.code_rows.weight.normal_()
        model.head.target.rows.weight.normal_()  # type: ignore[union-attr, operator]
    if access.tied(model.llm):
        with pytest.raises(LavitError, match="one tensor"):
            merge_rows(model)
    ids = export_llm(model, tmp_path / "merged", untie=access.tied(model.llm))
    merged: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert ids.size == VOCABULARY + 2 + 8 == merged.config.vocab_size and not access.tied(merged)
    own, both = model.llm(torch.tensor([[5, 6, 7]])).logits, merged(torch.tensor([[5, 6, 7]])).logits
    assert torch.equal(both[..., :VOCABULARY], own)
    entering = merged.get_input_embeddings()(torch.arange(ids.image_start, ids.size))
    assert torch.allclose(entering[:2], model.marks.weight, atol=1e-6)
    assert torch.allclose(entering[2:], model.code_in(CODEBOOK) + model.code_rows.weight, atol=1e-6)
    hidden = torch.randn(3, 24)
    codes = (hidden @ access.head(merged).weight.T)[:, ids.first_code :]
    assert torch.allclose(codes, model.head.target.logits(hidden), atol=1e-4)  # type: ignore[union-attr]


def test_the_gradient_mask_keeps_old_rows_of_a_merged_llm(folders: dict[str, Path]) -> None:
    llm, ids = merge_rows(arm(released(folders["Qwen2"]).load()), untie=True)
    before = {name: value.clone() for name, value in llm.state_dict().items()}
    learning, hooks = learn_new_rows_alone(llm, ids)
    batch = torch.tensor([[5, ids.image_start, ids.first_code, ids.first_code + 3, ids.image_end, 9]])

    def steps() -> None:
        optimizer = torch.optim.AdamW(learning, lr=1e-2, weight_decay=0.0)
        for _ in range(3):
            optimizer.zero_grad()
            llm(batch, labels=batch).loss.backward()
            optimizer.step()

    steps()
    for name, value in llm.state_dict().items():
        assert torch.equal(value[: ids.text], before[name][: ids.text]), name
    for table in (access.embedding(llm), access.head(llm)):
        old = next(value for name, value in before.items() if llm.get_parameter(name) is table.weight)
        assert not torch.equal(table.weight[ids.first_code], old[ids.first_code])
    for hook in hooks:
        hook.remove()
    steps()
    assert not torch.equal(access.head(llm).weight[9], before["lm_head.weight"][9])


def test_a_bfloat16_llm_meets_float32_parts(folders: dict[str, Path]) -> None:
    source = released(folders["Llama"], dtype="bfloat16")
    model = arm(source.load())
    assert model.llm.dtype == torch.bfloat16
    batch = collate([SequenceBuilder(source.text()).caption(None, "a red circle")])
    model.text_loss(model.hidden(batch, None), batch).sum().backward()  # type: ignore[arg-type]
    assert model.marks.weight.grad is not None and model.marks.weight.grad.dtype == torch.float32


PUBLISHED: dict[str, tuple[str, dict[str, Any], int]] = {
    "Llama-2-7B": (
        "llama",
        {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
         "num_attention_heads": 32},
        6_738_415_616,
    ),
    "Qwen2.5-0.5B": (
        "qwen2",
        {"vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
         "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True},
        494_032_768,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_llm_of_published_size_has_its_published_parameters(name: str, tmp_path: Path) -> None:
    kind, shape, parameters = PUBLISHED[name]
    architecture = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[kind]
    config = {"model_type": kind, "architectures": [architecture], **shape}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        llm = PretrainedLLM(str(tmp_path), dtype="bfloat16").untrained()
    assert sum(parameter.numel() for parameter in llm.parameters()) == parameters
    assert len(access.layers(llm)) == shape["num_hidden_layers"]
    assert access.attention_width(llm) == shape["hidden_size"]


def test_what_cannot_be_used_is_refused_with_what_to_do(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM, MixtralConfig, MixtralForCausalLM

    with pytest.raises(LavitError, match=r"language\.path is not set"):
        PretrainedLLM(None).described  # noqa: B018
    with pytest.raises(LavitError, match="there is no such folder"):
        PretrainedLLM(str(tmp_path / "gone")).described  # noqa: B018
    with pytest.raises(LavitError, match="HF_HUB_OFFLINE") as told:
        PretrainedLLM("nobody/has-this").described  # noqa: B018
    assert "hf download nobody/has-this" in told.value.remedy
    with pytest.raises(LavitError, match=r"no config\.json"):
        PretrainedLLM(str(tmp_path)).config  # noqa: B018
    with pytest.raises(LavitError, match="revision"):
        PretrainedLLM(str(tmp_path), revision="main").described  # noqa: B018
    with pytest.raises(LavitError, match=r"language\.dtype"):
        PretrainedLLM("x", dtype="int8")

    pickled = tmp_path / "pickled"
    llm = save_llm(pickled, "Llama")
    (pickled / "model.safetensors").unlink()
    torch.save(llm.state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(LavitError, match=r"pickles \(pytorch_model\.bin\)"):
        PretrainedLLM(str(pickled)).load()

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertForMaskedLM(BertConfig(vocab_size=20, **small)).save_pretrained(tmp_path / "bert")
    with pytest.raises(LavitError, match="BertForMaskedLM, not a causal language model"):
        PretrainedLLM(str(tmp_path / "bert")).config  # noqa: B018
    experts = MixtralConfig(vocab_size=20, num_local_experts=2, num_key_value_heads=1, **small)
    MixtralForCausalLM(experts).save_pretrained(tmp_path / "mixtral")
    with pytest.raises(LavitError, match="mixture of experts"):
        PretrainedLLM(str(tmp_path / "mixtral")).untrained()

    wrong = tmp_path / "wrong"
    save_llm(wrong, "Llama", vocab_size=64)  # fewer rows than the tokenizer has ids
    with pytest.raises(LavitError, match="64 rows"):
        PretrainedLLM(str(wrong)).text()
    config = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(LavitError, match="tensors are missing"):
        PretrainedLLM(str(wrong)).load()


def test_other_weights_under_the_same_path_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, stage = tmp_path / "llm", tmp_path / "stage"
    save_llm(folder, "Llama")
    stage.mkdir()
    node = {"path": str(folder)}
    first = fingerprint("language.path", node)
    (stage / "llm.json").write_text(json.dumps(PretrainedLLM(str(folder)).inspect()))
    assert torch.equal(load_llm(stage).lm_head.weight, PretrainedLLM(str(folder)).load().lm_head.weight)
    assert len(load_text(stage)) == VOCABULARY
    fresh, again = load_llm(stage, fresh=7), load_llm(stage, fresh=7)
    assert torch.equal(fresh.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(fresh.lm_head.weight, load_llm(stage).lm_head.weight)

    save_llm(folder, "Llama", seed=1)
    assert fingerprint("language.path", node) != first
    with pytest.raises(LavitError, match=r"model\.safetensors changed"):
        load_llm(stage)
    save_llm(folder, "Llama", seed=0)
    assert fingerprint("language.path", node) == first  # the content counts, not the time

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("lavit.released_files.LARGE", 1)
    file = folder / "model.safetensors"
    known = sha256_of(file)
    (remembered,) = (tmp_path / "cache").rglob("*/sha256/*")
    assert remembered.read_text() == known
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert sha256_of(file) != known


def test_a_repository_in_the_hubs_cache_is_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--llm"
    save_llm(repository / "snapshots" / commit, "Llama")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert find_checkpoint("language.path", "some/llm").name == commit
    assert fingerprint("language.path", {"path": "some/llm"}) == commit
    found = PretrainedLLM("some/llm").inspect()["released"]
    assert (found["path"], found["revision"]) == ("some/llm", commit)


def test_a_tokenizer_that_ends_nothing_is_refused(tmp_path: Path) -> None:
    save_llm(tmp_path, "Llama")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(LavitError, match="no token that ends a text"):
        PretrainedLLM(str(tmp_path)).text()
    save_tokenizer(tmp_path, bos=True)
    assert PretrainedLLM(str(tmp_path)).text().eos == 0
