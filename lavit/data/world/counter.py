"""Random numbers by counting: a draw is a hash of (seed, split, index, field), so no draw depends on another.

The hash is splitmix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014), applied to whole arrays. Shapes: B examples.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(value: Keys) -> Keys:
    """splitmix64's finaliser: a bijection in which every input bit moves every output bit."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


def fold(key: Keys, value: Keys | int) -> Keys:
    """A new key from ``key`` and one more number."""
    number = np.atleast_1d(np.asarray(value, dtype=np.uint64))  # scalars would warn of the wanted overflow
    return mix(key ^ mix((number + np.uint64(1)) * _GOLDEN))


def keys(seed: int, name: str, index_B: NDArray[np.integer]) -> Keys:
    """One key [B] for each index of the stream called ``name``."""
    root = np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    root = fold(mix(root + _GOLDEN), zlib.crc32(name.encode()))
    return fold(root, np.asarray(index_B).astype(np.uint64))


def uniform(key: Keys, field: int) -> NDArray[np.float64]:
    """Draws in [0, 1), one for each key; another ``field`` is another draw."""
    return (fold(key, field) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniforms(key_B: Keys, fields: NDArray[np.integer]) -> NDArray[np.float64]:
    """``uniform`` of several fields at once: [B, fields]."""
    return (fold(key_B[:, None], fields[None, :].astype(np.uint64)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integer(key: Keys, field: int, bound: int | NDArray[np.integer]) -> NDArray[np.int64]:
    """Draws in 0 … bound - 1, one for each key."""
    return (uniform(key, field) * bound).astype(np.int64)
