"""A study: a question and the arms that answer it, read from conf/study/NAME.yaml and checked before anything
runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.axes import Axis, read_overrides
from experiments.axis_forms import read_axes
from experiments.compose import Composer, parse_overrides, resolve
from experiments.designs.options import OPTIONS, read_options
from experiments.errors import Complaint, LavitError, did_you_mean
from experiments.inherit import clash, drop_removed, own_name
from experiments.match import Match, read_match
from experiments.named_interactions import read_interactions
from experiments.nesting import nested_voids
from experiments.stages import read_all_stages
from experiments.tuning import Tune, read_tune
from experiments.voids import Void, read_voids

DESIGNS = ("full", "one_at_a_time", "leave_one_out", "cumulative", "fraction", "arms", "search")
KEYS = (
    *("name", "question", "hypothesis", "design", "axes", "void", "seeds", "headline"),
    *("default", "family", "margin", "power", "arms", "until", "also", "match", "tune", "tuned", "interactions"),
)
RESERVED = ("store", "train", "mlflow", "hydra")  # names of folders that lie beside the studies under runs/


@dataclass(frozen=True)
class NamedArm:
    """An arm that a study names itself: some levels, and any further overrides."""

    levels: dict[str, str]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A checked study; `read_study` makes it from a file and says what is wrong with one."""

    name: str
    question: str
    design: str  # one of DESIGNS
    axes: dict[str, Axis]
    voids: tuple[Void, ...]  # the file's rules, then the conditions of nested axes
    seeds: tuple[int, ...]
    headline: str | None  # benchmark/metric; None only where `until` stops before there is one
    default: dict[str, str]  # axis -> level of the arm that the others are compared with (of a nested axis that takes
    # none there: the level at which it stands wherever it takes none)
    default_arm: str = "default"  # its name
    family: tuple[str, ...] | None = None  # arms whose p-values are corrected together; None: all but the default
    margin: float | None = None  # smallest difference of the headline that matters, in its own units
    sd_seed: float | None = None  # between-seed SD of the headline from a pilot: effects are then in its units
    pilot: str | None = None  # a finished study that this SD is taken from
    arms: dict[str, NamedArm] = field(default_factory=dict)
    until: str | None = None  # last stage that is run
    also: tuple[str, ...] = ()  # overrides that hold in every arm
    design_options: dict[str, Any] = field(default_factory=dict)  # what `experiments.designs.options` made of them
    hypothesis: str | None = None  # what is expected, said before the first run
    match: Match | None = None  # the budget that every arm is brought to
    tune: Tune | None = None  # of a search: trials of each arm, the space, the objective
    tuned: str | None = None  # the search whose best values the arms take
    interactions: tuple[tuple[str, str], ...] = ()  # pairs of axes that are corrected as a family of their own
    file: str = ""  # where it was read, for messages


def read_study(
    composer: Composer,
    overrides: Sequence[str],
    stages: Callable[[Mapping[str, Any]], list[str]] | None = None,
) -> tuple[Study, list[str]]:
    """Read and check the study that the overrides name.

    Args:
        composer: composes the config folder that holds `study/`.
        overrides: command-line overrides: `study=NAME`, `study.KEY=VALUE`, and any others. An override of
            what an axis varies (`llm=frozen`) narrows that axis to the one level.
        stages: gives the names of the stages from the config, to check `until`.

    Returns:
        The study, and the overrides that are left for every arm (`also` not included).

    Raises:
        LavitError: names the file, the key, the value and what to do.
    """
    name, changes, rest = _split(composer, overrides)
    file = str(_shorten(composer.config_dir / "study" / f"{name}.yaml"))
    complain = Complaint(file)
    config = _compose(composer, name, file)
    node = config.get("study")
    if OmegaConf.is_dict(node):
        try:
            node = resolve(node)
        except LavitError as error:
            raise complain("study", error.message, error.hint) from error
    if not isinstance(node, dict) or not node:
        raise complain("study", f"the file holds {node!r}, not keys and values", "see conf/study/quickstart.yaml")
    drop_removed(node, name, composer)
    _apply(node, changes, complain)
    _check_keys(node, complain)
    word = next(iter(node["design"]), None) if isinstance(node.get("design"), dict) else node.get("design")
    axes, rest = read_axes(node.get("axes"), composer, rest, complain, required=word not in ("arms", "search"))
    composer.compose(rest)  # a wrong override is the command line's mistake, not an arm's
    design, design_options = _design(node.get("design", "full"), axes, complain)
    rules = read_voids(node.get("void"), axes, complain)
    arms = _arms(node.get("arms"), axes, design, complain)
    default_arm, default = _default(node.get("default"), axes, arms, complain)
    voids = (*rules, *nested_voids(axes, default))
    also = read_overrides(node.get("also"), "also", complain)
    tune = None
    if design == "search":
        specs = read_all_stages(config.get("stages"))
        tune = read_tune(node.get("tune"), design_options, axes, composer, [*also, *rest], specs, complain)
    elif node.get("tune") is not None:
        raise complain("tune", f"design: {design} tunes nothing", "write design: {search: tpe}, and tuned: NAME here")
    until = node.get("until", tune.objective.stage if tune is not None else None)
    if until is not None and stages is not None:
        known = stages(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]
        if until not in known:
            raise complain("until", f"there is no stage '{until}'", did_you_mean(until, known))
    study = Study(
        name=_name(own_name(node, name, composer, changes, complain), complain),
        question=_text(node.get("question"), "question", complain, "say in one sentence what the study is to answer"),
        design=design,
        design_options=design_options,
        axes=axes,
        voids=voids,
        seeds=_seeds(node.get("seeds", 3), complain),
        headline=_headline(node.get("headline"), until, complain),
        default=default,
        default_arm=default_arm,
        family=_family(node.get("family"), complain),
        margin=_positive(node.get("margin"), "margin", complain),
        sd_seed=_power(node.get("power"), complain)[0],
        pilot=_power(node.get("power"), complain)[1],
        hypothesis=_hypothesis(node.get("hypothesis"), complain),
        arms=arms,
        until=until,
        also=also,
        match=read_match(node.get("match"), complain),
        tune=tune,
        tuned=_tuned(node.get("tuned"), design, complain),
        interactions=read_interactions(node.get("interactions"), axes, complain),
        file=file,
    )
    return study, rest


def _compose(composer: Composer, name: str, file: str) -> DictConfig:
    try:
        return composer.compose([f"study={name}"])
    except LavitError as error:
        if "annot merge" in error.message and (key := clash(name, composer)) is not None:
            raise LavitError(
                f"{file}: {key}: a list where the inherited study has a map, or a map where it has a list",
                f"write it in the same form, or set {key} to null and write yours under a name of its own",
            ) from error
        if "not YAML" in error.message:
            raise LavitError(error.message, error.hint or "correct that line; see docs/study-files.md") from error
        hint = error.hint or "the file holds keys and values, and may start with `defaults: [OTHER_STUDY, _self_]`"
        raise LavitError(f"{file}: study: {error.message}", hint) from error


def _split(composer: Composer, overrides: Sequence[str]) -> tuple[str, list[Any], list[str]]:
    name: Any = None
    changes, rest = [], []
    for override in parse_overrides(overrides):
        text = str(override.input_line)
        if override.key_or_group == "study":
            name = override.value()
            if isinstance(name, list) or override.is_sweep_override():
                raise LavitError(f"'{override.input_line}': several studies where one is taken", "name one study")
        elif override.key_or_group.startswith("study."):
            changes.append(override)
        elif not override.is_hydra_override():
            rest.append(text)
    known = composer.options("study") if composer.is_group("study") else []
    if name is None:
        raise LavitError("no study is named", f"add study=NAME; there is: {', '.join(known)}")
    if str(name) not in known:
        raise LavitError(
            f"there is no study '{name}' in {_shorten(composer.config_dir / 'study')}",
            did_you_mean(name, known),
        )
    return str(name), changes, rest


def _shorten(path: Path) -> Path:
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path


def _apply(node: dict[Any, Any], changes: Iterable[Any], complain: Complaint) -> None:
    """Apply `study.KEY=VALUE` overrides to the study; keys that the file does not set may be given without a
    `+`."""
    for override in changes:
        if override.is_sweep_override():
            raise LavitError(
                f"'{override.input_line}' names several values where one is taken",
                "write a list in brackets: study.seeds=[0,1]",
            )
        *parents, last = override.key_or_group.split(".")[1:]
        place: Any = node
        for part in parents:
            if not isinstance(place, dict):
                break
            place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise complain(
                override.key_or_group[6:],
                f"'{override.input_line}' points into what is not a group of keys",
                "set the key above it as a whole: study.KEY={...}",
            )
        if override.is_delete():
            place.pop(last, None)
        else:
            place[last] = override.value()


def _check_keys(node: Mapping[Any, Any], complain: Complaint) -> None:
    for key in node:
        if key not in KEYS:
            raise complain(str(key), "unknown key", did_you_mean(key, KEYS))


def _design(value: Any, axes: Mapping[str, Axis], complain: Complaint) -> tuple[str, dict[str, Any]]:
    """Return the design's name and its options: the first key of `{fraction: 8, estimate: [main]}` is the name."""
    word = next(iter(value), None) if isinstance(value, dict) else value
    if not isinstance(word, str) or word not in DESIGNS:
        raise complain("design", f"there is no design {word!r}", did_you_mean(word, DESIGNS))
    if word in OPTIONS:
        return word, read_options(word, value, axes, complain)
    if word == "search":
        return word, dict(value) if isinstance(value, dict) else {}
    if isinstance(value, dict):
        raise complain("design", f"the design '{word}' has no options", f"write design: {word}")
    return word, {}


def _tuned(value: Any, design: str, complain: Complaint) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or design == "search":
        raise complain("tuned", f"{value!r} is not the name of a search whose values the arms take", "tuned: search_lr")
    return value


def _text(value: Any, key: str, complain: Complaint, hint: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise complain(key, "missing" if value is None else f"{value!r} is not a text", hint)
    return value.strip()


def _name(value: Any, complain: Complaint) -> str:
    text = _text(value, "name", complain, "a short name: its results lie in runs/NAME")
    if not text.replace("-", "").replace("_", "").replace(".", "").isalnum() or text[0] in ".-":
        raise complain("name", f"{text!r} cannot be a folder's name", "use letters, digits, '_', '-' and '.'")
    if text.lower() in RESERVED:
        raise complain("name", f"{text!r} is the name of another folder under runs/", "choose another")
    return text


def _seeds(value: Any, complain: Complaint) -> tuple[int, ...]:
    hint = "write how many (seeds: 3 means 0, 1, 2), or list them (seeds: [0, 1, 2])"
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 1000:
            raise complain("seeds", f"{value} seeds", hint)
        return tuple(range(value))
    numbers = value if isinstance(value, list) else []
    if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers):
        raise complain("seeds", f"{value!r} are no seeds", hint)
    if len(set(numbers)) != len(numbers):
        raise complain("seeds", f"{value!r} names a seed twice", "a seed is a replicate: name each once")
    return tuple(numbers)


def _headline(value: Any, until: Any, complain: Complaint) -> str | None:
    if value is None and until is not None:
        return None
    text = _text(value, "headline", complain, "name the one metric that decides, for example caption/CIDEr")
    if text.count("/") != 1 or not all(text.split("/")):
        raise complain("headline", f"{text!r} is not benchmark/metric", "for example caption/CIDEr or vqa/accuracy")
    return text


def _positive(value: Any, key: str, complain: Complaint) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise complain(key, f"{value!r} is not a number above zero", "write a number above zero, or take the key out")
    return float(value)


def _power(value: Any, complain: Complaint) -> tuple[float | None, str | None]:
    """Return the between-seed SD, or the study to take it from."""
    if value is None:
        return None, None
    if not isinstance(value, dict) or set(value) not in ({"sd_seed"}, {"pilot"}):
        hint = "write power: {sd_seed: 0.1}, the between-seed SD of the headline, or power: {pilot: STUDY}"
        raise complain("power", f"{value!r}", hint)
    if "pilot" in value:
        return None, _text(value["pilot"], "power.pilot", complain, "name a study that has results under runs/")
    return _positive(value["sd_seed"], "power.sd_seed", complain), None


def _hypothesis(value: Any, complain: Complaint) -> str | None:
    if value is None:
        return None
    return _text(value, "hypothesis", complain, "say in a sentence what you expect, or take the key out")


def _family(value: Any, complain: Complaint) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise complain("family", f"{value!r} is not a list of arm names", "for example [regime=adapter, llm=frozen]")
    if len(set(value)) != len(value):
        raise complain("family", f"{value!r} names an arm twice", "name each once")
    return tuple(value)


def _levels(value: Any, key: str, axes: Mapping[str, Axis], complain: Complaint) -> dict[str, str]:
    """Check a mapping of axes to levels."""
    if not isinstance(value, dict):
        raise complain(key, f"{value!r} is not a mapping of axes to levels", "for example {llm: frozen}")
    found = {}
    for axis, level in value.items():
        if axis not in axes:
            raise complain(f"{key}.{axis}", f"there is no axis '{axis}'", did_you_mean(axis, axes))
        found[axis] = axes[axis].read_level(level, f"{key}.{axis}", complain)
    return found


def _arms(value: Any, axes: Mapping[str, Axis], design: str, complain: Complaint) -> dict[str, NamedArm]:
    if value is None and design != "arms":
        return {}
    if not isinstance(value, dict) or not value:
        raise complain("arms", f"{value!r} are no arms", "write arms: {NAME: {AXIS: LEVEL}, ...}")
    arms = {}
    for name, body in value.items():
        key = f"arms.{name}"
        if not isinstance(name, str) or not name.strip():
            raise complain(key, f"{name!r} is no name for an arm", "quote it if YAML takes it for something else")
        body = {} if body is None else body
        if not isinstance(body, dict):
            raise complain(key, f"{body!r} is not a mapping", "write {AXIS: LEVEL}, {also: [OVERRIDE]} or both")
        levels = _levels({k: v for k, v in body.items() if k != "also"}, key, axes, complain)
        arms[name] = NamedArm(levels, read_overrides(body.get("also"), f"{key}.also", complain))
    return arms


def _default(
    value: Any, axes: Mapping[str, Axis], arms: Mapping[str, NamedArm], complain: Complaint
) -> tuple[str, dict[str, str]]:
    """Return name and levels of the default arm: by default the first level of every axis."""
    name, given = "default", {}
    if value is None or value == "default":
        given = arms["default"].levels if "default" in arms else {}
    elif isinstance(value, str) and value in arms:
        name, given = value, arms[value].levels
    else:
        if isinstance(value, str):
            pairs = [part.partition("=") for part in value.split(",")]
            if not all(sign for _, sign, _ in pairs):
                raise complain("default", f"there is no arm '{value}'", did_you_mean(value, ["default", *arms]))
            value = {axis.strip(): level.strip() for axis, _, level in pairs}
        given = _levels(value, "default", axes, complain)
    default = {**{axis.name: axis.default for axis in axes.values()}, **given}
    for axis in given:
        if not axes[axis].is_active(default):
            problem = f"the axis has levels only where {axes[axis].describe_condition()}"
            raise complain(f"default.{axis}", problem, "take it out, or name the levels at which it exists as well")
    return name, default
