"""How fast the tokenizer's packed execution is against its dense form, and the code search against the official one.

The references are our own: the merger that carries all places with a dense exact-masked softmax, the distance matrix
with the one-hot that the official code builds, and the distance matrix with argmin alone. Every ratio is of one run,
each side the fastest of several that take turns; how far the results differ is printed beside it.

    python -m benchmarks.tokenizer                 one thread, float32, width 352
    python -m benchmarks.tokenizer --device cuda   a GPU, bfloat16, width 1408, batch 64
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import Tensor

from lavit.tokenizer.merger import TokenMerger
from lavit.tokenizer.quantizer import nearest_codes

PATCHES, BLOCKS, CODES, CODE_DIM, RATE = 256, 12, 16384, 32, 1 / 3
RATES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@dataclass(frozen=True)
class Setting:
    """Sizes of a run."""

    device: str
    width: int
    heads: int
    batch: int
    dtype: torch.dtype
    repeats: int


CPU = Setting("cpu", 352, 4, 8, torch.float32, 5)
GPU = Setting("cuda", 1408, 16, 64, torch.bfloat16, 20)


def make(setting: Setting) -> tuple[TokenMerger, Tensor]:
    """Merger and features."""
    torch.manual_seed(0)
    merger = TokenMerger(setting.width, BLOCKS, setting.heads, mlp_ratio=4.3637).eval()
    features_BNC = torch.randn(setting.batch, PATCHES, setting.width)
    return merger.to(setting.device, setting.dtype), features_BNC.to(setting.device, setting.dtype)


def decisions(setting: Setting, rate: float) -> Tensor:
    """Random decisions [B, N], which keep a share ``rate`` of all places; images differ."""
    generator = torch.Generator().manual_seed(1)
    order = torch.rand(setting.batch * PATCHES, generator=generator).argsort().argsort()
    kept = order < round(rate * len(order))
    return kept.view(setting.batch, PATCHES).to(setting.device, setting.dtype)


def seconds(setting: Setting, runs: dict[str, Callable[[], object]], repeats: int | None = None) -> dict[str, float]:
    """The fastest time of each run; they take turns."""
    best = dict.fromkeys(runs, float("inf"))
    for turn in range((repeats or setting.repeats) + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if setting.device == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first warms up
                best[name] = min(best[name], time.perf_counter() - began)
    return best


@torch.no_grad()
def merger_time(setting: Setting, rate: float, repeats: int | None = None) -> tuple[float, float, float]:
    """Seconds of the dense and the packed form, and the largest difference of kept rows."""
    merger, features_BNC = make(setting)
    keep_BN = decisions(setting, rate)
    dense_RC = merger(features_BNC, keep_BN)[keep_BN > 0]
    difference = float((merger.packed(features_BNC, keep_BN) - dense_RC).abs().max())
    runs = {
        "dense": lambda: merger(features_BNC, keep_BN),
        "packed": lambda: merger.packed(features_BNC, keep_BN),
    }
    times = seconds(setting, runs, repeats)
    return times["dense"], times["packed"], difference


def _resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


@torch.no_grad()
def merger_memory(setting: Setting, form: str) -> int:
    """Bytes that one call needs at its peak beyond weights and inputs; on a CPU in a process of its own."""
    merger, features_BNC = make(setting)
    keep_BN = decisions(setting, RATE)
    run = merger.packed if form == "packed" else merger
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(features_BNC, keep_BN)
        return torch.cuda.max_memory_allocated() - before
    features_BNC[:1] @ merger.norm.weight  # loads the library's code
    before = _resident("VmRSS")
    run(features_BNC, keep_BN)
    return _resident("VmHWM") - before


def _memory_apart(setting: Setting, form: str) -> int:
    if setting.device == "cuda":
        return merger_memory(setting, form)
    command = [sys.executable, "-m", "benchmarks.tokenizer", "--memory-of", form]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def official_search(vectors_RD: Tensor, codebook_KD: Tensor, one_hot: bool) -> Tensor:
    """Squared distances of all pairs, argmin, and the official code's one-hot matrix, which nothing reads."""
    distance_RK = (
        vectors_RD.square().sum(1, keepdim=True)
        + codebook_KD.square().sum(1)
        - 2 * torch.einsum("rd,kd->rk", vectors_RD, codebook_KD)
    )
    codes_R = distance_RK.argmin(1)
    if one_hot:
        F.one_hot(codes_R, len(codebook_KD)).to(vectors_RD.dtype)
    return codes_R


@torch.no_grad()
def quantizer_time(setting: Setting) -> tuple[dict[str, float], float]:
    """Seconds of the three searches, and the share of rows on which ours and the official one agree."""
    generator = torch.Generator().manual_seed(2)
    rows = round(setting.batch * PATCHES * RATE)
    vectors_RD = F.normalize(torch.randn(rows, CODE_DIM, generator=generator), dim=-1).to(setting.device)
    codebook_KD = F.normalize(torch.randn(CODES, CODE_DIM, generator=generator), dim=-1).to(setting.device)
    same = nearest_codes(vectors_RD, codebook_KD) == official_search(vectors_RD, codebook_KD, False)
    runs = {
        "ours": lambda: nearest_codes(vectors_RD, codebook_KD),
        "official": lambda: official_search(vectors_RD, codebook_KD, True),
        "argmin": lambda: official_search(vectors_RD, codebook_KD, False),
    }
    return seconds(setting, runs), float(same.float().mean())


def matmul_peak(setting: Setting) -> float:
    """FLOPs a second of one large matrix product."""
    side = 8192 if setting.device == "cuda" else 1024
    left = torch.randn(side, side, device=setting.device, dtype=setting.dtype)
    return 2 * side**3 / seconds(setting, {"product": lambda: left @ left})["product"]


def packed_flops(setting: Setting, rows: int, dropped: int) -> float:
    """FLOPs of the linear layers of the packed merger: 6 matrices a kept row, 2 a dropped one, and the MLP."""
    width, hidden = setting.width, int(setting.width * 4.3637)
    return 2.0 * BLOCKS * (rows * (6 * width**2 + 2 * width * hidden) + dropped * 2 * width**2)


def report(setting: Setting) -> None:
    """Print everything."""
    print(f"{setting.device}, {setting.dtype}, width {setting.width}, {setting.heads} heads, batch {setting.batch},")
    print(f"{PATCHES} patches, {BLOCKS} blocks, {RATE:.0%} kept; codebook {CODES} x {CODE_DIM}")
    dense, packed, difference = merger_time(setting, RATE)
    print(f"\nmerger          dense {dense:.4f} s   packed {packed:.4f} s   ratio {dense / packed:.2f}")
    print(f"                largest difference of kept rows {difference:.1e}")
    rows = round(setting.batch * PATCHES * RATE)
    flops = packed_flops(setting, rows, setting.batch * PATCHES - rows)
    share = flops / packed / matmul_peak(setting)
    print(
        f"                {rows / packed:,.0f} kept tokens/s; linear layers at {share:.0%} of one large product's speed"
    )
    memory = {form: _memory_apart(setting, form) for form in ("dense", "packed")}
    print(
        f"peak memory     dense {memory['dense'] / 2**20:.0f} MiB   packed {memory['packed'] / 2**20:.0f} MiB   "
        f"ratio {memory['packed'] / memory['dense']:.2f}"
    )
    times, same = quantizer_time(setting)
    print(
        f"code search     official {times['official']:.4f} s   distance + argmin {times['argmin']:.4f} s   "
        f"ours {times['ours']:.4f} s"
    )
    print(f"                ratio to official {times['official'] / times['ours']:.2f}", end="")
    print(f", to distance + argmin {times['argmin'] / times['ours']:.2f}; same codes {same:.2%}")
    print("\nkeep rate       " + "  ".join(f"{rate:>5.1f}" for rate in RATES))
    curve = [merger_time(setting, rate, repeats=3) for rate in RATES]
    print("dense / packed  " + "  ".join(f"{dense / packed:>5.2f}" for dense, packed, _ in curve))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Speed and memory of the tokenizer's packed execution, as ratios.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--memory-of", choices=["dense", "packed"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    setting = GPU if options.device == "cuda" else CPU
    if setting.device == "cuda" and not torch.cuda.is_available():
        sys.exit("benchmarks.tokenizer: --device cuda, and PyTorch sees no GPU here")
    torch.set_num_threads(1)
    if options.memory_of:
        print(merger_memory(setting, options.memory_of))
    else:
        report(setting)


if __name__ == "__main__":
    main()
