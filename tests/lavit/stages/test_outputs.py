"""What the stages of the visual side share."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lavit.stages.outputs import forward_flops


def test_attention_costs_its_two_products_whatever_kernel_runs_it() -> None:
    query = torch.randn(3, 2, 8, 4)
    products = 3 * 2 * 2 * (2 * 8 * 8 * 4)
    assert forward_flops(F.scaled_dot_product_attention, query, query, query) == products
    assert forward_flops(lambda: F.scaled_dot_product_attention(query, query, query, is_causal=True)) == products
