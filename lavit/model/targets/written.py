"""Between an arm's own tokens and vision features: what drawing decodes, and the ceiling of drawing by the same path.

Shapes: B images, K tokens, D dimensions of the target, N patches, C feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lavit.model.decoding import WrittenImages
from lavit.model.encoded_images import pack
from lavit.model.lavit import LaVIT
from lavit.model.painting import decode
from lavit.tokenizer import VisualTokenizer
from lavit.tokenizer.tokens import VisualTokens


def written_features(model: LaVIT, tokenizer: VisualTokenizer, written: WrittenImages) -> Tensor:
    """Vision features [B, N, C] of images that an arm has written."""
    given = (written.vectors_BKD, written.places_BK, written.mask_BK)
    return decode(tokenizer, *given) if model.head is None else model.head.target.decode(tokenizer, *given)


def true_images(model: LaVIT, tokenizer: VisualTokenizer, tokens: VisualTokens) -> WrittenImages:
    """Images as an arm would write them that makes no mistake; from codes where an arm writes none."""
    codes_BK, places_BK, mask_BK = tokens.codes_BK, tokens.places_BK, tokens.mask_BK
    if model.head is None:
        return WrittenImages(codes_BK, tokenizer.lookup(codes_BK), places_BK, mask_BK)
    if not model.writes_slots:
        return WrittenImages(codes_BK, model.head.target.true_vectors(tokenizer, tokens), places_BK, mask_BK)
    assert model.slots is not None
    store = pack([tokens], model.slots, writes_slots=True).store
    row_BM = torch.arange(len(tokens) * model.slots).view(len(tokens), model.slots)
    vectors_BMW = model.embed_read(store, row_BM.flatten()).view(*row_BM.shape, -1)
    return WrittenImages(
        torch.full_like(row_BM, -1), vectors_BMW, row_BM % model.slots, torch.ones_like(row_BM, dtype=torch.bool)
    )
