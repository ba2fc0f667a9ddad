"""What a tokenizer is judged by: reconstruction, codebook use, and whether tokens go where content is.

What has no meaning for a tokenizer (codes without a codebook, a correlation with a count that never varies) is left
out, never 0.

Shapes: B S images, N patches, M places, R tokens of all images, C channels, D code dimensions, L label classes,
K codes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.tokenizer.base import VisualTokenizer
from lavit.tokenizer.tokenizer import Tokenizer

RIDGE = 1e-3  # of the read-out of places, in units of the tokens that it is fitted on


def code_use(codes_R: Tensor, size: int) -> dict[str, float]:
    """Codes used at all, their share of the codebook, those not used, and the perplexity of their use (exp entropy)."""
    share_K = torch.bincount(codes_R, minlength=size).double() / max(1, len(codes_R))
    used = float((share_K > 0).sum())
    entropy = -(share_K * share_K.clamp(min=1e-12).log()).sum()
    use = {"codes_used": used, "codes_used_share": used / size, "dead_codes": size - used}
    return use | {"perplexity": float(entropy.exp())}


def kept_counts(count_S: Tensor, complexity: dict[str, np.ndarray]) -> dict[str, float]:
    """Tokens an image, and their correlation with how much there is to see (absent where either never varies)."""
    count = count_S.double().numpy()
    metrics = {"kept": count.mean(), "kept_min": count.min(), "kept_max": count.max(), "kept_std": count.std()}
    for name, value_S in complexity.items():
        if count.std() > 0 and np.std(value_S) > 0:
            metrics[f"kept_corr_{name}"] = np.corrcoef(count, value_S)[0, 1]
    return {name: float(value) for name, value in metrics.items()}


def reconstruction(
    decoded_SNC: Tensor,
    target_SNC: Tensor,
    objects_SN: Tensor | None,
    head: nn.Linear | None,
    labels_SNL: Tensor | None,
    tokenizer: VisualTokenizer,
    suffix: str,
) -> dict[str, float]:
    """Cosine of standardised features on all and on object patches, and the probe read from decoded features.

    The probe counts an object patch as right when the vision stage's label head names its whole set of labels.
    """
    cosine_SN = feature_cosine(tokenizer, decoded_SNC, target_SNC)
    metrics = {f"cosine{suffix}": float(cosine_SN.mean())}
    if objects_SN is not None:
        metrics[f"cosine_objects{suffix}"] = float(cosine_SN[objects_SN].mean())
        if head is not None and labels_SNL is not None:
            right = ((head(decoded_SNC[objects_SN]) > 0) == (labels_SNL[objects_SN] >= 0.5)).all(-1)
            metrics[f"probe_objects{suffix}"] = float(right.float().mean())
    return metrics


def feature_cosine(tokenizer: VisualTokenizer, decoded_BNC: Tensor, target_BNC: Tensor) -> Tensor:
    """Cosine [B, N] of decoded and true features, each standardised: raw ones are nearly all background and offset."""
    return F.cosine_similarity(tokenizer.standardise(decoded_BNC), tokenizer.standardise(target_BNC), dim=-1)


@torch.no_grad()
def sampling(
    tokenizer: VisualTokenizer, features_SNC: Tensor, keys_S: Tensor, generator: torch.Generator
) -> dict[str, float]:
    """The deterministic selection beside one sampled by ``generator``: how many are kept on average, how many flip,
    and how many of the tokens that both keep have another code.

    While a selector is undecided the two differ widely: at p = 0.4 everywhere the rule keeps one place and a sample
    two of five. Empty for a selector that learns nothing.
    """
    if not (isinstance(tokenizer, Tokenizer) and tokenizer.chooses):
        return {}
    standard_SNC = tokenizer.standardise(features_SNC)
    kept, sampled = tokenizer.packed(standard_SNC, keys_B=keys_S), tokenizer.packed(standard_SNC, generator)
    kept_SM, sampled_SM = kept.selection.keep_BM > 0.5, sampled.selection.keep_BM > 0.5
    flips = float((sampled_SM != kept_SM).float().mean())
    metrics = {"sampled_kept": float(sampled_SM.sum(1).float().mean()), "sampled_flips": flips}
    if tokenizer.quantised and (kept_SM & sampled_SM).any():
        codes_SM, drawn_SM = torch.zeros_like(kept_SM, dtype=torch.long), torch.zeros_like(kept_SM, dtype=torch.long)
        codes_SM[kept_SM] = tokenizer.quantizer.codes(kept.vectors_RD)
        drawn_SM[sampled_SM] = tokenizer.quantizer.codes(sampled.vectors_RD)
        metrics["sampled_recoded"] = float((codes_SM != drawn_SM)[kept_SM & sampled_SM].float().mean())
    return metrics


@torch.no_grad()
def place_recovery(vectors_RD: Tensor, places_R: Tensor, images_R: Tensor, num_places: int) -> dict[str, float]:
    """How much of where a token came from is in its vector: accuracy of a linear read-out, on images it has not seen.

    Ridge regression from the vector onto the places (one-hot), fitted on the tokens of even images and tested on those
    of odd ones. ``place_guessed`` is what always naming the most frequent place scores there. Empty where there is
    one place only, or no token on either side.
    """
    even_R = images_R % 2 == 0
    if num_places < 2 or not even_R.any() or even_R.all():
        return {}
    inputs_RD = F.pad(vectors_RD.double(), (0, 1), value=1.0)
    known_RD, target_RM = inputs_RD[even_R], F.one_hot(places_R[even_R], num_places).double()
    gram_DD = known_RD.T @ known_RD + RIDGE * len(known_RD) * torch.eye(inputs_RD.shape[1], dtype=torch.float64)
    weights_DM = torch.linalg.solve(gram_DD, known_RD.T @ target_RM)
    asked_R = places_R[~even_R]
    named_R = (inputs_RD[~even_R] @ weights_DM).argmax(-1)
    most = target_RM.sum(0).argmax()
    return {
        "place_recovered": float((named_R == asked_R).double().mean()),
        "place_guessed": float((asked_R == most).double().mean()),
    }


@torch.no_grad()
def tokenizer_metrics(
    tokenizer: VisualTokenizer,
    features_SNC: Tensor,
    keys_S: Tensor,
    generator: torch.Generator,
    complexity: dict[str, np.ndarray],
    objects_SN: Tensor | None = None,
    head: nn.Linear | None = None,
    labels_SNL: Tensor | None = None,
    images_SHWC: Tensor | None = None,
) -> dict[str, float]:
    """All metrics of a tokenizer on the features of a split's first images.

    Without suffix: decoded from what the tokenizer hands on (its codes; its vectors where it has no codebook);
    ``_continuous``: from the vectors before the codebook; ``_undecoded``: the true features, as the probe's control.
    ``images_SHWC`` are needed where the tokenizer sees pixels.
    """
    if images_SHWC is not None:
        tokens = tokenizer.tokens_of(images_SHWC, features_SNC)
    else:
        assert isinstance(tokenizer, Tokenizer), "a tokenizer that sees pixels is judged on images"
        tokens = tokenizer.tokens(features_SNC, keys_B=keys_S)
    metrics = kept_counts(tokens.mask_BK.sum(1), complexity)
    sources = {"": tokens.vectors_BKD}
    if tokenizer.quantised:
        metrics |= code_use(tokens.codes_BK[tokens.mask_BK], tokenizer.codebook_size)
        sources = {"": tokenizer.lookup(tokens.codes_BK), "_continuous": tokens.vectors_BKD}
    shared = (features_SNC, objects_SN, head, labels_SNL, tokenizer)
    for suffix, vectors_BKD in sources.items():
        decoded_SNC = tokenizer.decode(vectors_BKD, tokens.places_BK, tokens.mask_BK)
        metrics |= reconstruction(decoded_SNC, *shared, suffix=suffix)
    metrics |= reconstruction(features_SNC, *shared, suffix="_undecoded")
    metrics |= sampling(tokenizer, features_SNC, keys_S, generator)
    if objects_SN is not None and tokenizer.layout is not None and tokenizer.layout.identity:
        kept_SM = tokenizer.kept(features_SNC, keys_S).float()
        metrics["keep_objects"] = float(kept_SM[objects_SN].mean())
        metrics["keep_background"] = float(kept_SM[~objects_SN].mean())
    return {f"tokenizer/{name}": value for name, value in metrics.items()}
