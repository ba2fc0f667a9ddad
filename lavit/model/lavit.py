"""LaVIT's language model: a Llama whose vocabulary is extended by image marks and visual codes.

An image that is read enters as continuous merged features through the connector, or as its codes
(``visual_input``), in the sequence or beside it (``entry``). An image that is written is a sequence of visual tokens,
each fed back as its code's embedding (discrete) or its projected vector (continuous).

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
from transformers import LlamaForCausalLM

from lavit.build import build, locate
from lavit.connectors.bound import BoundConnector
from lavit.connectors.image import ImageConnector
from lavit.errors import LavitError
from lavit.model.blocks import block_of, tensors_hash
from lavit.model.gated import Gates, Media, looking
from lavit.model.visual_head import Target, VisualHead
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
        llm: LlamaForCausalLM,
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
        width, scale = llm.config.hidden_size, llm.config.initializer_range
        codes, code_dim = codebook_KD.shape
        self.llm, self.head = llm, head
        self.llm_trainable = llm_trainable
        self.llm.requires_grad_(llm_trainable)
        self.discrete = head is not None and head.target.name == "discrete"
        self.register_buffer("codebook_KD", codebook_KD.clone(), persistent=False)
        with seeded(seed, "marks"):  # new vocabulary is drawn like the LLM's own embeddings
            self.marks = nn.Embedding(2, width)
            nn.init.normal_(self.marks.weight, std=scale)
        self.connector = connector
        self.gates, self.beside = gates, beside
        if gates is not None:
            gates.attach(llm.model.layers)
        #: Embeddings that an image is read as; None: one for each of its visual tokens.
        self.slots: int | None = getattr(connector, "tokens", None)
        self.place = nn.Embedding.from_pretrained(place_MW.clone(), freeze=False)
        self.vector_in: nn.Linear | None = None  # of regressed vectors that are fed back
        self.code_in: nn.Linear | None = None
        self.code_rows: nn.Embedding | None = None
        if head is not None and not self.discrete:
            with seeded(seed, "vector_in"):
                self.vector_in = nn.Linear(code_dim, width)
        if self.discrete or connector is None:
            with seeded(seed, "vector_in"):
                self.code_in = nn.Linear(code_dim, width)
            with seeded(seed, "code_rows"):
                self.code_rows = nn.Embedding(codes, width)
                nn.init.normal_(self.code_rows.weight, std=scale)

    @property
    def text_vocabulary(self) -> int:
        """Number of text ids; the image marks follow."""
        return self.llm.config.vocab_size

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Embeddings of text ids and image marks."""
        table = torch.cat([self.llm.model.embed_tokens.weight, self.marks.weight])
        return F.embedding(ids, table)

    def embed_entering(self, features_EC: Tensor, places_E: Tensor) -> Tensor:
        """Embeddings of an image that is read row by row: connected features and their places [E, W]."""
        assert self.connector is not None
        return self.connector(features_EC) + self.place(places_E)

    def embed_codes(self, codes_G: Tensor, places_G: Tensor) -> Tensor:
        """Embeddings of codes: each one's own row, its projected vector and its place [G, W]."""
        assert self.code_in is not None and self.code_rows is not None, "this arm knows no codes"
        return self.code_in(self.codebook_KD[codes_G]) + self.code_rows(codes_G) + self.place(places_G)

    def embed_generated(self, codes_G: Tensor, vectors_GD: Tensor, places_G: Tensor) -> Tensor:
        """Embeddings of an image that is written, as the next step's input [G, W]."""
        if self.discrete:
            return self.embed_codes(codes_G, places_G)
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
        return x.view(*batch.ids_BT.shape, -1)

    def hidden(self, batch: SequenceBatch, store: VisualStore) -> Tensor:
        """Last hidden states of every position, flat [B*T, W]."""
        x_BTW = self.embed(batch, store)
        with looking(*self.look(batch.seen_BT, store)):
            out = self.llm.model(inputs_embeds=x_BTW, use_cache=False, **self._within_documents(batch, x_BTW))
        return out.last_hidden_state.flatten(0, 1)

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
        """Embeddings of stored tokens as if the model had written them: its code, or the vector before quantisation."""
        return self.embed_generated(store.codes_M[rows], store.vectors_MD[rows], store.places_M[rows])

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
        logits = self.llm.lm_head(hidden[batch.text_at])
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
        keep = rows_P.clamp_min(0)
        place = store.places_M[keep].masked_fill(ends, self.head.places)
        starts = torch.ones_like(ends)
        starts[1:] = ends[:-1]
        last = torch.full_like(place, -1)
        last[1:] = place[:-1]
        last[starts] = -1
        return self.head.loss(hidden_PW, place, last, store.codes_M[keep], store.vectors_MD[keep], total)


def build_lavit(
    llm: LlamaForCausalLM,
    tokenizer: Mapping[str, Any],
    codebook_KD: Tensor,
    connector: Mapping[str, Any] | None,
    target: type[Target] | None,
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
        target: class of the visual target, None for arms without a visual loss.
        llm_trainable: whether the LLM's own weights learn.
        seed: of the new parts' initial weights.
        entry: where images enter that are read (``conf/entry``); None: in the sequence.
    """
    places, implied = int(tokenizer["num_places"]), bool(tokenizer["places_implied"])
    width = llm.config.hidden_size
    head = None
    if target is not None:
        with seeded(seed, "target"):
            objective = target(width, codebook_KD)
        with seeded(seed, "head"):
            head = VisualHead(width, objective, places, implied, tokenizer["positions"] == "rank")
    with seeded(seed, "connector"):
        connects = None if connector is None else build_connector(connector, tokenizer, width)
    if isinstance(connects, BoundConnector):
        connects.bind(llm)
    with seeded(seed, "place"):
        place_MW = place_embeddings(places, width, tokenizer["place_patches_MN"], 2 * llm.config.initializer_range)
    gates, beside = None, entry is not None and not entry["in_sequence"]
    if entry is not None and entry["gates"] is not None:
        shape = {"layers": llm.config.num_hidden_layers, "llm_heads": llm.config.num_attention_heads}
        with seeded(seed, "gates"):
            gates = build(entry["gates"], width=width, **shape)
    return LaVIT(llm, head, codebook_KD, connects, place_MW, llm_trainable, seed, gates, beside)


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
