"""The space of a search: which config keys may take which values, as a study's `tune.space` says it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import OmegaConf

from experiments.axes import Axis, level_name, write_override
from experiments.compose import Composer, parse_overrides
from experiments.errors import Complaint, LavitError, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = dict[str, Any]  # config key -> value

_KEYS = ("low", "high", "log", "step", "points", "choices")
_WHOLE = {"choices", "high"}  # a body with one of these replaces what stood there, any other changes a part of it
_EXAMPLE = "write {low: 3e-4, high: 1e-2, log: true}, or {choices: [...]}"
_FORBIDDEN = ("study", "hydra", "runs", "stages", "incidental", "unpriced", "job")
_EDGE = 0.02  # of the range: a best value so near to its end may lie beyond it


@dataclass(frozen=True)
class Parameter:
    """One key that a search sets: a range of numbers, or a list of choices."""

    key: str
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    points: int | None = None  # how many values a grid takes of a range
    choices: tuple[Any, ...] = ()

    def distribution(self) -> BaseDistribution:
        """The same for Optuna; choices go by name, since it takes nothing but plain values."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution([level_name(value) for value in self.choices])
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def to_optuna(self, value: Any) -> Any:
        """A value as Optuna holds it."""
        return level_name(value) if self.kind == "choice" else value

    def from_optuna(self, value: Any) -> Any:
        """What Optuna holds as the config's value."""
        if self.kind == "choice":
            return next(choice for choice in self.choices if level_name(choice) == value)
        return int(value) if self.kind == "int" else float(value)

    def override(self, value: Any) -> str:
        """The Hydra override that sets it."""
        return write_override(self.key, value)

    def contains(self, value: Any) -> bool:
        """Whether the value lies in the space."""
        if self.kind == "choice":
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.kind == "int" and value != int(value):
            return False
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-6

    def grid(self) -> list[Any] | None:
        """All its values in order; None for a range that has no end of them."""
        if self.kind == "choice":
            return list(self.choices)
        if self.points is not None:
            found = dict.fromkeys(self.at(i / (self.points - 1)) for i in range(self.points))
            return list(found)
        if self.kind == "int" and self.log:
            return list(range(int(self.low), int(self.high) + 1))
        step = self.step or (1 if self.kind == "int" else None)
        if step is None:
            return None
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        values = [self.low + i * step for i in range(count)]
        return [int(v) for v in values] if self.kind == "int" else [float(f"{v:.12g}") for v in values]

    def at(self, share: float) -> Any:
        """The value at a share from 0 to 1 of the range, or of its logarithm where `log` says so."""
        if self.kind == "choice":
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        if self.step is not None:
            value = self.low + self.step * round((value - self.low) / self.step)
        value = min(max(float(f"{value:.6g}"), self.low), self.high)
        return round(value) if self.kind == "int" else value

    def at_edge(self, value: Any) -> bool:
        """Whether a value lies so near to an end of the range that something better may lie outside."""
        if self.kind == "choice" or self.high == self.low:
            return False
        if self.log:
            share = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return not _EDGE < share < 1 - _EDGE

    def describe(self) -> str:
        """`optimizer.lr 0.0003 to 0.01 (log)`."""
        if self.kind == "choice":
            return f"{self.key} of {', '.join(level_name(value) for value in self.choices)}"
        notes = [*(["log"] if self.log else []), *([f"step {self.step:g}"] if self.step is not None else [])]
        return f"{self.key} {self.low:g} to {self.high:g}" + (f" ({', '.join(notes)})" if notes else "")

    def document(self) -> dict[str, Any]:
        """Plain data: what tells one space from another."""
        if self.kind == "choice":
            return {"choices": list(self.choices)}
        return {"kind": self.kind, "low": self.low, "high": self.high, "log": self.log, "step": self.step}


def read_space(
    node: Any, axes: Mapping[str, Axis], composer: Composer, overrides: Sequence[str], complain: Complaint
) -> tuple[Parameter, ...]:
    """Read `tune.space` and try its ends on the config; a seed, an axis' key and an unknown key are refused."""
    if not isinstance(node, dict) or not node:
        raise complain("tune.space", f"{node!r} is no space", "write space: {optimizer.lr: {low: 3e-4, high: 1e-2}}")
    taken = {
        parsed.key_or_group: axis.name
        for axis in axes.values()
        for parsed in parse_overrides([text for level in axis.levels.values() for text in level])
    }
    config = composer.compose(overrides)
    parameters = []
    for key, body in _flat(node).items():
        where = f"tune.space.{key}"
        if key in ("seed", "seeds") or key.split(".")[-1] == "seed":
            raise complain(
                where,
                "a seed is a replicate, never a tuned parameter",
                "write seeds: 3: a trial's objective is then the mean over three seeds",
            )
        if key.split(".")[0] in _FORBIDDEN:
            raise complain(where, f"'{key}' cannot be tuned", "name a key of the config, for example optimizer.lr")
        if key in taken:
            raise complain(where, f"the axis '{taken[key]}' sets this key", "take it out of the space or of the axes")
        group = composer.is_group(key)
        parameter = _read_parameter(key, body, group, complain)
        now = None if group else OmegaConf.select(config, key)
        if (
            parameter.kind != "choice"
            and now is not None
            and (isinstance(now, bool) or not isinstance(now, int | float))
        ):
            raise complain(where, f"{key} is no number (now {now})", "write {choices: [...]}")
        if parameter.kind == "int" and isinstance(now, float):
            parameter = Parameter(key, "float", parameter.low, parameter.high, parameter.log, parameter.step,
                                  parameter.points)  # fmt: skip
        for value in parameter.choices or (parameter.low, parameter.high):
            try:
                composer.compose([*overrides, parameter.override(parameter.from_optuna(parameter.to_optuna(value)))])
            except LavitError as error:
                raise complain(where, error.message, error.hint) from error
        parameters.append(parameter)
    return tuple(parameters)


def _flat(node: Mapping[Any, Any], path: str = "") -> dict[str, Any]:
    """The space by dotted key: a command line writes `study.tune.space.optimizer.lr.low=...` as nested groups."""
    found: dict[str, Any] = {}
    for name, body in node.items():
        key = f"{path}.{name}" if path else str(name)
        if (
            isinstance(body, dict)
            and body
            and not set(body) & set(_KEYS)
            and all(isinstance(inner, dict) for inner in body.values())
        ):
            inner = _flat(body, key)
        else:
            inner = {key: body}
        for dotted, value in inner.items():
            old = found.get(dotted)
            if isinstance(old, dict) and isinstance(value, dict) and not _WHOLE & set(value):
                value = {**old, **value}
            found[dotted] = value
    return found


def _read_parameter(key: str, body: Any, group: bool, complain: Complaint) -> Parameter:
    where = f"tune.space.{key}"
    body = {"choices": body} if isinstance(body, list) else body
    if not isinstance(body, dict):
        raise complain(where, f"{body!r} is neither a range nor choices", _EXAMPLE)
    for name in body:
        if name not in _KEYS:
            raise complain(f"{where}.{name}", "unknown key", did_you_mean(name, _KEYS))
    if "choices" in body or group:
        return _read_choices(key, body, complain)
    low, high = (_number(body.get(name), f"{where}.{name}", complain) for name in ("low", "high"))
    if not low < high:
        raise complain(where, f"low {low:g} is not below high {high:g}")
    log = body.get("log", False)
    if not isinstance(log, bool):
        raise complain(f"{where}.log", f"{log!r} is neither true nor false")
    if log and low <= 0:
        raise complain(f"{where}.low", f"{low:g} has no logarithm", "start above zero, or write log: false")
    step = body.get("step")
    if step is not None and (_number(step, f"{where}.step", complain) <= 0 or log):
        raise complain(f"{where}.step", f"{step!r}: a step is above zero, and a log range has none", "use points: N")
    points = body.get("points")
    if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 2):
        raise complain(f"{where}.points", f"{points!r} is not a number of grid points from 2")
    whole = all(isinstance(v, int) for v in (body["low"], body["high"], step if step is not None else 1))
    if step is not None:  # the last step that fits is the end of the range
        high = low + step * math.floor((high - low) / step + 1e-9)
    return Parameter(key, "int" if whole else "float", low, high, log, step, points)


def _read_choices(key: str, body: Mapping[str, Any], complain: Complaint) -> Parameter:
    where, values = f"tune.space.{key}", body.get("choices")
    if not isinstance(values, list) or len(values) < 2 or len(body) > 1:
        raise complain(f"{where}.choices", f"{values!r} are not two or more choices and nothing else", _EXAMPLE)
    if len({level_name(value) for value in values}) != len(values):
        raise complain(f"{where}.choices", "names a choice twice")
    return Parameter(key, "choice", choices=tuple(values))


def _number(value: Any, where: str, complain: Complaint) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise complain(where, f"{value!r} is not a number", _EXAMPLE)
    return value


def grid(space: Sequence[Parameter]) -> Iterator[Values] | None:
    """All points of a space, the last key varying fastest; None where a range has no end of them."""
    values = [parameter.grid() for parameter in space]
    if any(found is None for found in values):
        return None
    keys = [parameter.key for parameter in space]
    return (dict(zip(keys, point, strict=True)) for point in itertools.product(*(v for v in values if v is not None)))


def grid_size(space: Sequence[Parameter]) -> int | None:
    """How many points a space has; None where there is no end of them."""
    sizes = [parameter.grid() for parameter in space]
    return None if any(s is None for s in sizes) else math.prod(len(s) for s in sizes if s is not None)


def spread(space: Sequence[Parameter], index: int, seed: int = 0) -> Values:
    """The `index`-th point of a sequence that fills the space evenly, however far it is followed.

    An additive recurrence with the generalised golden ratio (M. Roberts, "The unreasonable effectiveness of
    quasirandom sequences", 2018): each point depends on its index and the seed alone.
    """
    ratio = 2.0
    for _ in range(40):  # the root of x^(d+1) = x + 1
        ratio = (1 + ratio) ** (1 / (len(space) + 1))
    shares = [(0.5 + seed * 0.7548776662 + index / ratio ** (i + 1)) % 1 for i in range(len(space))]
    return {parameter.key: parameter.at(share) for parameter, share in zip(space, shares, strict=True)}


def write_values(values: Mapping[str, Any], digits: int = 3) -> str:
    """`lr=0.0021, depth=4`: values in short, each by the end of its key where that is enough to tell it."""
    tails = [key.rsplit(".", 1)[-1] for key in values]
    names = [tail if tails.count(tail) == 1 else key for key, tail in zip(values, tails, strict=True)]
    return ", ".join(f"{name}={_short(value, digits)}" for name, value in zip(names, values.values(), strict=True))


def _short(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else level_name(value)
