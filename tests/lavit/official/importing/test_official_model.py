"""The imported release behind the protocol: it reads as the official inputs are laid out, writes, and draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from caption_files import make_coco
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig

from experiments.cli import main
from experiments.store import read_json
from lavit.checkpoint import Checkpoint, open_checkpoint
from lavit.errors import LavitError
from lavit.model.draw_settings import DrawSettings
from lavit.model.text_settings import TextSettings
from lavit.official.importing import import_official
from lavit.official.inputs import image_block, vqa_inputs
from lavit.official.text import vqa_prompt

from .conftest import SIZES, TEXT
from .painters import write_painters

DRAW = DrawSettings(min_tokens=2, max_tokens=4, token_temperature=1.0, guidance=1.5, top_k=5)


@pytest.fixture
def imported(release, tmp_path: Path) -> Path:
    """A tiny release with a word for every id, and pixel decoders of diffusers that are real."""
    for name, state in release.files.items():  # weights of a size at which half precision does not overflow
        release.files[name] = {key: value * 0.2 for key, value in state.items()}
    source = release.write()
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, "Question": 3, "Answer": 4, ":": 5, "a": 6, "dog": 7, ".": 8, ",": 9}
    words |= {f"w{number}": number for number in range(len(words), TEXT)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(source / "language_model" / "tokenizer.json"))
    for name, pooled in (("pixel_decoding", 0), ("highres_pixel_decoding", 12)):
        for kind in ("unet", "vae"):
            shutil.rmtree(source / name / kind)
        write_painters(source / name, SIZES.condition_dim, pooled)
    import_official(source, tmp_path / "official" / "LaVIT-tiny")
    return tmp_path / "official" / "LaVIT-tiny"


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (5, 28, 28, 3), dtype=np.uint8)


def opened(folder: Path, **options: object) -> Checkpoint:
    return open_checkpoint(folder, options={"steps": 2, **options})


def test_it_opens_with_its_size_and_without_a_corpus(imported: Path) -> None:
    found = opened(imported)
    assert (found.kind, found.name, found.image_size, found.corpus) == ("official", "LaVIT-tiny", 28, None)
    assert found.fingerprint == opened(imported).fingerprint
    assert found.fingerprint != opened(imported, selection="argmax").fingerprint
    with pytest.raises(LavitError, match=r"checkpoint\.selecton: there is no such setting"):
        opened(imported, selecton="argmax")
    with pytest.raises(LavitError, match=r"checkpoint\.pixels='big'"):
        opened(imported, pixels="big")


def test_a_release_without_a_language_model_is_refused(release, tmp_path: Path) -> None:
    import_official(release.write(), tmp_path / "part", ["tokenizer", "low"])
    with pytest.raises(LavitError, match="without understanding and llm"):
        open_checkpoint(tmp_path / "part")


def test_an_image_has_the_same_tokens_alone_and_in_company(imported: Path, images: np.ndarray) -> None:
    model = opened(imported, batch=2).model
    together = model.encode(images)
    assert len(together) == 5
    assert together.merged_RC.dtype == torch.bfloat16  # the type of the released copy
    for row in range(5):
        alone = model.encode(images[row : row + 1])
        assert alone.tokens_B[0] == together.tokens_B[row]
        assert alone.merged_RC.isfinite().all()
        assert torch.allclose(alone.rows(0).float(), together.rows(row).float(), atol=0.05)
    picked = together[np.array([3, 1])]
    assert picked.tokens_B.tolist() == together.tokens_B[[3, 1]].tolist()
    assert torch.equal(picked.rows(0), together.rows(3))
    assert len({*together.tokens_B.tolist()}) > 1


def test_a_question_is_read_as_the_official_inputs_lay_it_out(imported: Path, images: np.ndarray) -> None:
    model = opened(imported).model
    visual = model.encode(images[:3])
    prompts = [model._ids(vqa_prompt(text)) for text in ("a dog?", "W12 w13 a dog", "w9")]
    found = model.reader.read([[visual.rows(row), ids] for row, ids in enumerate(prompts)])
    table, known = model.llm.get_input_embeddings(), model.vocabulary
    rows_RD = model.tower.projector(torch.cat([visual.rows(row) for row in range(3)])).to(table.weight.dtype)
    marks = table(torch.tensor([known.image_start, known.image_end, 2]))
    block = image_block(rows_RD, torch.from_numpy(visual.tokens_B), *marks)
    longest = max(map(len, prompts))
    ids = torch.tensor([[2] * (longest - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts])
    wanted = vqa_inputs(block, table(ids), mask)
    real = wanted.mask_BS.bool()
    assert [row.sum() for row in found.mask_BS] == [row.sum() for row in wanted.mask_BS]
    assert torch.equal(found.embeds_BSD[found.mask_BS.bool()], wanted.embeds_BSD[real])
    assert (found.mask_BS.diff(dim=1) >= 0).all()  # nothing but padding on the left


def test_what_it_writes_is_what_its_language_model_generates(imported: Path, images: np.ndarray) -> None:
    model = opened(imported).model
    settings = TextSettings(beams=2, min_new=3, max_new=5)
    prompt = [["a", images[0], "dog", images[1]]]
    inputs = model.reader.read(model.pieces(prompt))
    config = GenerationConfig(num_beams=2, min_new_tokens=3, max_new_tokens=5, eos_token_id=2, pad_token_id=2)
    config.suppress_tokens = list(range(TEXT, TEXT + 2 + SIZES.codebook_size))
    ids = model.llm.generate(inputs_embeds=inputs.embeds_BSD, attention_mask=inputs.mask_BS, generation_config=config)[
        0
    ].tolist()
    ids = ids[: ids.index(2)] if 2 in ids else ids
    assert model.complete(prompt, settings) == [model.words.decode(ids, skip_special_tokens=True)]


def test_captions_and_answers_are_cut_as_published(imported: Path, images: np.ndarray, monkeypatch) -> None:
    model = opened(imported).model
    visual = model.encode(images[:2])
    seen = []

    def write(prompts: list, settings: TextSettings) -> list[str]:
        seen.append((prompts, settings))
        return [" Yes, a dog. Question: w" for _ in prompts]

    monkeypatch.setattr(model, "_write", write)
    assert model.caption(visual, 2) == ["Yes, a dog"] * 2
    assert model.answer(visual, ["A dog!", "w10"]) == ["Yes"] * 2
    assert model.answer(None, ["a dog"]) == ["Yes"]
    assert model.complete(["a"], TextSettings(max_new=2)) == [" Yes, a dog. Question: w"]
    assert [(s.beams, s.min_new, s.max_new, s.length_penalty) for _, s in seen[:2]] == [
        (2, 8, 36, 1.0),
        (5, 2, 10, 0.0),
    ]
    assert seen[1][0][0][1] == model._ids("Question: a dog Answer:")
    assert len(seen[2][0][0]) == 1  # no image: the question alone


@pytest.mark.parametrize("part", ["low", "high"])
def test_it_draws_and_reconstructs(imported: Path, images: np.ndarray, part: str) -> None:
    model = opened(imported, pixels=part).model
    assert model.makes_images
    first, again = (model.draw(["a dog", "dog"], 3, DRAW) for _ in range(2))
    assert first.images.shape == (2, 8, 8, 3)
    assert np.array_equal(first.images, again.images)
    assert (first.tokens >= 1).all() and (first.tokens <= 4).all()
    other = model.draw(["a dog", "dog"], 4, DRAW)
    assert not np.array_equal(first.images, other.images)
    best = model.draw(["a dog", ["dog", images[0]]], 3, DrawSettings(**{**vars(DRAW), "best_of": 2}))
    assert best.images.shape == (2, 8, 8, 3)
    ceiling = model.reconstruct(images)
    report = model.tokenizer_report(images)
    assert ceiling.tokens.tolist() == report["kept"].tolist() == [len(codes) for codes in report["codes"]]
    assert report["cosine"].shape == (5, 4)
    assert np.abs(report["cosine"]).max() <= 1 + 1e-5
    with pytest.raises(LavitError, match=r"draw\.max_tokens is 9"):
        model.draw(["a"], 0, DrawSettings(max_tokens=9))


def test_without_a_pixel_decoder_it_makes_no_images(release, tmp_path: Path, images: np.ndarray) -> None:
    import_official(release.write(), tmp_path / "blind", ["tokenizer", "understanding", "llm"])
    model = open_checkpoint(tmp_path / "blind").model
    assert not model.makes_images
    with pytest.raises(LavitError, match="no pixel decoder was imported"):
        model.draw(["a"], 0, DRAW)
    with pytest.raises(LavitError, match="no decoder was imported"):
        model.tokenizer_report(images)


def test_a_dataset_in_its_own_files_from_the_command_line(imported: Path, tmp_path: Path, capsys) -> None:
    make_coco(tmp_path / "data", tests=3)
    conf = _suite(tmp_path)
    words = ["eval", f"checkpoint={imported}", "suite=captions", f"runs={tmp_path}", "--conf", str(conf), "--json"]
    assert main(words) == 2
    assert "data.root is not set" in capsys.readouterr().err
    words.append(f"data.root={tmp_path / 'data'}")
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["metrics"]) >= {"coco/CIDEr", "coco/CIDEr@shuffled"}
    out = tmp_path / "eval" / "LaVIT-tiny" / "captions"
    assert (out / "table.md").read_text().startswith("LaVIT-tiny (")
    assert read_json(out / "eval.json")["finished"] is not None
    before = (out / "records.parquet").read_bytes()
    assert main(words) == 0  # all there: nothing is asked again
    assert "holds this evaluation already" in capsys.readouterr().err
    assert (out / "records.parquet").read_bytes() == before
    assert main([*words, "checkpoint.selection=argmax"]) == 2
    assert "holds another evaluation; it differs in fingerprint" in capsys.readouterr().err


def test_images_and_texts_of_one_s_own_are_read_at_the_model_s_size(imported: Path, tmp_path: Path, capsys) -> None:
    folder, rows = tmp_path / "pictures", []
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (20, 16), (6 * number, 99, 30)).save(folder / f"p{number}.png")
        split = "test" if number < 4 else "val" if number < 8 else "train"
        row = {"id": f"p{number}", "name": f"thing {number % 3}", "keywords": ["a", "dog", f"w{number}"]}
        rows.append(json.dumps({**row, "group": "g", "split": split}))
    (tmp_path / "texts.jsonl").write_text("\n".join(rows))
    data = ["data=image_text", f"data.images={folder}", f"data.texts={tmp_path / 'texts.jsonl'}"]
    words = [f"checkpoint={imported}", "checkpoint.steps=2", "suite=core", f"runs={tmp_path}", "scale=smoke"]
    chosen = ["--benchmarks", "caption,t2i", "--limit", "3", "suite.benchmarks.t2i.draw.max_tokens=4"]
    assert main(["eval", *words, *data, *chosen]) == 0
    shown = capsys.readouterr().out
    assert "t2i/retrieval" in shown and "a trial run on at most 3 examples" in shown
    out = tmp_path / "eval" / "LaVIT-tiny" / "core-limit3"
    assert read_json(out / "eval.json")["identity"]["data"]["image_size"] == 28


def _suite(tmp_path: Path) -> Path:
    """The shipped config with one more suite."""
    from experiments.compose import config_folder

    conf = shutil.copytree(config_folder(), tmp_path / "conf")
    entry = "_target_: evals.benchmarks.coco.CocoCaption\n    split: test\n    controls: {shuffled: 3}\n"
    (conf / "suite" / "captions.yaml").write_text(f"name: captions\nbenchmarks:\n  coco:\n    {entry}")
    return conf
