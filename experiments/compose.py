"""Hydra composition in-process: a config folder and overrides become one plain, resolved dictionary.

Hydra's own `compose` builds its `hydra` node and reads every file anew each time (45-80 ms a call). A
`Composer` keeps the files it has read, leaves the `hydra` node out and composes each distinct set of group
choices once; value overrides are then applied to a copy by Hydra's own function, so that the result is the
same. Nothing global is touched, so this also works inside a running Hydra application.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path
from hydra.core.default_element import ConfigDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from experiments.errors import LavitError, did_you_mean, nearest
from experiments.plain import NotPlain, PlainConfig, plain_values

_SEED = re.compile(r"\$\{[^}]*\bseed\b")


def config_folder() -> Path:
    """The config folder that ships beside the packages."""
    import experiments

    return Path(experiments.__file__).parent.parent / "conf"


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse command-line overrides by Hydra's grammar; one that does not parse is refused by name."""
    return [_parse_override(text) for text in overrides]


@lru_cache(maxsize=4096)
def _parse_override(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
        if not override.key_or_group:
            raise HydraException("the key is missing")
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise LavitError(
            f"'{text}' is not an override: {reason}",
            "write key=value, for example train.steps=200 or llm=frozen",
        ) from error
    return override


class Composer:
    """Composes one config folder, many times over.

    Args:
        config_dir: the folder that holds config.yaml and the groups; by default the one that ships with the
            packages.
    """

    def __init__(self, config_dir: Path | None = None, config_name: str = "config"):
        self.config_dir = Path(config_dir) if config_dir is not None else config_folder()
        self.config_name = config_name
        if not (self.config_dir / f"{config_name}.yaml").is_file():
            raise LavitError(f"there is no {config_name}.yaml in the config folder {self.config_dir}")
        if version.getbase() is None:
            version.setbase("1.3")
        self._loader = ConfigLoaderImpl(create_config_search_path(str(self.config_dir.absolute())))
        self._repo = CachingConfigRepository(self._loader.repository)
        self._composed: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
        self._plain: dict[tuple[str, ...], tuple[PlainConfig, bool]] = {}

    def groups(self) -> list[str]:
        """Names of the config groups, `study` included."""
        return sorted(path.name for path in self.config_dir.iterdir() if path.is_dir() and path.name != "hydra")

    def is_group(self, name: str) -> bool:
        """Whether there is a config group of that name (`a/b` for a nested one)."""
        return bool(self._repo.group_exists(name))

    def options(self, group: str) -> list[str]:
        """The levels that exist in a config group."""
        return sorted(
            option
            for option in self._repo.get_group_options(group, results_filter=ObjectType.CONFIG)
            if not option.startswith("_")
        )

    def read_file(self, group: str, option: str) -> tuple[dict[Any, Any], list[str]]:
        """One file by itself, before composition: its keys and values, and the files that its defaults list names."""
        found = self._repo.load_config(f"{group}/{option}")
        assert found is not None, f"no {group}/{option}"
        body = OmegaConf.to_container(found.config, resolve=False)
        names = [default.path for default in (found.defaults_list or []) if isinstance(default, ConfigDefault)]
        return (body if isinstance(body, dict) else {}), [str(name) for name in names if name != "_self_"]

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the composed config, interpolations unresolved. It is shared between calls: copy it to
        change it.

        Raises:
            LavitError: an override that does not parse, an unknown key or group option (with the nearest
                right one), or a value of the wrong kind.
        """
        groups, values = self._split(overrides)
        config, _ = self._compose_groups(groups)
        if values:
            config = copy.deepcopy(config)
        for override in values:
            _check_value_override(override, config)
            try:
                ConfigLoaderImpl._apply_overrides_to_config([override], config)
            except (HydraException, OmegaConfBaseException) as error:
                reason = str(error.__cause__ or error).splitlines()[0]
                raise LavitError(
                    f"the override '{override.input_line}' cannot be applied: {reason}",
                    "write KEY=VALUE for a key that the config has (`+KEY=VALUE` for a new one)",
                ) from error
        return config

    def resolved(self, overrides: Sequence[str], seed: int) -> tuple[dict[str, Any], bool]:
        """Compose and resolve, as plain data: `resolve(compose(overrides))` at that `seed`, only quicker.

        Returns:
            The config, and whether any value in it depends on the seed.
        """
        groups, values = self._split(overrides)
        cache_key = tuple(str(override.input_line) for override in groups)
        config, _ = self._compose_groups(groups)
        if cache_key not in self._plain:
            self._plain[cache_key] = PlainConfig(config), depends_on_seed(config)
        plain, each_seed = self._plain[cache_key]
        try:
            changes = plain_values(values)
            for override in values:
                _check_value_override(override, config)
            found = plain.resolve([*changes, ("seed", seed)] if each_seed else changes)
            return {str(key): value for key, value in found.items()}, each_seed
        except NotPlain:
            composed = self.compose(overrides)
            each_seed = depends_on_seed(composed)
            if each_seed:
                composed = copy.deepcopy(composed)
                composed.seed = seed
            return resolve(composed), each_seed

    def choices(self, overrides: Sequence[str]) -> dict[str, str]:
        """Which option each config group has under these overrides (`{"scale": "smoke", ...}`)."""
        groups, _ = self._split(overrides)
        return dict(self._compose_groups(groups)[1])

    def _split(self, overrides: Sequence[str]) -> tuple[list[Override], list[Override]]:
        groups, values = [], []
        for override in parse_overrides(overrides):
            if override.is_hydra_override():
                continue
            if override.is_sweep_override():
                raise LavitError(
                    f"'{override.input_line}' names several values where one is taken",
                    "vary it as an axis of a study, or with `lavit train -m`; quote it if it is one string",
                )
            is_group = self.is_group(override.key_or_group)
            if is_group and not isinstance(override.value(), dict):
                self._check_option(override)
                groups.append(override)
            else:
                values.append(override)
        return groups, values

    def _check_option(self, override: Override) -> None:
        group, value = override.key_or_group, override.value()
        if override.is_delete():
            return
        known = self.options(group)
        if not isinstance(value, str | list):
            raise LavitError(
                f"'{override.input_line}' chooses nothing from the config group '{group}'",
                f"there is: {', '.join(known)}",
            )
        for option in value if isinstance(value, list) else [value]:
            if str(option) not in known:
                raise LavitError(
                    f"there is no '{option}' in the config group '{group}' ({self.config_dir / group})",
                    did_you_mean(option, known),
                )

    def _compose_groups(self, groups: list[Override]) -> tuple[DictConfig, dict[str, str]]:
        cache_key = tuple(str(override.input_line) for override in groups)
        if cache_key not in self._composed:
            try:
                defaults = create_defaults_list(
                    repo=self._repo,
                    config_name=self.config_name,
                    overrides_list=groups,
                    prepend_hydra=True,  # a config may choose its launcher; the node is left out below
                    skip_missing=False,
                )
                config = self._loader._compose_config_from_defaults_list(
                    defaults=[d for d in defaults.defaults if not (d.config_path or "").startswith("hydra/")],
                    repo=self._repo,
                )
            except yaml.YAMLError as error:
                problem = getattr(error, "problem", None) or str(error).splitlines()[0]
                raise LavitError(
                    f"{_where(error) or self.config_dir}: not YAML: {problem}",
                    "a list is [A, B], a map {KEY: VALUE}, and text with a colon or a comma has quotes",
                ) from error
            except RecursionError as error:
                raise LavitError(
                    f"the config in {self.config_dir} with {' '.join(cache_key) or 'no override'} never ends",
                    "a YAML node holds itself, by an alias (*name) inside its own anchor (&name)",
                ) from error
            except (
                HydraException,
                OmegaConfBaseException,
                ValueError,
                AssertionError,
                AttributeError,
                TypeError,
            ) as error:
                # Hydra asserts and stumbles, with no word of its own, over a defaults list that is none.
                reason = str(error).split("\n\n")[0] or "a defaults list names configs: [NAME, _self_]"
                raise LavitError(f"the config in {self.config_dir} does not compose: {reason}") from error
            OmegaConf.set_struct(config, False)
            config.pop("hydra", None)
            OmegaConf.set_struct(config, True)
            choices = {group: str(option) for group, option in defaults.overrides.known_choices.items()}
            self._composed[cache_key] = (config, choices)
        return self._composed[cache_key]


def resolve(config: DictConfig) -> dict[str, Any]:
    """Return the config as plain data with every interpolation resolved; one that cannot be is refused by
    name."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise LavitError(
            f"the config key '{error.full_key}' has no value yet (???)", "give it one: KEY=VALUE"
        ) from error
    except (InterpolationResolutionError, OmegaConfBaseException) as error:
        key = getattr(error, "full_key", None)
        reason = str(error).splitlines()[0]
        raise LavitError(
            f"the config key '{key}' refers to something that is not there: {reason}",
            "name a key that the config has in ${...}, or write the value itself",
        ) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def depends_on_seed(config: DictConfig) -> bool:
    """Whether any value of the unresolved config refers to `seed` (then each seed has to be resolved by
    itself)."""
    return any(isinstance(v, str) and _SEED.search(v) for _, v in leaves(OmegaConf.to_container(config, resolve=False)))


def compose(overrides: Sequence[str], config_dir: Path | None = None) -> dict[str, Any]:
    """Return the resolved config as plain data, without the `hydra` node; rules are not applied."""
    return resolve(Composer(config_dir).compose(overrides))


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf of nested dictionaries; lists count as leaves' parents by
    index."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from leaves(value, f"{prefix}.{index}" if prefix else str(index))
    else:
        yield prefix, tree


def _where(error: yaml.YAMLError) -> str:
    """File and place of a YAML error, as far as it tells them."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{mark.name}, line {mark.line + 1}"
    name, position = getattr(error, "name", None), getattr(error, "position", None)
    return f"{name}, character {position}" if name is not None else ""


def _check_value_override(override: Override, config: DictConfig) -> None:
    """Refuse a key that is not there and a value of another kind than the one that it replaces."""
    key = override.key_or_group
    if override.package is not None:
        raise LavitError(
            f"'{override.input_line}' chooses from a config group, but there is no group '{key}'",
            "write KEY=VALUE; a package (@) is for config groups only",
        )
    if override.is_add() or override.is_force_add():
        return
    node: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        known = [str(k) for k in node] if isinstance(node, DictConfig) else None
        if known is None and OmegaConf.is_list(node) and part.isdigit() and int(part) < len(node):
            known = [part]
        if known is None or part not in known:
            raise _unknown_key(override, parts, depth, known or [], config)
        try:
            node = node[int(part)] if OmegaConf.is_list(node) else node[part]
        except (InterpolationResolutionError, MissingMandatoryValue):
            return
    if override.is_delete():
        return
    new = override.value()
    if new is None or node is None or (isinstance(new, str) and "${" in new):
        return
    if _kind(node) not in (_kind(new), "text"):
        raise LavitError(
            f"'{override.input_line}': {key} is {_KINDS[_kind(node)]} (now {_shown(node)}), "
            f"not {_KINDS[_kind(new)]} like {_shown(new)}",
            f"write {_KINDS[_kind(node)]} there",
        )


_KINDS = {
    "number": "a number",
    "bool": "true or false",
    "text": "text",
    "list": "a list",
    "dict": "a group of keys",
}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if OmegaConf.is_list(value) or isinstance(value, list | tuple):
        return "list"
    if OmegaConf.is_dict(value) or isinstance(value, dict):
        return "dict"
    return "text"


def _shown(value: Any) -> str:
    text = str(OmegaConf.to_container(value)) if OmegaConf.is_config(value) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_key(
    override: Override, parts: list[str], depth: int, siblings: list[str], config: DictConfig
) -> LavitError:
    parent = ".".join(parts[:depth])
    where = f"'{parent}' has no key '{parts[depth]}'" if parent else f"the config has no key '{parts[depth]}'"
    everything = [leaf for leaf, _ in leaves(OmegaConf.to_container(config, resolve=False))]
    same_end = [leaf for leaf in everything if leaf.rsplit(".", 1)[-1] == parts[-1]]
    sibling = nearest(parts[depth], siblings)
    if sibling is not None and (depth or len(parts) > 1 or not same_end):
        right = ".".join([*parts[:depth], sibling, *parts[depth + 1 :]]) + "=..."
    elif same_end:
        right = " or ".join(f"{leaf}=..." for leaf in same_end[:4])
    else:
        found = nearest(".".join(parts), everything)
        right = f"{found}=..." if found else ""
    hint = f"did you mean {right}? " if right else ""
    listed = f"({parent or 'the config'} has: {', '.join(siblings)})" if siblings else f"('{parent}' is a single value)"
    return LavitError(f"unknown key in '{override.input_line}': {where}", hint + listed)
