"""Makes a plan: composes every arm, keys every stage, and merges what is the same.

Composition is what costs (about 20 ms a distinct set of group choices), so each arm is composed and resolved
once and its seeds are set in Python; each subtree is hashed once per arm, however many stages read it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.codeversion import CodeVersions, targets
from experiments.compose import Composer, parse_overrides
from experiments.cost import add_counts, add_probes
from experiments.dataset_files import DatasetFiles
from experiments.design import Arm, Design, expand
from experiments.designs.estimable import estimable
from experiments.errors import LavitError, did_you_mean
from experiments.key import digest, incidental_keys, nest, select, stage_key, without
from experiments.match import branch_arms, check_reference, match_arms, matched_arms
from experiments.offers import alternatives
from experiments.pace import Pace
from experiments.pilot import read_pilot
from experiments.plan import Plan, Run, StageJob
from experiments.power import detectable_effects
from experiments.released import RELEASED, released_files
from experiments.ruled import Struck, limits
from experiments.rules import Rule, apply_rules, judge, read_rules, refusal, within_reach
from experiments.search import plan_search
from experiments.stages import StageSpec, read_all_stages, read_stages, stage_names
from experiments.study import Study, read_study
from experiments.trainer import devices_of
from experiments.tuned import Tuning, read_tuned
from experiments.twins import find_twins, refuse_twins, void_twins


@dataclass
class _ArmConfig:
    """One arm at one seed (or at every seed, where no value depends on it), ready to be keyed."""

    raw: dict[str, Any]  # resolved
    config: dict[str, Any]  # what the void rules have left of it
    scale: str
    unread: dict[str, list[str]] = field(default_factory=dict)  # stage -> keys that a void rule takes from it alone
    fired: list[Rule] = field(default_factory=list)  # the void rules that matched
    subtrees: dict[str, Any] = field(default_factory=dict)  # read key -> subtree
    digests: dict[str, str] = field(default_factory=dict)  # read key -> digest
    targets: dict[str, list[str]] = field(default_factory=dict)  # read key -> `_target_`s in it
    versions: dict[str, str] = field(default_factory=dict)  # stage -> code version


class Planner:
    """Plans studies and single runs over one config folder; see `experiments.plan.make_plan`."""

    def __init__(
        self,
        config_dir: Path | None = None,
        runs_dir: Path | None = None,
        is_done: Callable[[str, str], bool] | None = None,
        count: bool = True,
        probe: bool = False,
    ):
        self.composer = Composer(config_dir)
        self.rules = read_rules(self.composer.config_dir)
        self.runs_dir = runs_dir
        self.is_done = is_done
        self.count = count
        self.probe = probe
        self.codes = CodeVersions()
        self.files = DatasetFiles(self.codes)
        self._pace: dict[tuple[Path, str], Pace] = {}
        self._prepared: dict[tuple[tuple[str, ...], int | None], _ArmConfig] = {}
        self._tunings: dict[tuple[str, tuple[str, ...]], Tuning] = {}

    def plan_study(self, overrides: Sequence[str]) -> Plan:
        """Plan the study that the overrides name."""
        study, rest = read_study(self.composer, overrides, stage_names)
        if study.tune is not None:
            return plan_search(self, study, rest, _without_hydra(overrides))
        plan = self.price(study, rest, count=True)
        study = plan.study
        plan.overrides = _without_hydra(overrides)
        if plan.records_stage is not None and study.headline is None:
            raise LavitError(
                f"{study.file}: headline: missing: the stage '{plan.records_stage}' leaves records to report",
                f"name the one metric that decides, for example {study.until}/cosine_objects",
            )
        plan.effects = detectable_effects(study, plan.design)
        plan.estimable = estimable(study, plan.design)
        if study.pilot is not None and study.headline is not None:
            plan.pilot = read_pilot(plan.runs_dir, study.pilot, study.headline)
            plan.study = replace(study, sd_seed=plan.pilot.sd_seed)
        plan.alternatives = alternatives(study, plan, lambda other: self.price(other, rest))
        return plan

    def price(self, study: Study, rest: Sequence[str], count: bool = False) -> Plan:
        """Assemble a study under whatever design it has, its budgets matched: its runs, jobs and times.

        Args:
            study: a checked study.
            rest: the overrides that hold in every arm.
            count: whether to count parameters too (always, where budgets are matched).
        """
        match = study.match
        plan = self.settle(study, rest, count=count or (match is not None and match.needs_prices))
        study = plan.study
        if match is None:
            return plan
        if match.branches:
            arms, branches = branch_arms(study, plan)
            plan = self._assemble(study, replace(plan.design, arms=arms), rest, count)
            plan.branches = branches
        elif not match.sets_steps:
            check_reference(study, plan)
        else:
            plan = self._assemble(study, replace(plan.design, arms=match_arms(study, plan)), rest)
            plan.matched = matched_arms(study, plan)
        return plan

    def plan_run(self, overrides: Sequence[str]) -> Plan:
        """Plan one run without a study."""
        rest, until = [], None
        for override in parse_overrides(_without_hydra(overrides)):
            if override.key_or_group == "study.until":
                until = str(override.value())
            elif override.key_or_group.split(".")[0] == "study":
                raise LavitError(f"'{override.input_line}': one run has no study", "use `lavit run` for a study")
            else:
                rest.append(str(override.input_line))
        config = self.composer.compose(rest)
        seed = config.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise LavitError(f"seed={seed}: a seed is a whole number from 0")
        if until is not None and until not in (known := list(read_stages(config.stages))):
            raise LavitError(f"study.until={until}: there is no such stage", did_you_mean(until, known))
        study = Study("train", "One run, without a study.", "arms", {}, (), (seed,), None, {}, until=until)
        rest = [text for text in rest if parse_overrides([text])[0].key_or_group != "seed"]
        plan = self._assemble(study, Design((Arm("default", "default", {}, ()),), ()), rest)
        if (rule := next(iter(judge(plan.runs[0].config, plan.rules, "illegal")), None)) is not None:
            raise refusal(rule, plan.runs[0].config)
        plan.overrides = _without_hydra(overrides)
        return plan

    def settle(
        self, study: Study, rest: Sequence[str], make: Callable[[Study], Design] = expand, count: bool = True
    ) -> Plan:
        """Assemble a design in which no arm is illegal and no two are the same run.

        What a rule takes out becomes a void of the plan's study, and the design is made again without it, as often as
        it holds anything new (`experiments.ruled`); twins that no rule explains are `experiments.twins`' business.

        Args:
            study: a checked study.
            rest: the overrides that hold in every arm.
            make: makes the design.
            count: whether to price it.
        """
        struck, declared = Struck(study), study.voids
        while True:
            study = replace(study, voids=(*declared, *struck.voids()))
            design = make(study)
            plan, configs = self._graph(study, design, rest)
            if struck.illegal(plan, configs, plan.rules):
                continue
            twins = find_twins(plan)
            if not twins:
                break
            if study.until is None:
                refuse_twins(study, struck.merged(twins, plan.arms, configs))
                continue
            whole, configs = self._graph(replace(study, until=None, seeds=study.seeds[:1]), design, rest)
            same = find_twins(whole)
            refuse_twins(study, struck.merged(same, plan.arms, configs))
            if not same:
                plan, configs = self._graph(study, void_twins(study, design, twins), rest)
                break
        return self._priced(plan, configs, count)

    def _assemble(self, study: Study, design: Design, rest: Sequence[str], count: bool = True) -> Plan:
        """Assemble a design as it is."""
        return self._priced(*self._graph(study, design, rest), count)

    def _graph(self, study: Study, design: Design, rest: Sequence[str]) -> tuple[Plan, dict[str, _ArmConfig]]:
        """The runs of a design and their jobs, and each arm's config at the first seed."""
        tuning = self._tuning(study, rest)
        design = design if tuning is None else tuning.apply(study, design)
        plan = Plan(study, design, [], {}, [], list(rest), Path("runs"))
        specs: dict[str, StageSpec] = {}
        configs: dict[str, _ArmConfig] = {}
        for arm in design.arms:
            overrides = [*study.also, *rest, *arm.overrides]
            for seed in study.seeds:
                try:
                    found = self._arm_config(overrides, seed)
                except LavitError as error:
                    where = f"{study.file}: in the arm '{arm.name}': " if study.file else ""
                    raise LavitError(where + error.message, error.hint) from error
                configs.setdefault(arm.name, found)
                if not specs:
                    specs = read_stages(found.config.get("stages"), study.until)
                    plan.rules = self._concerning(found.config, specs)
                    plan.stages = list(specs)
                    plan.runs_dir = Path(self.runs_dir or str(found.config.get("runs", "runs")))
                    scale = found.config.get("scale")
                    plan.planned_only = str(scale.get("planned_only") or "") if isinstance(scale, Mapping) else ""
                repeat = [
                    *overrides,
                    f"seed={seed}",
                    *([f"study.until={study.until}"] if study.until else []),
                ]
                self._add_run(plan, Run(arm.name, seed, arm.levels, repeat, {}, {}), specs, found)
        plan.jobs = {
            (job.stage, job.key): job for stage in plan.stages for job in plan.jobs.values() if job.stage == stage
        }
        if tuning is not None:
            plan.tuned = {arm.name: tuning.describe(study, arm) for arm in design.arms}
            plan.remarks.extend(tuning.remarks)
        if plan.planned_only:
            plan.remarks.append(f"planned only: {plan.planned_only}")
        return plan, configs

    def _concerning(self, config: Mapping[str, Any], specs: Mapping[str, StageSpec]) -> tuple[Rule, ...]:
        """The rules that look at what these stages read."""
        every = read_all_stages(config.get("stages"))
        read = {key for spec in specs.values() for key in spec.reads}
        return within_reach(self.rules, read, {key for spec in every.values() for key in spec.reads})

    def _priced(self, plan: Plan, configs: Mapping[str, _ArmConfig], count: bool) -> Plan:
        """The plan with its limits, prices, times and what is done."""
        study = plan.study
        plan.limits = limits(plan, configs, plan.rules)
        unpriced = plan.unpriced = _unpriced(plan.runs[0].config) if plan.runs else []
        if count:
            ask = self.count or (study.match is not None and study.match.needs_prices)  # what is matched must be priced
            problem = add_counts(plan.jobs, plan.store_dir, unpriced, ask)
            plan.remarks.extend([problem] if problem else [])
        self._look_up(plan)
        if count and self.probe:
            problem = add_probes(plan.jobs, plan.store_dir, unpriced)
            plan.remarks.extend([problem] if problem else [])
        return plan

    def _tuning(self, study: Study, rest: Sequence[str]) -> Tuning | None:
        """What the search that the study names has found; None where it names none."""
        if study.tuned is None:
            return None
        which = (study.tuned, tuple(rest))
        if which not in self._tunings:
            self._tunings[which] = read_tuned(self, study, rest)
        return self._tunings[which]

    def _arm_config(self, overrides: Sequence[str], seed: int) -> _ArmConfig:
        """Compose and resolve an arm; once for all seeds where no value depends on the seed."""
        arm = tuple(overrides)
        if (arm, None) in self._prepared:
            return self._prepared[arm, None]
        if (arm, seed) not in self._prepared:
            config, each_seed = self.composer.resolved(overrides, seed)
            which = (arm, seed if each_seed else None)
            self._prepared[which] = _prepare(
                config, self.composer.choices(overrides).get("scale", ""), self.files, self.rules
            )
            return self._prepared[which]
        return self._prepared[arm, seed]

    def _add_run(self, plan: Plan, run: Run, specs: Mapping[str, StageSpec], arm: _ArmConfig) -> None:
        run.config = {**arm.config, "seed": run.seed}
        scored = next((spec for spec in specs.values() if spec.leaves_records), None)
        if scored is not None:
            run.records_stage, run.closed_stage = scored.name, scored.closes
        for spec in specs.values():
            if not spec.belongs_to(arm.config):
                continue
            reads = [key for key in spec.reads if key in arm.subtrees and key not in arm.unread.get(spec.name, ())]
            if spec.name not in arm.versions:
                found = [target for key in reads for target in arm.targets[key]]
                arm.versions[spec.name] = self.codes.version(spec.run, [{"_target_": name} for name in found])
            needs = {stage: run.stage_keys[stage] for stage in spec.needs if stage in run.stage_keys}
            code = arm.versions[spec.name]
            seed = run.seed if spec.seeded else None
            key = stage_key(spec.name, {name: arm.digests[name] for name in reads}, seed, code, needs)
            run.stage_keys[spec.name] = key
            job = plan.jobs.get((spec.name, key))
            if job is None:
                config = nest({name: arm.subtrees[name] for name in reads})
                job = StageJob(spec.name, key, spec.run, config, seed or 0, needs, code, arm.scale, run.overrides)
                job.devices = devices_of(config, spec.name)
                job.reads = spec.reads
                plan.jobs[spec.name, key] = job
            job.runs.append((run.arm, run.seed))
        plan.runs.append(run)

    def _look_up(self, plan: Plan) -> None:
        """Fill in what is done and how long the rest takes."""
        is_done = self.is_done
        if is_done is None:
            from experiments.store import Store

            is_done = Store(plan.runs_dir).is_done
        scale = plan.runs[0].config.get("scale") if plan.runs else None
        for job in plan.jobs.values():
            job.done = is_done(job.stage, job.key)
            pace = self._pace.setdefault((plan.store_dir, job.scale), Pace(plan.store_dir, scale, job.scale))
            job.seconds, job.seconds_from = pace.estimate(job.stage, job.config, job.ledger.get("flops"))


def _prepare(plain: dict[str, Any], scale: str, datasets: DatasetFiles, rules: Sequence[Rule]) -> _ArmConfig:
    """Apply void rules, then cut out and hash every subtree that a stage reads."""
    config, dropped, unread, fired = apply_rules(plain, rules)
    arm = _ArmConfig(plain, config, scale, unread, fired)
    incidental = incidental_keys(plain)
    keyed = without(config, incidental)
    for spec in read_all_stages(plain.get("stages")).values():
        for key in spec.reads:
            if key in arm.digests:
                continue
            try:
                arm.subtrees[key] = select(config, key)
            except KeyError:
                if any(key == gone or key.startswith(f"{gone}.") for gone in dropped):
                    continue
                raise LavitError(
                    f"stages.{spec.name}.reads names '{key}', which the config does not have",
                    did_you_mean(key, config),
                ) from None
            arm.digests[key] = digest(select(keyed, key)) if key not in incidental else ""
            if files := _files_of(key, arm.subtrees[key], config, datasets):
                arm.digests[key] = digest([arm.digests[key], files])
            arm.targets[key] = list(targets(arm.subtrees[key]))
    return arm


_fingerprints: dict[str, str] = {}


def _files_of(key: str, subtree: Any, config: Mapping[str, Any], datasets: DatasetFiles) -> str:
    """A hash of the files that a config names, data, suite or released weights ("" for none): they make the result."""
    if not isinstance(subtree, Mapping):
        return ""
    if key == "data":
        return _fingerprint(subtree)
    if key in RELEASED:
        return released_files(key, subtree)
    return datasets.hash(subtree, config.get("data")) if key == "suite" else ""


def _fingerprint(data: Mapping[str, Any]) -> str:
    if repr(data) not in _fingerprints:
        from lavit.data import fingerprint  # loads no torch
        from lavit.errors import LavitError as DataError

        try:
            _fingerprints[repr(data)] = fingerprint(data)
        except DataError as error:
            raise LavitError(error.message, error.remedy or None) from error
        except (OSError, zipfile.BadZipFile) as error:
            where = getattr(error, "filename", None) or data.get("images")
            reason = getattr(error, "strerror", None) or error
            raise LavitError(f"the data cannot be read: {where}: {reason}", "see data.images and data.texts") from error
    return _fingerprints[repr(data)]


def _unpriced(config: Mapping[str, Any]) -> list[str]:
    """Dotted keys that change no price: the incidental ones, and those that the config lists."""
    return [*incidental_keys(config), *(str(key) for key in config.get("unpriced") or [])]


def _without_hydra(overrides: Sequence[str]) -> list[str]:
    return [str(o.input_line) for o in parse_overrides(overrides) if not o.is_hydra_override()]
