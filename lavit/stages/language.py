"""The text LLM: trained on the corpus' text alone, until it looks answers up in a description it has read.

It learns three things: text, answers to questions about a description, and captions that retell a description. A
frozen LLM can only show what it learned here, so the stage is judged by grounded questions (the description is given)
against blind ones (another image's description), not by perplexity.

Where the config names a released LLM, nothing is trained: it is checked, and the stage's folder points to it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lavit.data import build
from lavit.language.llm import build_llm, save_llm
from lavit.language.pretrained import PretrainedLLM, pretrained_of
from lavit.language.text import TextTokenizer
from lavit.ledger import TRAINED, Ledger, attention_flops, count_parameters, dense_flops
from lavit.model.decoding import greedy_text
from lavit.model.lavit import seeded
from lavit.sequences import Sequence, SequenceBatch, SequenceBuilder, buckets, collate
from lavit.stages.arm import scale_weights
from lavit.stages.context import StageContext
from lavit.stages.order import DataOrder
from lavit.stages.training import OptimizerConfig, StageModule, fit, step_generator

TOKENIZER_TEXTS = 2000  # images whose texts the tokenizer is trained on
GROUNDED_IMAGES = 256  # validation images for the look-up test


class LanguageModule(StageModule):
    """A Llama over documents and grounded questions."""

    def __init__(self, context: StageContext):
        super().__init__()
        config = context.config.language
        self.config, self.seed = config, int(config.seed)
        self.corpus = build(context.config.data)
        self.text = train_tokenizer(self.corpus, config.vocab_size)
        self.builder = SequenceBuilder(self.text)
        with seeded(self.seed, "llm"):
            self.llm = build_llm(config, len(self.text))
        self.order = [DataOrder(self.corpus.size("train"), self.seed, 10 + purpose) for purpose in range(3)]
        self.counts: Tensor
        self.register_buffer("counts", torch.zeros(3, dtype=torch.float64))

    def batch(self, step: int) -> list[SequenceBatch]:
        """Plain documents, descriptions retold as captions, and descriptions with questions that they answer."""
        config = self.config
        plain, retold = int(config.batch * config.documents), int(config.batch * config.captions)
        documents = self.corpus.documents("train", self.order[0].take(step, plain))
        parts = [scale_weights([self.builder.document(text) for text in documents], 0.5)]
        index = self.order[1].take(step, retold)
        pick = torch.randint(0, 2**31, (retold,), generator=step_generator(self.seed, step, 10)).tolist()
        captions = [texts[p % len(texts)] for texts, p in zip(self.corpus.captions("train", index), pick, strict=True)]
        rows = zip(self.corpus.grounded("train", index), captions, strict=True)
        parts.append(scale_weights([self.builder.retold(text, caption) for (text, _), caption in rows], 1.0))
        weight = config.description_weight
        grounded = [
            self.builder.grounded(text, [(q.text, q.answer) for q in questions[: config.questions]], weight)
            for text, questions in self.corpus.grounded(
                "train", self.order[2].take(step, config.batch - plain - retold)
            )
        ]
        parts.append(scale_weights(grounded, 2.0))
        sequences = [sequence for part in parts for sequence in part]
        return [collate(bucket) for bucket in buckets(sequences, config.bucket_overhead)]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The layers' matrices apart from embeddings, output rows and norms (for Muon)."""
        hidden = [p for p in self.llm.model.layers.parameters() if p.ndim > 1]
        known = set(map(id, hidden))
        return [
            {"params": hidden, "orthogonal": True},
            {"params": [p for p in self.llm.parameters() if id(p) not in known]},
        ]

    def loss(self, batch: list[SequenceBatch], step: int) -> tuple[Tensor, dict[str, Any]]:
        """Weighted cross-entropy of the supervised tokens."""
        total = torch.zeros((), device=self.device)
        for part in batch:
            part = part.to(self.device)
            hidden = self.llm.model(input_ids=part.ids_BT, use_cache=False).last_hidden_state
            logits = self.llm.lm_head(hidden.flatten(0, 1)[part.text_at])
            total = total + (F.cross_entropy(logits, part.text_ids, reduction="none") * part.text_weights).sum()
            squared = float(part.lengths_S.double().square().sum())
            config = self.llm.config
            flops = attention_flops(config.num_hidden_layers, config.hidden_size, squared, TRAINED)
            body = sum(p.numel() for p in self.llm.model.layers.parameters())
            flops += dense_flops(body, part.positions, TRAINED)
            flops += dense_flops(self.llm.lm_head.weight.numel(), len(part.text_at), TRAINED)
            self.counts += torch.tensor([part.positions, len(part.text_at), flops], dtype=torch.float64)
        return total, {}

    def ledger(self) -> Ledger:
        """What training cost, by the counts so far."""
        positions, supervised, flops = self.counts.tolist()
        total, trainable = count_parameters(self.llm)
        return Ledger(
            examples_text=self.config.steps * self.config.batch,
            supervised_text_tokens=int(supervised),
            positions=int(positions),
            flops=flops,
            params_total=total,
            params_trainable=trainable,
            steps=self.config.steps,
        )

    @torch.no_grad()
    def grounded_accuracy(self, split: str, shift: int) -> dict[str, float]:
        """Exact answers, overall and per kind, with the description of the image ``shift`` places further on."""
        index = np.arange(min(GROUNDED_IMAGES, self.corpus.size(split)))
        rows = self.corpus.grounded(split, index)
        prompts: list[Sequence] = []
        asked = []
        for i, (_, questions) in enumerate(rows):
            description = rows[(i + shift) % len(rows)][0]
            for question in questions:
                prompts.append(self.builder.grounded(description, [(question.text, None)], 0.0))
                asked.append(question)
        order = np.argsort([len(p.ids) for p in prompts], kind="stable")
        right: dict[str, list[float]] = {"": []}
        for first in range(0, len(order), 256):
            chosen = order[first : first + 256]
            answers = greedy_text(self.llm, [prompts[i].ids for i in chosen], 6, self.text.eos)
            for i, ids in zip(chosen, answers, strict=True):
                hit = float(self.text.decode(ids) == asked[i].answer.lower())
                right[""].append(hit)
                right.setdefault(f".{asked[i].kind}", []).append(hit)
        return {name: float(np.mean(values)) for name, values in sorted(right.items())}


def train_tokenizer(corpus: Any, vocab_size: int) -> TextTokenizer:
    """The text tokenizer of a corpus: its captions, prompts, documents, questions and answers."""
    index = np.arange(min(TOKENIZER_TEXTS, corpus.size("train")))
    texts = [text for captions in corpus.captions("train", index) for text in captions]
    texts += corpus.prompts("train", index) + corpus.documents("train", index)
    for description, questions in corpus.grounded("train", index):
        texts.append(description)
        texts += [part for question in questions for part in (question.text, question.answer)]
    for questions in corpus.questions("train", index, 6):
        texts += [part for question in questions for part in (question.text, question.answer)]
    return TextTokenizer.train(texts, vocab_size)


def point_to(released: PretrainedLLM, context: StageContext) -> None:
    """Check a released LLM and its tokenizer, and write down where it lies and which files it is made of."""
    text = released.text()
    found = released.inspect()
    content = json.dumps(found, indent=1, sort_keys=True)
    (context.out / "llm.json").write_text(content + "\n")
    (context.out / "config.json").write_text(json.dumps({"vocab_size": len(text)}) + "\n")
    (context.out / "metrics.json").write_text("{}\n")
    Ledger(params_total=found["parameters"]).write(context.out)


def run(context: StageContext) -> None:
    """Train the text LLM; writes ``llm.safetensors``, ``llm.json`` and ``tokenizer.json``.

    Of a released LLM ``llm.json`` alone, which names its folder and the hash of every file.
    """
    config = context.config.language
    released = pretrained_of(config)
    if released is not None:
        return point_to(released, context)
    module = LanguageModule(context)
    fit(
        module,
        context,
        config.steps,
        OptimizerConfig(lr=config.lr, warmup=min(100, config.steps // 10), schedule="cosine", method=config.optimizer),
    )
    module.text.save(context.out / "tokenizer.json")
    save_llm(module.llm, config, context.out)
    (context.out / "config.json").write_text(json.dumps({"vocab_size": len(module.text)}) + "\n")
    metrics = {f"grounded/accuracy{k}": v for k, v in module.grounded_accuracy("val", 0).items()}
    metrics |= {f"blind/accuracy{k}": v for k, v in module.grounded_accuracy("val", 1).items()}
    (context.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    module.ledger().write(context.out)
