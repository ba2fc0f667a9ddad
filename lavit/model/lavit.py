"""LaVIT's language model: a Llama whose vocabulary is extended by image marks and visual codes.

An image that is read enters as continuous merged features through the connector, or as its codes
(``visual_input``), in the sequence or beside it (``entry``). An image that is written is a sequence of visual tokens,
each fed back as its code's embedding (discrete), its projected vector (continuous), or the very embedding that is read
(Emu).

Shapes: B sequences, T positions, W width, V text vocabulary, K codes, C feature width, D code dimension.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from lavit.build import build, locate
from lavit.connectors.bound import BoundConnector
from lavit.connectors.image import ImageConnector
from lavit.errors import LavitError
from lavit.language import access
from lavit.model.blocks import block_of, tensors_hash
from lavit.model.gated import Gates, Media, looking
from lavit.model.targets import ImageShape, Target
from lavit.model.visual_head import VisualHead
from lavit.sequences import SequenceBatch, VisualStore, attention_mask

MASKABLE = ("sdpa", "eager")  # attention of transformers that adds a mask to its scores


class LaVIT(nn.Module):
    """The LLM with its visual inputs and outputs.

    Args:
        llm: the text LLM; it is kept as it is, new rows live beside it, so that "frozen" can be checked by hash.
        head: what is predicted at visual positions; None for arms without a visual loss.
        codebook_KD: the tokenizer's codebook, fixed.
        connector: takes the tokenizer's merged features into the width of the LLM, row by row or image by image
            (:mod:`lavit.connectors`); None where images enter as codes.
        place_MW: initial embeddings of the places that a token may have.
        llm_trainable: False freezes every weight of ``llm``.
        seed: each new part draws its weights from (seed, its name), so that arms share what they have in common.
        gates: blocks that look at images beside the sequence; they are put before the LLM's layers.
        beside: images that are read stand beside the sequence only, and not in it as well.
    """

    codebook_KD: Tensor

    def __init__(
        self,
        llm: PreTrainedModel,
        head: VisualHead | None,
        codebook_KD: Tensor,
        connector: nn.Module | None,
        place_MW: Tensor,
        llm_trainable: bool,
        seed: int = 0,
        gates: Gates | None = None,
        beside: bool = False,
    ):
        super().__init__()
        width = access.width(llm)
        codes, code_dim = codebook_KD.shape
        self.llm, self.head = llm, head
        self.llm_trainable = llm_trainable
        self.llm.requires_grad_(llm_trainable)
        self.discrete = head is not None and head.target.discrete
        self.register_buffer("codebook_KD", codebook_KD.clone(), persistent=False)
        with seeded(seed, "marks"):  # new vocabulary is drawn like the LLM's own embeddings
            self.marks = nn.Embedding(2, width)
            access.draw_rows(llm, self.marks.weight)
        self.connector = connector
        self.gates, self.beside = gates, beside
        if gates is not None:
            gates.attach(access.layers(llm))
        #: Embeddings that an image is read as; None: one for each of its visual tokens.
        self.slots: int | None = getattr(connector, "tokens", None)
        #: Whether an image that is written takes up the same positions as one that is read.
        self.writes_slots = head is not None and head.target.writes_slots
        self.place = nn.Embedding.from_pretrained(place_MW.clone(), freeze=False)
        self.vector_in: nn.Linear | None = None  # of regressed vectors that are fed back
        self.code_in: nn.Linear | None = None
        self.code_rows: nn.Embedding | None = None
        if head is not None:
            with seeded(seed, "vector_in"):
                self.vector_in = head.target.projector()
        if self.discrete or connector is None:
            with seeded(seed, "vector_in"):
                self.code_in = nn.Linear(code_dim, width)
            with seeded(seed, "code_rows"):
                self.code_rows = nn.Embedding(codes, width)
                access.draw_rows(llm, self.code_rows.weight)

    @property
    def moving_target(self) -> bool:
        """Whether what is regressed is made by a part of this model that learns."""
        assert not self.writes_slots or self.connector is not None
        return self.writes_slots and any(p.requires_grad for p in self.connector.parameters())  # type: ignore[union-attr]

    @property
    def text_vocabulary(self) -> int:
        """Number of text ids; the image marks follow."""
        return access.rows(self.llm)

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Embeddings of text ids and image marks."""
        first = self.text_vocabulary
        text = access.embed_text(self.llm, ids.clamp(max=first - 1))
        return torch.where((ids >= first)[..., None], self.marks((ids - first).clamp(min=0)), text)

    def embed_entering(self, features_EC: Tensor, places_E: Tensor) -> Tensor:
        """Embeddings of an image that is read row by row: connected features and their places [E, W]."""
        assert self.connector is not None
        return self.connector(features_EC) + self.place(places_E)

    def embed_codes(self, codes_G: Tensor, places_G: Tensor) -> Tensor:
        """Embeddings of codes: each one's own row, its projected vector and its place [G, W]."""
        assert self.code_in is not None and self.code_rows is not None, "this arm knows no codes"
        return self.code_in(self.codebook_KD[codes_G]) + self.place(places_G) + self.code_rows(codes_G)

    def embed_generated(self, codes_G: Tensor, vectors_GD: Tensor, places_G: Tensor) -> Tensor:
        """Embeddings of an image that is written, as the next step's input [G, W]."""
        if self.discrete:
            return self.embed_codes(codes_G, places_G)
        if self.writes_slots:
            return vectors_GD  # they are embeddings already
        assert self.vector_in is not None, "this arm writes no images"
        return self.vector_in(vectors_GD) + self.place(places_G)

    def embed_read(self, store: VisualStore, rows_E: Tensor) -> Tensor:
        """Embeddings of images that are read, by the rows that :meth:`VisualStore.entering` gave them [E, W]."""
        if self.connector is None:
            return self.embed_codes(store.codes_M[rows_E], store.places_M[rows_E])
        if self.slots is None:
            return self.embed_entering(store.features_MC[rows_E], store.places_M[rows_E])
        image_I, which_E = torch.unique(rows_E // self.slots, return_inverse=True)
        connected_IMW = self.connector(*store.padded_features(image_I))
        return connected_IMW[which_E, rows_E % self.slots]

    def embed(self, batch: SequenceBatch, store: VisualStore | None) -> Tensor:
        """Embeddings of every position [B, T, W]; ``store`` may lack where no image is in the batch."""
        x = self.embed_ids(batch.ids_BT).flatten(0, 1)
        if len(batch.enter_at):
            assert store is not None
            x = x.index_copy(0, batch.enter_at, self.embed_read(store, batch.enter_row))
        if len(batch.generated_at):
            assert store is not None
            x = x.index_copy(0, batch.generated_at, self.embed_written(store, batch.generated_row))
        return x.view(*batch.ids_BT.shape, -1).to(self.llm.dtype)

    def hidden(self, batch: SequenceBatch, store: VisualStore) -> Tensor:
        """Last hidden states of every position, flat [B*T, W]."""
        x_BTW = self.embed(batch, store)
        with looking(*self.look(batch.seen_BT, store)):
            out = access.body(self.llm)(inputs_embeds=x_BTW, use_cache=False, **self._within_documents(batch, x_BTW))
        return out.last_hidden_state.flatten(0, 1).to(self.marks.weight.dtype)

    def _within_documents(self, batch: SequenceBatch, x_BTW: Tensor) -> dict[str, Tensor]:
        """What keeps the documents of packed rows apart in the LLM."""
        if batch.document_BT is None or batch.position_BT is None:
            return {}
        kind = self.llm.config._attn_implementation
        if kind not in MASKABLE:
            raise LavitError(
                f"packed rows need attention that takes a mask ({' or '.join(MASKABLE)}), and the LLM has {kind!r}",
                "set train.batching=buckets",
            )
        mask_B1TT = attention_mask(batch.document_BT, x_BTW.dtype)
        return {"attention_mask": mask_B1TT.to(x_BTW.device), "position_ids": batch.position_BT.to(x_BTW.device)}

    def look(self, seen: Tensor, store: VisualStore | None) -> tuple[Media | None, Tensor]:
        """The images that stand beside the sequence for some positions.

        Args:
            seen: as in :class:`lavit.sequences.SequenceBatch`, of any shape.
            store: may lack where no image is seen.

        Returns:
            The images, None where there are none or the model looks at none; and the number among them of the one that
            each position sees, -1 none.
        """
        real = seen >= 0
        if self.gates is None or not bool(real.any()):
            return None, seen
        assert store is not None
        image_I, which = torch.unique(store.images_at(seen[real]), return_inverse=True)
        index = torch.full_like(seen, -1).masked_scatter(real, which)
        return Media(self.gates, *self.embed_beside(store, image_I)), index

    def embed_beside(self, store: VisualStore, image_I: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings of images as they stand beside the sequence [I, S, W], and which are real [I, S] (None: all)."""
        if self.slots is not None:
            assert self.connector is not None
            return self.connector(*store.padded_features(image_I)), None
        row_IN, mask_IN = store.padded_rows(image_I)
        embedded_EW = self.embed_read(store, row_IN[mask_IN])
        which_IN = (mask_IN.flatten().cumsum(0) - 1).clamp_min(0).view_as(mask_IN)
        return embedded_EW[which_IN], None if bool(mask_IN.all()) else mask_IN

    def embed_written(self, store: VisualStore, rows: Tensor | slice) -> Tensor:
        """Embeddings of stored tokens as if the model had written them: a code, a vector, or what is read."""
        if self.writes_slots:
            assert isinstance(rows, Tensor)
            return self.embed_read(store, rows)
        assert self.head is not None, "this arm writes no images"
        vectors = store.vectors_MD[rows] if self.discrete else self.head.target.vectors(store, rows)
        return self.embed_generated(store.codes_M[rows], vectors, store.places_M[rows])

    def true_tokens(self, store: VisualStore, rows_P: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is to be predicted of stored tokens: codes [P] (0 where there are none), vectors [P, D], places [P].

        Embeddings that the arm itself makes are detached, unless its target is the control that collapses.
        """
        assert self.head is not None, "this arm writes no images"
        if not self.writes_slots:
            return store.codes_M[rows_P], self.head.target.vectors(store, rows_P), store.places_M[rows_P]
        assert self.slots is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.head.target.stop_gradient):
            vectors_PW = self.embed_read(store, rows_P)
        return torch.zeros_like(rows_P), vectors_PW, rows_P % self.slots

    def learn(self, blocks: Iterable[str], writes: bool = True) -> None:
        """Let these blocks learn, and freeze all else.

        Args:
            blocks: see :data:`lavit.model.blocks.BLOCKS`. The LLM learns only where its freeze level lets it.
            writes: False where no image is written: then what only writing needs stands still, too.
        """
        learning = set(blocks)
        written = (
            ["head.", "vector_in."] if self.connector is None else ["head.", "vector_in.", "code_in.", "code_rows."]
        )
        unused = () if writes else tuple(written)
        for name, parameter in self.named_parameters():
            block = block_of(name)
            able = self.llm_trainable if block == "llm" else not name.startswith(unused)
            parameter.requires_grad_(able and block in learning)

    def text_loss(self, hidden: Tensor, batch: SequenceBatch) -> Tensor:
        """Cross-entropy in nats of each supervised text id, weighted as the sequence says [supervised]."""
        logits = access.text_logits(self.llm, hidden[batch.text_at])
        return F.cross_entropy(logits, batch.text_ids, reduction="none") * batch.text_weights

    def visual_loss(
        self, hidden_PW: Tensor, rows_P: Tensor, store: VisualStore, total: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the images that are written.

        Args:
            hidden_PW: the hidden states that predict, image after image.
            rows_P: row of ``store`` that each of them predicts, -1 where the image ends.
            store: the visual tokens.
            total: see :meth:`lavit.model.visual_head.VisualHead.loss`.
        """
        assert self.head is not None, "this arm has no visual loss"
        ends = rows_P < 0
        keep = torch.where(ends, rows_P.roll(1), rows_P)  # an end stands behind a token of its image
        codes, vectors, places = self.true_tokens(store, keep)
        place = places.masked_fill(ends, self.head.places)
        starts = torch.ones_like(ends)
        starts[1:] = ends[:-1]
        last = torch.full_like(place, -1)
        last[1:] = place[:-1]
        last[starts] = -1
        loss, metrics = self.head.loss(hidden_PW, place, last, codes, vectors, total)
        further, told = self.head.target.further_loss(vectors[~ends], rows_P[~ends], store, total)
        return loss if further is None else loss + further, metrics | told


def build_lavit(
    llm: PreTrainedModel,
    tokenizer: Mapping[str, Any],
    codebook_KD: Tensor,
    connector: Mapping[str, Any] | None,
    target: Callable[[ImageShape], Target] | None,
    llm_trainable: bool,
    seed: int = 0,
    entry: Mapping[str, Any] | None = None,
) -> LaVIT:
    """Assemble an arm's model.

    Args:
        llm: the text LLM.
        tokenizer: ``num_places``, ``places_implied``, ``positions``, ``feature_dim`` and ``place_patches_MN`` of the
            visual tokenizer.
        codebook_KD: its codebook.
        connector: config node of the connector; None where images enter as codes.
        target: makes the visual target, None for arms without a visual loss.
        llm_trainable: whether the LLM's own weights learn.
        seed: of the new parts' initial weights.
        entry: where images enter that are read (``conf/entry``); None: in the sequence.
    """
    places, width = int(tokenizer["num_places"]), access.width(llm)
    with seeded(seed, "connector"):
        connects = None if connector is None else build_connector(connector, tokenizer, width)
    if isinstance(connects, BoundConnector):
        connects.bind(llm)
    head = None
    if target is not None:
        slots = getattr(connects, "tokens", None)
        with seeded(seed, "target"):
            objective = target(ImageShape(width, codebook_KD, int(tokenizer["feature_dim"]), places, slots))
        with seeded(seed, "head"):
            head = build_head(width, objective, tokenizer, slots)
    with seeded(seed, "place"):
        place_MW = place_embeddings(places, width, tokenizer["place_patches_MN"], 2 * access.entering_deviation(llm))
    gates, beside = None, entry is not None and not entry["in_sequence"]
    if entry is not None and entry["gates"] is not None:
        shape = {"layers": llm.config.num_hidden_layers, "llm_heads": llm.config.num_attention_heads}
        with seeded(seed, "gates"):
            gates = build(entry["gates"], width=width, **shape)
    return LaVIT(llm, head, codebook_KD, connects, place_MW, llm_trainable, seed, gates, beside)


def build_head(width: int, target: Target, tokenizer: Mapping[str, Any], slots: int | None) -> VisualHead:
    """The head of an arm that writes images: over the tokenizer's places, or over the ranks of the connector's slots.

    Raises:
        LavitError: nothing would end an image whose number of tokens is not fixed.
    """
    if target.writes_slots:
        assert slots is not None
        return VisualHead(width, target, slots, implied=target.end == "full", ranked=True)
    implied = bool(tokenizer["places_implied"])
    if target.end == "full" and not implied:
        raise LavitError(
            "target.end=full with tokens whose number differs from image to image: nothing would end an image",
            "set target.end=class (the model ends it), or tokens=fixed or pooled",
        )
    return VisualHead(width, target, int(tokenizer["num_places"]), implied, tokenizer["positions"] == "rank")


def build_connector(node: Mapping[str, Any], tokenizer: Mapping[str, Any], width: int) -> nn.Module:
    """The connector of a config node.

    Raises:
        LavitError: it reads the whole grid of patches, and the tokenizer does not give it.
    """
    options: dict[str, Any] = {"feature_dim": int(tokenizer["feature_dim"]), "width": width}
    target = locate(str(node["_target_"]))
    if issubclass(target, ImageConnector):
        options["patches"] = int(tokenizer["num_places"])
        if not tokenizer["places_implied"]:
            raise LavitError(
                f"connector {node['_target_']} reads every patch of an image, and this tokenizer drops some",
                "set tokens=fixed (all patches, unmerged)",
            )
    connector: nn.Module = build(node, **options)
    return connector


def place_embeddings(places: int, width: int, patches_MN: Tensor | None, std: float) -> Tensor:
    """Initial embeddings of places [M, W]: the sum of a vector for the row and one for the column.

    So that what is learned of one place ("left") holds in its whole column at once.

    Args:
        places: number of places M.
        width: of the embeddings.
        patches_MN: share of each patch of a square grid in each place; None for ranks, which have no row or column.
        std: of a row's or column's vector.
    """
    if patches_MN is None:
        return torch.randn(places, width) * std
    side = round(patches_MN.shape[1] ** 0.5)
    row_GW, column_GW = torch.randn(2, side, width) * std
    return patches_MN @ (row_GW[:, None] + column_GW[None]).flatten(0, 1)


@contextmanager
def seeded(seed: int, part: str) -> Iterator[None]:
    """Draw the weights built inside from (seed, part) alone, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed * 1_000_003 + zlib.crc32(part.encode()))
        yield


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over all weights of a module: equal exactly where every bit is."""
    return tensors_hash(module.state_dict().items())
