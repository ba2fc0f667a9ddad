"""The embedded world: drawn, described, questioned and judged by this project's own code."""

from lavit.data.world.world import World

__all__ = ["World"]
