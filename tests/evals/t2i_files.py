"""Miniatures of what text to image reads: prompts, weights of random numbers in the published shapes, a painter."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

SIDE = 16


class Painter:
    """Draws a plain field whose colour its prompt decides, and a bright square."""

    makes_images = True

    def draw(self, prompts, seed, settings):
        rows = []
        for prompt in prompts:
            colour = list(hashlib.sha256(prompt.encode()).digest()[:3])
            image = np.full((SIDE, SIDE, 3), colour, np.uint8)
            image[4:10, 4:10] = 255 - np.array(colour, np.uint8)
            rows.append(image)
        return self._drawing(np.stack(rows))

    def reconstruct(self, images):
        return self._drawing(images // 2)

    def features(self, images):
        patches = images.reshape(len(images), 2, SIDE // 2, 2, SIDE // 2, 3).mean(axis=(2, 4)) / 255
        return patches.reshape(len(images), 4, 3).astype(np.float32)

    def _drawing(self, images):
        return SimpleNamespace(images=images, tokens=np.full(len(images), 4), features=self.features(images))


def write_coco(root: Path, images: int = 6) -> Path:
    """``coco/`` with captions, two an image, and photographs."""
    folder = root / "coco" / "val2014"
    folder.mkdir(parents=True)
    rows, texts = [], []
    for place in range(images):
        identity = 42 + 7 * place
        name = f"COCO_val2014_{identity:012d}.jpg"
        rows.append({"id": identity, "file_name": name, "height": 20, "width": 30, "license": 1})
        noise = np.random.default_rng(place).integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(noise).save(folder / name)
        for number in range(2):
            caption = f"picture {place} \n in words {number}."
            texts.append({"id": 1000 + 2 * place + number, "image_id": identity, "caption": caption})
    path = root / "coco" / "annotations" / "captions_val2014.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"info": {}, "images": rows, "licenses": [], "annotations": texts}))
    return path


METADATA = [
    {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
    {
        "tag": "counting",
        "include": [{"class": "bus", "count": 2}],
        "exclude": [{"class": "bus", "count": 3}],
        "prompt": "a photo of two buses",
    },
    {"tag": "colors", "include": [{"class": "bus", "count": 1, "color": "red"}], "prompt": "a photo of a red bus"},
    {
        "tag": "position",
        "include": [{"class": "bench", "count": 1}, {"class": "bus", "count": 1, "position": ["left of", 0]}],
        "prompt": "a photo of a bus left of a bench",
    },
]


def write_geneval(root: Path) -> Path:
    """``geneval/`` with four prompts."""
    path = root / "geneval" / "prompts" / "evaluation_metadata.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in METADATA))
    return path


def write_compbench(root: Path) -> Path:
    """``t2i_compbench/`` with two prompts a category, and one of the two categories of ++."""
    folder = root / "t2i_compbench"
    folder.mkdir(parents=True)
    for name in ("color", "shape", "texture", "spatial", "numeracy", "non_spatial", "complex"):
        (folder / f"{name}_val.txt").write_text(f"a {name} thing and/or another\n  the  other {name} thing.\n\n")
    return folder


def write_clip(folder: Path) -> Path:
    """A CLIP model of random weights with tokenizer and image processor, as transformers saves them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1} | {chr(97 + place): 2 + place for place in range(26)}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**text, "vocab_size": 28, "max_position_embeddings": 20, "eos_token_id": 1, "bos_token_id": 0},
        vision_config={**text, "image_size": 12, "patch_size": 6},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    inner = Tokenizer(models.WordLevel(words, unk_token="a"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    marks = [("<|startoftext|>", 0), ("<|endoftext|>", 1)]
    inner.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=marks
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="a"
    )
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12}).save_pretrained(folder)
    return folder


def write_inception(path: Path) -> Path:
    """Random weights in the published names and shapes, half of them without batch counters, as old files are."""
    import torch

    from evals.features.inception_network import FidInception

    torch.manual_seed(0)
    state = FidInception().state_dict()
    torch.save({name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}, path)
    return path


def write_detector(folder: Path) -> Path:
    """A DETR-like detector of random weights with GenEval's classes."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[16, 16],
        patch_size=8,
        num_detection_tokens=5,
        id2label={0: "bench", 1: "bus", 2: "mouse"},
        label2id={"bench": 0, "bus": 1, "mouse": 2},
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def write_segmenter(folder: Path) -> Path:
    """A Mask2Former of random weights with GenEval's classes."""
    import torch
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=16,
        num_queries=6,
        id2label={0: "bench", 1: "bus", 2: "mouse"},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder
