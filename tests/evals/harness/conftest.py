"""Models for tests of the harness: a small arm with random weights, and a small transformers folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

WORDS = ["a red circle and a blue square", "two green triangles stand left of it", "what is this? a circle."]
PLACES, FEATURES, CODES, DIM = 4, 6, 8, 4


@pytest.fixture(scope="session")
def arm():
    """An arm with random weights whose images have one to four tokens, by how bright they are."""
    import torch

    from lavit.language import TextTokenizer, build_llm
    from lavit.model.encoded_images import EncodedImages
    from lavit.model.lavit import build_lavit
    from lavit.model.vision_language import Arm
    from lavit.sequences import SequenceBuilder, VisualStore

    torch.manual_seed(0)
    torch.set_num_threads(1)
    text = TextTokenizer.train(WORDS * 5, 80)
    config = {"width": 24, "layers": 2, "heads": 2, "mlp_width": 32, "max_positions": 48}
    llm = build_llm(config, len(text))
    shape = {"num_places": PLACES, "places_implied": False, "positions": "place", "feature_dim": FEATURES}
    shape["place_patches_MN"] = torch.eye(PLACES)
    codebook = torch.randn(CODES, DIM)
    model = build_lavit(llm, shape, codebook, {"_target_": "lavit.connectors.mlp.MLP"}, None, True, seed=3)

    class Small(Arm):
        def __init__(self) -> None:
            self.model, self.builder, self.image_size = model.eval(), SequenceBuilder(text), 8
            self.language, self._untouched = None, None

        def encode(self, images):
            counts = [1 + int(image.mean()) // 64 for image in images]
            rows = [(image.mean() / 255, place) for image, n in zip(images, counts, strict=True) for place in range(n)]
            features = torch.tensor([[grey + 0.1 * i * (place + 1) for i in range(FEATURES)] for grey, place in rows])
            places = torch.tensor([place for _, place in rows])
            offsets = torch.tensor([0, *counts]).cumsum(0)
            codes = torch.zeros(len(rows), dtype=torch.long)
            store = VisualStore(features, codebook[codes], codes, places, offsets)
            return EncodedImages(store, np.arange(len(store)))

    return Small()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers folder: a small Llama with random weights and a byte-pair tokenizer that starts with <s>."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>"]
    backend.train_from_iterator(WORDS * 5, trainers.BpeTrainer(vocab_size=120, special_tokens=special))
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    folder = tmp_path_factory.mktemp("llama")
    PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=backend.get_vocab_size(),
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder of tasks with their data beside them: multiple choice, text to write, and text to be likely."""
    rows = [
        {"question": f"what is {word}?", "choices": ["a circle", "a square", "it"], "gold": number % 3, "text": word}
        for number, word in enumerate(["red", "blue", "two green", "left", "a triangle", "what", "and a"])
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = "dataset_path: json\ndataset_kwargs:\n  data_files: {test: rows.jsonl}\ntest_split: test\n"
    mean = "aggregation: mean, higher_is_better: true"
    (tmp_path / "choose.yaml").write_text(
        f"task: choose\n{data}output_type: multiple_choice\n"
        'doc_to_text: "{{question}}"\ndoc_to_choice: "{{choices}}"\ndoc_to_target: "{{gold}}"\n'
        f"metric_list:\n  - {{metric: acc, {mean}}}\n  - {{metric: acc_norm, {mean}}}\n"
    )
    (tmp_path / "write.yaml").write_text(
        f"task: write\n{data}output_type: generate_until\n"
        'doc_to_text: "{{question}}"\ndoc_to_target: "{{text}}"\n'
        'generation_kwargs: {until: ["."], max_gen_toks: 5}\n'
        f"metric_list:\n  - {{metric: exact_match, {mean}}}\n"
    )
    (tmp_path / "likely.yaml").write_text(
        f'task: likely\n{data}output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{{{question}}}}"\n'
        "metric_list:\n  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}\n"
        "  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}\n"
    )
    (tmp_path / "seen.py").write_text(
        "import datasets, numpy as np\n"
        "from PIL import Image\n\n\n"
        "def load(**further):\n"
        "    rows = [{'shade': shade} for shade in (0, 90, 250)]\n"
        "    return {'test': datasets.Dataset.from_list(rows)}\n\n\n"
        "def images(doc):\n"
        "    grey = Image.fromarray(np.full((20, 20, 3), doc['shade'], 'uint8'))\n"
        "    return [grey, Image.new('RGB', (9, 9), 'white')]\n"
    )
    (tmp_path / "seen.yaml").write_text(
        "task: seen\ncustom_dataset: !function seen.load\ntest_split: test\noutput_type: multiple_choice\n"
        'doc_to_image: !function seen.images\ndoc_to_text: "a red <image> and"\n'
        'doc_to_choice: ["a circle", "a square"]\ndoc_to_target: 0\n'
        f"metric_list:\n  - {{metric: acc, {mean}}}\n"
    )
    return tmp_path
