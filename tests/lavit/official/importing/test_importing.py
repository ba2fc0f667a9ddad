"""Importing a release: every tensor arrives, whatever does not fit is named, and nothing is half written."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import lavit.official
from experiments.cli import main
from lavit.errors import LavitError
from lavit.official import section as sections
from lavit.official.importing import ImportRefusedError, import_official, survey
from lavit.official.keyreport import render
from lavit.official.names import DECODER, TOKENIZER, UNUSED, official_name

TOKENIZER_FILE = "visual_tokenizer/tokenizer_encoder.bin"
DECODER_FILE = "visual_tokenizer/tokenizer_decoder.bin"
HIGH_FILE = "visual_tokenizer/highres_tokenizer_decoder.bin"
COPY_FILE = "language_model/visual_weight.bin"


def assert_same(ours: dict[str, Tensor], rules: tuple, theirs: dict[str, Tensor]) -> None:
    assert {official_name(name, rules) for name in ours} == set(theirs)
    for name, value in ours.items():
        expected = theirs[official_name(name, rules)]
        assert value.dtype == expected.dtype
        assert torch.equal(value, expected.reshape(value.shape))


def test_every_tensor_arrives_to_the_bit(release, tmp_path: Path) -> None:
    out = tmp_path / "out"
    import_official(release.write(), out)
    used = {
        k: v for k, v in release.files[TOKENIZER_FILE].items() if not k.startswith(("encoder.norm", "encoder.head"))
    }
    assert_same(load_file(out / "tokenizer.safetensors"), TOKENIZER, used)
    assert_same(load_file(out / "understanding.safetensors"), TOKENIZER, release.files[COPY_FILE])
    assert_same(load_file(out / "low" / "decoder.safetensors"), DECODER, release.files[DECODER_FILE])
    assert_same(load_file(out / "high" / "decoder.safetensors"), DECODER, release.files[HIGH_FILE])
    assert_same(load_file(out / "llm" / "model.safetensors"), (), release.llm)
    for part in ("low", "high"):
        assert_same(load_file(out / part / "unet" / "diffusion_pytorch_model.safetensors"), (), release.pixels["unet"])
        vae = load_file(out / part / "vae" / "diffusion_pytorch_model.safetensors")
        assert set(vae) == {f"decoder.mid_block.attentions.0.{name}" for name in ("to_q.weight", "to_out.0.bias")}
        assert (out / part / "scheduler" / "scheduler_config.json").is_file()
    assert load_file(out / "low" / "uncond_embeddings.safetensors")["uncond_embeddings"].shape == (1, 5, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LaVIT-tiny", "out"]
    assert not (out / "llm" / "notes.txt").exists()


def test_the_pieces_load_and_keep_their_types(release, tmp_path: Path) -> None:
    import_official(release.write(), tmp_path / "out")
    official = lavit.official.load(tmp_path / "out")
    assert (official.vocabulary.image_start, official.vocabulary.first_code, official.vocabulary.size) == (50, 52, 76)
    tokenizer, tower = official.tokenizer(), official.understanding()
    assert tokenizer.merger.norm.weight.dtype == torch.float16
    assert tower.merger.norm.weight.dtype == torch.bfloat16
    copied = release.files[COPY_FILE]
    assert torch.equal(tower.projector.weight, copied["vit_proj.weight"])
    assert torch.equal(tower.tokenizer.projector.weight, release.files[TOKENIZER_FILE]["vit_proj.weight"])
    assert not [name for name, value in [*tower.named_parameters(), *tower.named_buffers()] if value.is_meta]
    images = torch.randint(0, 256, (2, 28, 28, 3), dtype=torch.uint8)
    with torch.no_grad():
        tower.float()
        rows = tower(tower.tokenizer.encoder(images), torch.tensor([[1.0, 0, 1, 1], [1, 1, 1, 1]]))
        assert rows.rows_RD.shape == (7, 16)
        assert rows.lengths_B.tolist() == [3, 4]
        logits = official.llm()(torch.tensor([[3, official.vocabulary.image_start]])).logits
    assert logits.dtype == torch.float16
    assert logits.shape[-1] == official.vocabulary.size
    assert official.text_tokenizer()("a dog", add_special_tokens=False).input_ids == [3, 4]
    assert official.decoder("high").condition.second.weight.shape == (12, 32)
    assert official.decoder("low").condition.project.weight.shape == (20, 32)
    assert (official.pixels("low", "unet") / "config.json").is_file()


def test_the_report_accounts_for_every_tensor(release, tmp_path: Path) -> None:
    found = import_official(release.write(), tmp_path / "out")
    by_part = {report.part: report for report in found.reports}
    tokenizer = by_part["tokenizer"]
    assert tokenizer.read == len(release.files[TOKENIZER_FILE])
    assert set(tokenizer.keys.unused) == set(UNUSED)
    assert tokenizer.keys.used["quantize.embedding.weight"] == "quantizer.codebook_KD"
    assert by_part["llm"].parameters == sum(value.numel() for value in release.llm.values())
    assert by_part["llm"].dtypes == {"float16": len(release.llm)}
    text = render(found.reports, every_key=True)
    assert "encoder.norm.weight, encoder.norm.bias" in text
    assert "vit_proj.weight -> projector.weight" in text
    kept = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [entry["part"] for entry in kept] == list(by_part)


@pytest.mark.parametrize("file", [TOKENIZER_FILE, COPY_FILE, DECODER_FILE, HIGH_FILE, "llm"])
@pytest.mark.parametrize("mistake", ["missing", "left over", "misshapen"])
def test_what_does_not_fit_is_refused_by_name(release, tmp_path: Path, file: str, mistake: str, capsys) -> None:
    state = release.llm if file == "llm" else release.files[file]
    name = {"llm": "model.layers.1.mlp.up_proj.weight", DECODER_FILE: "norm.bias", HIGH_FILE: "norm.bias"}.get(
        file, "causal_encoder.norm.bias"
    )
    shape = tuple(state[name].shape)
    if mistake == "missing":
        del state[name]
        words = [f"missing    {name} {list(shape)}"]
    elif mistake == "left over":
        state["stray.weight"] = torch.zeros(3, 5)
        words = ["extra      stray.weight [3, 5]"]
    else:
        state[name] = torch.zeros(3, 5)
        words = [f"misshapen  {name}: found [3, 5], needed {list(shape)}"]
    out = tmp_path / "out"
    assert main(["import-official", str(release.write()), str(out)]) == 1
    told = capsys.readouterr().err
    assert all(word in told for word in words)
    assert "tensors that do not fit: 1\n" in told
    assert [path.name for path in tmp_path.iterdir()] == ["LaVIT-tiny"]


def test_a_left_over_tensor_can_be_left_out_on_request(release, tmp_path: Path) -> None:
    release.files[TOKENIZER_FILE]["quantize.cluster_size"] = torch.zeros(24)
    found = import_official(release.write(), tmp_path / "out", ignored=["quantize.*"])
    (tokenizer, *_) = found.reports
    assert "left out on request (--ignore quantize.*)" in tokenizer.reasons["quantize.cluster_size"]
    assert "quantize.embedding.weight" in tokenizer.keys.used


def test_a_projector_is_wanted_once(release, tmp_path: Path) -> None:
    for name in ("vit_proj.weight", "vit_proj.bias"):
        del release.files[TOKENIZER_FILE][name]
    found = import_official(release.write(), tmp_path / "out")
    assert "no projector in this file" in found.reports[0].notes[0]
    tokenizer = lavit.official.load(tmp_path / "out").tokenizer()
    assert torch.equal(tokenizer.projector.weight, release.files[COPY_FILE]["vit_proj.weight"])


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("file", [TOKENIZER_FILE, COPY_FILE, "language_model/pytorch_model-00001.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused(release, tmp_path: Path, file: str, zipped: bool) -> None:
    folder, ran = release.write(), tmp_path / "ran"
    evil = {"encoder.cls_token": Malicious(f"touch {ran}")}
    if zipped:
        torch.save(evil, folder / file)
    else:
        (folder / file).write_bytes(pickle.dumps(evil))
    with pytest.raises(LavitError, match=Path(file).name):
        import_official(folder, tmp_path / "out")
    assert not ran.exists()
    assert not (tmp_path / "out").exists()


def test_unreadable_files_are_named(release, tmp_path: Path) -> None:
    folder, out = release.write(), tmp_path / "out"
    (folder / TOKENIZER_FILE).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(LavitError, match="git-lfs"):
        import_official(folder, out)
    torch.save([1, 2], folder / TOKENIZER_FILE)
    with pytest.raises(LavitError, match="dictionary of tensors was expected, not list"):
        import_official(folder, out)
    torch.save({"epoch": 3}, folder / TOKENIZER_FILE)
    with pytest.raises(LavitError, match="'epoch' is int"):
        import_official(folder, out)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_import_leaves_nothing(release, tmp_path: Path, monkeypatch, interruption: type) -> None:
    write, written = sections.write_safetensors, []

    def fail_at_the_third(path: Path, entries: list) -> None:
        if len(written) == 2:
            path.write_bytes(b"half")
            raise interruption
        write(path, entries)
        written.append(path)

    monkeypatch.setattr(sections, "write_safetensors", fail_at_the_third)
    with pytest.raises(interruption):
        import_official(release.write(), tmp_path / "out")
    assert len(written) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["LaVIT-tiny"]


def test_a_folder_in_use_is_left_alone(release, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("precious")
    with pytest.raises(LavitError, match="is there already"):
        import_official(release.write(), out)
    assert (out / "mine").read_text() == "precious"


def test_an_llm_larger_than_a_shard_is_written_in_shards(release, tmp_path: Path) -> None:
    import_official(release.write(), tmp_path / "out", only=["llm"], shard_bytes=2000)
    folder = tmp_path / "out" / "llm"
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(release.llm)
    assert len(set(index["weight_map"].values())) > 2
    assert sorted(path.name for path in folder.glob("*.safetensors")) == sorted(set(index["weight_map"].values()))
    official = lavit.official.load(tmp_path / "out")
    assert_same(official.llm().state_dict(), (), release.llm)
    with pytest.raises(LavitError, match="import tokenizer and llm together"):
        _ = official.vocabulary
    with pytest.raises(LavitError, match="no tokenizer was imported"):
        official.tokenizer()


def test_a_shard_that_the_index_names_must_be_there(release, tmp_path: Path) -> None:
    folder = release.write()
    (folder / "language_model" / "pytorch_model-00002.bin").unlink()
    with pytest.raises(LavitError, match=r"pytorch_model-00002.bin: there is no such file"):
        import_official(folder, tmp_path / "out")


def test_an_index_cannot_name_files_elsewhere(release, tmp_path: Path) -> None:
    index = release.write() / "language_model" / "pytorch_model.bin.index.json"
    index.write_text(index.read_text().replace("pytorch_model-00002.bin", "../../pytorch_model-00002.bin"))
    with pytest.raises(LavitError, match="weight_map"):
        import_official(tmp_path / "LaVIT-tiny", tmp_path / "out")


def test_a_config_that_makes_no_llama_is_refused(release, tmp_path: Path) -> None:
    release.llama["num_attention_heads"] = 3
    release.llama["head_dim"] = None
    with pytest.raises(LavitError, match=r"config.json: no Llama"):
        import_official(release.write(), tmp_path / "out")
    release.llama["model_type"] = "gpt2"
    with pytest.raises(LavitError, match="model_type: 'gpt2'"):
        import_official(release.write(), tmp_path / "out")


def test_old_rotary_buffers_are_unused_by_design(release, tmp_path: Path) -> None:
    release.llm["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    report = import_official(release.write(), tmp_path / "out", only=["llm"]).reports[0]
    assert report.keys.unused == ["model.layers.0.self_attn.rotary_emb.inv_freq"]


def test_absent_parts_are_named_and_those_asked_for_are_needed(release, tmp_path: Path, capsys) -> None:
    del release.files[HIGH_FILE]
    folder = release.write()
    (folder / "pixel_decoding" / "unet" / "config.json").unlink()
    (folder / "pixel_decoding" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "pixel_decoding" / "unet").rmdir()
    assert main(["import-official", str(folder), str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert f"high: not in this folder ({HIGH_FILE})" in told
    assert "low/unet: not in this folder (pixel_decoding/unet)" in told
    with pytest.raises(LavitError, match="high was asked for"):
        survey(folder, ["tokenizer", "high"])
    with pytest.raises(LavitError, match="no part 'tokeniser'"):
        survey(folder, ["tokeniser"])
    with pytest.raises(LavitError, match="no part of a released LaVIT"):
        survey(tmp_path / "out")


def test_parts_of_different_releases_are_refused(release, tmp_path: Path) -> None:
    folder = release.write()
    config = folder / "pixel_decoding" / "unet" / "config.json"
    config.write_text(config.read_text().replace("20", "21"))
    with pytest.raises(LavitError, match=r"cross_attention_dim: 21, but .* of 20"):
        survey(folder)
    release.files[COPY_FILE]["vit_proj.bias"] = torch.zeros(17)
    with pytest.raises(ImportRefusedError, match=r"vit_proj.bias: found \[17\], needed \[16\]"):
        survey(release.write()).require_clean()


def test_check_writes_nothing_and_lists_every_key(release, tmp_path: Path, capsys) -> None:
    assert main(["import-official", str(release.write()), str(tmp_path / "out"), "--check", "--keys"]) == 0
    assert "lm_head.weight -> lm_head.weight" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main(["import-official", str(tmp_path / "LaVIT-tiny"), str(tmp_path / "out"), "--check", "--json"]) == 0
    assert {entry["part"] for entry in json.loads(capsys.readouterr().out)["reports"]} >= {
        "tokenizer",
        "llm",
        "low/vae",
    }


def test_the_target_has_a_default(release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = release.write()
    monkeypatch.chdir(tmp_path)
    assert main(["import-official", str(folder)]) == 0
    assert (tmp_path / "runs" / "official" / folder.name / "config.json").is_file()


def test_help_says_what_is_expected_and_loads_nothing_heavy() -> None:
    program = """
import sys
from experiments.cli import main
try:
    main(["import-official", "--help"])
except SystemExit:
    sys.exit("torch" in sys.modules or "lavit.official" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "DIR/visual_tokenizer/tokenizer_encoder.bin" in done.stdout


def test_another_folder_is_no_import(tmp_path: Path) -> None:
    with pytest.raises(LavitError, match="cannot be read"):
        lavit.official.load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 99}')
    with pytest.raises(LavitError, match="format: 99, not 1"):
        lavit.official.load(tmp_path)


def test_a_checkpoint_of_the_official_classes_gives_their_codes(reference_file, tmp_path: Path) -> None:
    reference = load_file(reference_file("lavit/tokenizer_a.safetensors"))
    files = {"tokenizer": TOKENIZER_FILE, "decoder": DECODER_FILE, "decoder_highres": HIGH_FILE}
    for part, file in files.items():
        (tmp_path / "in" / file).parent.mkdir(parents=True, exist_ok=True)
        prefix = f"sd.{part}."
        state = {k.removeprefix(prefix): v.clone() for k, v in reference.items() if k.startswith(prefix)}
        torch.save(state, tmp_path / "in" / file)
    found = import_official(tmp_path / "in", tmp_path / "out")
    assert set(found.absent) >= {"llm", "understanding", "low/unet", "high/vae"}
    official = lavit.official.load(tmp_path / "out")
    tokenizer = official.tokenizer(softmax="policy")
    with torch.no_grad():
        tokens = tokenizer(reference["input.images"])
        assert torch.equal(tokens.codes_R, reference["argmax.quant.codes"])
        assert torch.equal(tokens.kept.rows.count_B, reference["argmax.token_nums"])
        torch.testing.assert_close(tokens.projected_RL, reference["argmax.llm.features_packed"], atol=2e-5, rtol=1e-4)


def test_with_diffusers_its_models_say_what_is_needed(build_release, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    release = build_release(tmp_path / "in")
    shape = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    unet = diffusers.UNet2DConditionModel(
        **shape,
        cross_attention_dim=20,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = diffusers.AutoencoderKL(**shape, **blocks)
    folder = release.write()
    for kind, model in (("unet", unet), ("vae", vae)):
        model.save_pretrained(folder / "pixel_decoding" / kind, safe_serialization=kind == "vae")
    (folder / "pixel_decoding" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    weights = folder / "pixel_decoding" / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(weights)
    for new, name in old.items():
        state = {key.replace(f"attentions.0.{new}.", f"attentions.0.{name}."): value for key, value in state.items()}
    save_file(state, weights)

    import_official(folder, tmp_path / "out", only=["low"])
    for kind, model in (("unet", unet), ("vae", vae)):
        ours = load_file(
            lavit.official.load(tmp_path / "out").pixels("low", kind) / "diffusion_pytorch_model.safetensors"
        )
        assert_same(ours, (), model.state_dict())

    del state["encoder.mid_block.attentions.0.query.weight"]
    save_file(state, weights)
    with pytest.raises(ImportRefusedError, match=r"missing    encoder.mid_block.attentions.0.query.weight \[8, 8\]"):
        survey(folder, ["low"]).require_clean()
