"""What a tokenizer is judged by: reconstruction, codebook use, and whether tokens go where content is.

Shapes: S images, N patches, M places, C channels, L label classes, K codes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.tokenizer.tokenizer import Tokenizer


def code_use(codes_R: Tensor, size: int) -> dict[str, float]:
    """Codes used at all, and the perplexity of their use (exp of the entropy)."""
    share_K = torch.bincount(codes_R, minlength=size).double() / max(1, len(codes_R))
    entropy = -(share_K * share_K.clamp(min=1e-12).log()).sum()
    return {"codes_used": float((share_K > 0).sum()), "perplexity": float(entropy.exp())}


def kept_counts(count_S: Tensor, complexity: dict[str, np.ndarray]) -> dict[str, float]:
    """Tokens an image, and their correlation with how much there is to see (0 where the count never varies)."""
    count = count_S.double().numpy()
    metrics = {"kept": count.mean(), "kept_min": count.min(), "kept_max": count.max(), "kept_std": count.std()}
    for name, value_S in complexity.items():
        varies = count.std() > 0 and np.std(value_S) > 0
        metrics[f"kept_corr_{name}"] = np.corrcoef(count, value_S)[0, 1] if varies else 0.0
    return {name: float(value) for name, value in metrics.items()}


def reconstruction(
    decoded_SNC: Tensor,
    target_SNC: Tensor,
    objects_SN: Tensor | None,
    head: nn.Linear | None,
    labels_SNL: Tensor | None,
    tokenizer: Tokenizer,
    suffix: str,
) -> dict[str, float]:
    """Cosine of standardised features on all and on object patches, and the probe read from decoded features.

    The probe counts an object patch as right when the vision stage's label head names its whole set of labels.
    """
    cosine_SN = F.cosine_similarity(tokenizer.standardise(decoded_SNC), tokenizer.standardise(target_SNC), dim=-1)
    metrics = {f"cosine{suffix}": float(cosine_SN.mean())}
    if objects_SN is not None:
        metrics[f"cosine_objects{suffix}"] = float(cosine_SN[objects_SN].mean())
        if head is not None and labels_SNL is not None:
            right = ((head(decoded_SNC[objects_SN]) > 0) == (labels_SNL[objects_SN] >= 0.5)).all(-1)
            metrics[f"probe_objects{suffix}"] = float(right.float().mean())
    return metrics


@torch.no_grad()
def tokenizer_metrics(
    tokenizer: Tokenizer,
    features_SNC: Tensor,
    keys_S: Tensor,
    generator: torch.Generator,
    complexity: dict[str, np.ndarray],
    objects_SN: Tensor | None = None,
    head: nn.Linear | None = None,
    labels_SNL: Tensor | None = None,
) -> dict[str, float]:
    """All metrics of a tokenizer on the features of a split's first images.

    ``sampled_*`` compares the deterministic selection with one sampled by ``generator``: while the selector is
    undecided, the two differ widely.
    """
    tokens = tokenizer.tokens(features_SNC, keys_B=keys_S)
    counts_S = tokens.mask_BK.sum(1)
    metrics = kept_counts(counts_S, complexity)
    metrics |= code_use(tokens.codes_BK[tokens.mask_BK], tokenizer.codebook_size)
    shared = (features_SNC, objects_SN, head, labels_SNL, tokenizer)
    for suffix, vectors_BKD in (("", tokenizer.lookup(tokens.codes_BK)), ("_continuous", tokens.vectors_BKD)):
        decoded_SNC = tokenizer.decode(vectors_BKD, tokens.places_BK, tokens.mask_BK)
        metrics |= reconstruction(decoded_SNC, *shared, suffix=suffix)
    metrics |= reconstruction(features_SNC, *shared, suffix="_undecoded")
    features_SMC = tokenizer.layout.gather(tokenizer.standardise(features_SNC))
    kept_SM = tokenizer.selector(features_SMC, keys_B=keys_S).keep_BM
    sampled_SM = tokenizer.selector(features_SMC, generator=generator).keep_BM
    metrics["sampled_kept"] = float(sampled_SM.sum(1).mean())
    metrics["sampled_flips"] = float((sampled_SM != kept_SM).float().mean())
    if objects_SN is not None and tokenizer.layout.identity:
        metrics["keep_objects"] = float(kept_SM[objects_SN].mean())
        metrics["keep_background"] = float(kept_SM[~objects_SN].mean())
    return {f"tokenizer/{name}": value for name, value in metrics.items()}
