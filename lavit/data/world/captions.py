"""What is said of a scene: captions, prompts and descriptions. Objects are named in raster order, no
background is.

The vocabulary is small and the order fixed on purpose: a random order is loss that no model can avoid.
"""

from __future__ import annotations

from dataclasses import dataclass

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
VERTICAL = ("top", "", "bottom")
HORIZONTAL = ("left", "", "right")


@dataclass(frozen=True, slots=True)
class Item:
    """An object as texts see it: ``size`` is empty where it goes unsaid; ``row`` and ``column`` are -1, 0 or
    1.

    ``x`` and ``y`` are the centre in pixels; ``row`` is -1 in the upper half, 0 on the middle line, 1 below.
    """

    size: str
    colour: str
    shape: str
    row: int
    column: int
    x: int
    y: int

    @property
    def phrase(self) -> str:
        """``large red circle``."""
        return f"{self.size} {self.colour} {self.shape}" if self.size else f"{self.colour} {self.shape}"

    @property
    def area(self) -> str:
        """Where it is: ``top left``, ``top``, ``left``, ``middle``, …"""
        return f"{VERTICAL[self.row + 1]} {HORIZONTAL[self.column + 1]}".strip() or "middle"


def article(phrase: str) -> str:
    """``a red circle``, ``an orange circle``."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def plural(phrase: str) -> str:
    """``red circles``, ``red crosses``."""
    return f"{phrase}es" if phrase.endswith("s") else f"{phrase}s"


def join(parts: list[str]) -> str:
    """``x``, ``x and y``, ``x, y and z``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def listing(items: list[Item]) -> str:
    """Every object with its article, in raster order."""
    return join([article(item.phrase) for item in items])


def grouping(items: list[Item]) -> str:
    """Like objects counted together, in the order of their first: ``two red circles and a blue square``."""
    count: dict[str, int] = {}
    for item in items:
        count[item.phrase] = count.get(item.phrase, 0) + 1
    return join([article(p) if n == 1 else f"{NUMBERS[n]} {plural(p)}" for p, n in count.items()])


def terse(items: list[Item]) -> str:
    """The shortest form, which is the text-to-image prompt: ``red circle, large blue square``."""
    return ", ".join(item.phrase for item in items)


def description(items: list[Item]) -> str:
    """Every object with where it is: enough to answer any grounded question."""
    return ", ".join(f"{item.phrase} {item.area}" for item in items)


def _there_is(items: list[Item]) -> str:
    grouped = grouping(items)
    return f"there {'is' if grouped.startswith(('a ', 'an ')) else 'are'} {grouped}"


def _counted(items: list[Item]) -> str:
    return f"{NUMBERS[len(items)]} {'object' if len(items) == 1 else 'objects'}: {terse(items)}"


TEMPLATES = (
    listing,
    lambda items: f"the picture shows {listing(items)}",
    _there_is,
    terse,
    _counted,
    lambda items: f"an image of {grouping(items)}",
    lambda items: f"you can see {listing(items)}",
)


def captions(items: list[Item], first: int, count: int) -> list[str]:
    """``count`` captions in different phrasings, the first of them ``first``."""
    return [TEMPLATES[(first + step) % len(TEMPLATES)](items) for step in range(count)]
