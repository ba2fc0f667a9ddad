"""The arm: one LLM trained on its mix of image-first, text-first and text-only sequences.

Pre-training and tuning (constant rate) and cool-down (linear to zero) are stages over the same module, each with what
its recipe mixes and lets learn (:mod:`lavit.stages.recipe`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

import lavit.tokenizer
from lavit.connectors.bound import BoundConnector
from lavit.data import build
from lavit.errors import LavitError
from lavit.language import access, load_text
from lavit.ledger import FORWARD_ONLY, TRAINED, TRAVERSED, Ledger, attention_flops, count_parameters, dense_flops
from lavit.model.blocks import ADAPTER, BLOCKS, block_of, block_sizes, passes
from lavit.model.text_tasks import answer_questions, write_captions
from lavit.sequences import Sequence, SequenceBatch, SequenceBuilder, VisualStore, batches, collate, regroup
from lavit.stages import processes
from lavit.stages.arm_model import build_arm, check_entry
from lavit.stages.collapse import VarianceWatch
from lavit.stages.context import StageContext
from lavit.stages.image_flops import ImageFlops, writing_flops
from lavit.stages.order import DataOrder
from lavit.stages.recipe import Recipe
from lavit.stages.strategies import whole
from lavit.stages.training import StageModule, step_generator

CAPTION, QUESTION, TEXT, GENERATION = range(4)
LEARNED_ROWS = ("queries_MC", "queries_MH", "positions_NC", "rows_VW", "distance.weight")  # of connectors
READ_OUT_ROWS = ("rank_ME", "query_NE")
EMBEDDINGS = ("marks.weight", "code_rows.weight", "place.weight", *LEARNED_ROWS, *READ_OUT_ROWS)
HIDDEN = (
    "connector.",
    "gates.",
    "vector_in.",
    "code_in.",
    "head.mix.",
    "head.target.readout.blocks.",
)


class ArmModule(StageModule):
    """An arm in training.

    Initial weights depend on the run's seed alone, part by part, so that what two arms have in common starts equal.
    """

    def __init__(self, context: StageContext):
        super().__init__()
        config = context.config
        self.config: DictConfig = config
        self.seed = context.seed
        self.corpus = build(config.data)
        self.text = load_text(context.inputs["language"])
        self.builder = SequenceBuilder(self.text)
        visual = lavit.tokenizer.load(context.inputs["tokenizer"], context.inputs["vision"])
        self.model = build_arm(config, context.inputs["language"], visual, context.seed)
        self.store = VisualStore.load(context.inputs["tokenizer"] / "tokens-train.safetensors")
        self.val_store = VisualStore.load(context.inputs["tokenizer"] / "tokens-val.safetensors")
        self.weights = config.train.weights
        self.begin(context.stage)
        size = min(len(self.store), self.config.train.images or len(self.store))
        self.order = [DataOrder(size, context.seed, purpose) for purpose in range(4)]
        self.out: Path = context.out
        self.first_step = 0  # global step at which the stage begins
        self.trunk_counts = torch.zeros(4, dtype=torch.float64)  # what a cool-down inherits from its trunk
        self.counts: Tensor
        self.register_buffer("counts", torch.zeros(4, dtype=torch.float64))

    def begin(self, stage: str) -> None:
        """Take up the recipe of a stage: what it mixes, and which blocks learn."""
        self.recipe = Recipe.read(self.config.regime, int(self.config.train.steps), stage)
        check_entry(self.model, self.recipe)
        names = [phase.name for phase in self.recipe.phases]
        self.phase = self.recipe.phases[names.index(stage) if stage in names else -1]
        self.writes = self.phase.generation and self.model.head is not None
        check_shares(self.phase.counts(self.config.train, self.config.train.steps))
        self.model.learn(self.phase.learning(self.config.llm), self.writes)
        self.learning = {block for block, size in block_sizes(self.model).items() if size["trainable"]}
        if not self.learning:
            raise LavitError(
                f"nothing learns in {stage}: regime.{self.phase.name}.learns={list(self.phase.learns)} with "
                f"llm={self.config.llm.name}",
                "let another block learn, or take another level of llm",
            )
        for store in (self.store, self.val_store):
            store.slots, store.beside, store.writes_slots = self.model.slots, self.model.beside, self.model.writes_slots
        self.watch: VarianceWatch | None = None
        if self.writes and self.model.moving_target:
            assert self.model.head is not None
            self.watch = VarianceWatch(self.model.head.target.collapse_below)

    # -- data ---------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> list[SequenceBatch]:
        """This process' share of the step's sequences, in batches (``train.batching``).

        Every process makes all of them, so that draws and loss weights are those of the whole batch.
        """
        counts = self.phase.counts(self.config.train, step)
        kinds = []
        if counts["captions"]:
            kinds.append(self.caption_sequences(step, counts["captions"]))
        if counts["generation"] and self.writes:
            kinds.append(self.generation_sequences(step, counts["generation"]))
        if counts["questions"]:
            kinds.append(self.question_sequences(step, counts["questions"], self.config.train.per_image))
        if counts["text"]:
            kinds.append(self.text_sequences(step, counts["text"]))
        return [collate(bucket) for bucket in self._cut([processes.shares(kind) for kind in kinds])]

    def _cut(self, kinds: list[list[list[Sequence]]]) -> list[list[Sequence]]:
        """Batches of this process' sequences; where layers are split all processes call them equally often."""
        mixes = [[sequence for shares in kinds for sequence in shares[number]] for number in range(processes.size())]
        own = batches(mixes[processes.rank()], self.config.train)
        if self.config.trainer.get("strategy") != "fsdp":
            return own
        cuts = [batches(mix, self.config.train) for mix in mixes]
        count = min(max(map(len, cuts)), min(sum(map(len, cut)) for cut in cuts))
        return regroup(own, count)

    def caption_sequences(self, step: int, count: int) -> list[Sequence]:
        """Image first, then one of its captions, drawn by the step."""
        index = self.order[CAPTION].take(step, count)
        pick = torch.randint(0, 2**31, (count,), generator=step_generator(self.seed, step, CAPTION)).tolist()
        captions = self.corpus.captions("train", index)
        chosen = [texts[p % len(texts)] for texts, p in zip(captions, pick, strict=True)]
        parts = [self.builder.caption(self.store.entering(i), text) for i, text in zip(index, chosen, strict=True)]
        return scale_weights(parts, self.weights.caption)

    def question_sequences(self, step: int, count: int, per_image: int) -> list[Sequence]:
        """Image first, then several questions with their answers."""
        index = self.order[QUESTION].take(step, count)
        asked = self.corpus.questions("train", index, per_image)
        parts = [
            self.builder.questions(self.store.entering(i), [(q.text, q.answer) for q in questions])
            for i, questions in zip(index, asked, strict=True)
        ]
        return scale_weights(parts, self.weights.question)

    def text_sequences(self, step: int, count: int) -> list[Sequence]:
        """Text alone: descriptions with questions that they answer."""
        index = self.order[TEXT].take(step, count)
        parts = [
            self.builder.grounded(text, [(q.text, q.answer) for q in questions], 0.2)
            for text, questions in self.corpus.grounded("train", index)
        ]
        return scale_weights(parts, self.weights.text)

    def generation_sequences(self, step: int, count: int) -> list[Sequence]:
        """Prompt first, then the image's tokens."""
        index = self.order[GENERATION].take(step, count)
        prompts = self.corpus.prompts("train", index)
        return [self.builder.generation(p, self.store.written(i)) for i, p in zip(index, prompts, strict=True)]

    # -- loss ---------------------------------------------------------------------------------------------------

    def loss(self, batch: list[SequenceBatch], step: int) -> tuple[Tensor, dict[str, Any]]:
        """Weighted sum of the text losses and the visual loss."""
        store = self.store.pin(self.device)
        text = torch.zeros((), device=self.device)
        predicting, rows = [], []
        counts = torch.zeros(4, dtype=torch.float64)
        for part in batch:
            part = part.to(self.device)
            hidden = self.model.hidden(part, store)
            if len(part.text_at):
                text = text + self.model.text_loss(hidden, part).sum()
            predicting.append(hidden[part.predict_at])
            rows.append(part.predict_row)
            counts += self.count(part)
        self.counts += processes.total(counts).to(self.device)
        if not text.requires_grad:  # nothing of a batch of text alone may learn: its gradients are zeros, not missing
            for parameter in self.parameters():
                if parameter.requires_grad:
                    text = text + parameter.reshape(-1)[:0].sum()
        metrics: dict[str, Any] = {"text": text.detach()}
        if not self.writes or not self.phase.counts(self.config.train, step)["generation"]:
            return text, metrics
        total = processes.total if processes.size() > 1 else None
        visual, parts = self.model.visual_loss(torch.cat(predicting), torch.cat(rows), store, total)
        metrics |= {f"visual_{name}": value for name, value in parts.items()}
        return text + self.weights.generation * visual, metrics

    def after_step(self, step: int) -> None:
        """Stop where a target that the arm itself makes has collapsed."""
        if self.watch is not None and "visual_variance" in self.step_metrics:
            self.watch.see(float(processes.total(self.step_metrics["visual_variance"])), step)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups by kind of weight and rate: a recipe may scale that of each block, and ``llm.lr_scale`` the LLM's.

        Matrices decay, embeddings and vectors do not. Matrices between hidden states are marked ``orthogonal``, those
        that read or write a vocabulary (text, codes, places) are not: their rows are learned one by one. Neither are
        the factors of LoRA: it is their product that changes a matrix.
        """
        rates = {block: float(self.phase.lr.get(block, 1.0)) for block in BLOCKS}
        for block in ("llm", "lora"):
            rates[block] *= float(self.config.llm.lr_scale)
        groups: dict[tuple[bool, float, bool, bool], list[Tensor]] = {}
        inner = {id(parameter) for parameter in access.layers(self.model.llm).parameters()}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                decays = parameter.ndim > 1 and not name.endswith(EMBEDDINGS)
                block = block_of(name)
                matrix = parameter.ndim == 2 and block != "lora"  # convolutions and factors are none
                hidden = decays and matrix and (name.startswith(HIDDEN) or id(parameter) in inner)
                groups.setdefault((block == "llm", rates[block], decays, hidden), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr_scale": rate,
                "orthogonal": hidden,
                **({} if decays else {"weight_decay": 0.0}),
            }
            for (_, rate, decays, hidden), parameters in sorted(groups.items(), key=lambda item: item[0])
        ]

    def layers(self) -> Iterable[nn.Module]:
        """The LLM's."""
        return access.layers(self.model.llm)

    # -- ledger -------------------------------------------------------------------------------------------------

    def count(self, part: SequenceBatch) -> Tensor:
        """Positions, text tokens, visual positions and FLOPs of a batch; whole numbers, so sums are exact."""
        model, llm = self.model, self.model.llm
        factor = self.passes("llm")
        layers = access.layers(llm)
        added = sum(p.numel() for name, p in layers.named_parameters() if ADAPTER in name)
        body = sum(p.numel() for p in layers.parameters()) - added
        squared = float(part.lengths_S.double().square().sum())
        flops = dense_flops(body, part.positions, factor)
        flops += attention_flops(llm.config.num_hidden_layers, access.attention_width(llm), squared, factor)
        flops += dense_flops(added, part.positions, self.passes("lora"))
        flops += dense_flops(access.head(llm).weight.numel(), len(part.text_at), factor)
        flops += self.reading_flops(len(part.enter_at)) + self.beside_flops(part)
        if self.writes and model.head is not None:
            written = (len(part.predict_at), len(part.generated_at))
            flops += writing_flops(model, self.image_flops, *written, self.passes)
        return torch.tensor([part.positions, len(part.text_at), len(part.predict_at), flops], dtype=torch.float64)

    def passes(self, block: str) -> int:
        """FLOPs of a block per position and weight (:func:`lavit.model.blocks.passes`)."""
        return passes(block, self.learning)

    def reading_flops(self, positions: int) -> float:
        """FLOPs of what turns images into ``positions`` embeddings of the LLM's input."""
        model = self.model
        if model.connector is None:
            assert model.code_in is not None
            return dense_flops(model.code_in.weight.numel(), positions, self.passes("rows"))
        factor = self.passes("connector")
        if model.slots is None:
            lent = model.connector.lent_weights if isinstance(model.connector, BoundConnector) else 0
            own = dense_flops(count_parameters(model.connector)[0], positions, factor)
            return own + dense_flops(lent, positions, min(factor, TRAVERSED))
        return factor / FORWARD_ONLY * self.image_flops.connector * positions / model.slots

    def beside_flops(self, part: SequenceBatch) -> float:
        """FLOPs of images beside the sequences: what embeds each of them once, and the blocks that look at them."""
        gates = self.model.gates
        if gates is None:
            return 0.0
        sees_N = self.store.images_at(part.seen_BT[part.seen_BT >= 0])
        image_I, looking_I = sees_N.unique(return_counts=True)
        tokens_I = self.store.tokens_of(image_I)
        media, pairs = int(tokens_I.sum()), int((tokens_I * looking_I).sum())
        weights, scores = gates.multiplications(part.positions, len(sees_N), media, pairs)
        factor = self.passes("gates")
        # Scores have no weights: forward once, backward twice, whether the blocks learn or not.
        return factor * weights + TRAINED * scores + self.reading_flops(media)

    @cached_property
    def image_flops(self) -> ImageFlops:
        """FLOPs of the parts that see an image whole."""
        return ImageFlops(self.model)

    def cumulative(self) -> dict[str, float]:
        """Training FLOPs of the arm so far, a cool-down's trunk included."""
        return {"flops": float(self.counts[3])}

    def final_ledger(self, steps: int) -> Ledger:
        """The ledger after ``steps`` steps."""
        seen = self.phase.seen(self.config.train, range(self.first_step, self.first_step + steps))
        positions, text, visual, flops = (self.counts.cpu() - self.trunk_counts).tolist()
        total, trainable = count_parameters(self.model)
        return Ledger(
            examples_understanding=seen["captions"] + seen["questions"],
            examples_generation=seen["generation"] if self.writes else 0,
            examples_text=seen["text"],
            supervised_text_tokens=int(text),
            supervised_visual_positions=int(visual),
            positions=int(positions),
            flops=flops,
            params_total=total,
            params_trainable=trainable,
            steps=steps,
        )

    # -- curve --------------------------------------------------------------------------------------------------

    def validate(self, step: int) -> dict[str, float]:
        """Write predictions on the validation split to ``validation.jsonl``; the evaluator scores them later."""
        curve = self.config.train.curve
        count = min(len(self.val_store), max(curve.captions, curve.questions))
        index = np.arange(count)
        common = {"step": step, **self.cumulative()}
        lines = []
        images = index[: curve.captions]
        rows = [self.val_store.entering(i) for i in images]
        for i, text in zip(images, write_captions(self.model, self.builder, self.val_store, rows), strict=True):
            lines.append({**common, "benchmark": "caption", "index": int(i), "question_id": None, "prediction": text})
        images = index[: curve.questions]
        questions = [q[0] for q in self.corpus.questions("val", images, 1)]
        rows = [self.val_store.entering(i) for i in images]
        answers = answer_questions(self.model, self.builder, self.val_store, rows, [q.text for q in questions])
        for i, q, text in zip(images, questions, answers, strict=True):
            lines.append({**common, "benchmark": "vqa", "index": int(i), "question_id": q.id, "prediction": text})
        if processes.first():
            with open(self.out / "validation.jsonl", "a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
        right = [q.answer.lower() == text for q, text in zip(questions, answers, strict=True)]
        return {"vqa/accuracy": float(np.mean(right))}


def check_shares(counts: Mapping[str, int]) -> None:
    """Raise unless every process gets a sequence of each kind that a step has."""
    for kind, count in counts.items():
        if 0 < count < processes.size():
            raise LavitError(
                f"train.{kind}: {count} sequences a step cannot be shared by trainer.devices={processes.size()}",
                f"raise train.{kind} (scale.train.{kind}), or lower trainer.devices",
            )


def scale_weights(parts: list[Sequence], weight: float) -> list[Sequence]:
    """Make the loss weights of a group of sequences sum to ``weight``: a mean over its supervised tokens."""
    total = sum(sum(part.supervised) for part in parts)
    for part in parts:
        part.supervised = [w * weight / total for w in part.supervised]
    return parts


def inherit_counts(module: ArmModule, *ledgers: Path) -> None:
    """Begin with what the stages before this one have spent, as their ledgers tell."""
    names = ("positions", "supervised_text_tokens", "supervised_visual_positions", "flops")
    spent = [json.loads(ledger.read_text()) for ledger in ledgers]
    rows = [[float(one[name]) for name in names] for one in spent]
    module.trunk_counts = torch.tensor(rows, dtype=torch.float64).sum(0)
    module.counts.copy_(module.trunk_counts)


def unshared(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of which no two share memory, as safetensors wants them: tied tables are written twice."""
    seen: set[int] = set()
    found = {}
    for name, value in weights.items():
        found[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return found


def finish_arm(module: ArmModule, context: StageContext, steps: int) -> None:
    """Write ``model.safetensors``, ``config.json``, ``ledger.json``, ``blocks.json`` (the parameters of each block) and
    ``metrics.json``; called by every process."""
    weights = {name: whole(tensor).contiguous() for name, tensor in module.model.state_dict().items()}
    if not processes.first():
        return
    save_file(unshared(weights), context.out / "model.safetensors")
    parts = ("regime", "visual_input", "target", "llm", "llm_init", "connector", "entry")
    config = {p: OmegaConf.to_container(context.config[p], resolve=True) for p in parts if p in context.config}
    config["begins_at"] = module.first_step
    (context.out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    module.final_ledger(steps).write(context.out)
    (context.out / "blocks.json").write_text(json.dumps(block_sizes(module.model), indent=1) + "\n")
    tokens = {"tokens/mean": module.store.mean_tokens, **module.cumulative()}
    (context.out / "metrics.json").write_text(json.dumps(tokens, indent=1) + "\n")
