"""How fast a plan is made: arms a second, from the study file to priced and keyed stages, on one thread.

The reference is Hydra's own `compose` of every arm, resolved by OmegaConf: what a plan would take that only lists its
configs. The first plan of each size also counts parameters and FLOPs in a child process; that time is told apart, since
it is paid once for each distinct stage config.

    python -m benchmarks.planning
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.compose import config_folder
from experiments.plan import Plan, make_plan

SAMPLED = 20  # arms that the reference composes
STUDY = """\
name: grid
question: How long does it take to plan {arms} arms?
design: full
axes:
  regime: [unified, adapter]
  tokens: [dynamic, random]
  llm: [unfrozen, frozen]
  merger: [causal, bidirectional, mean, none]
  rate: {{key: optimizer.lr, levels: {rates}}}
  decay: {{key: optimizer.weight_decay, levels: {decays}}}
seeds: 3
headline: caption/CIDEr
"""
RATES = [rate * 1e-3 for rate in range(1, 9)]
SIZES = {128: (RATES[:4], [0.0]), 1024: (RATES, [0.0, 0.01, 0.1, 0.2])}


def planned(conf: Path, runs: Path) -> tuple[Plan, float]:
    """The plan of the study `grid`, and the seconds that it took."""
    start = time.perf_counter()
    plan = make_plan(["study=grid", f"runs={runs}"], config_dir=conf)
    plan.to_json()
    plan.render()
    return plan, time.perf_counter() - start


def hydra_seconds(conf: Path, plan: Plan) -> float:
    """Seconds that Hydra and OmegaConf take to compose and resolve one arm, the mean of a sample."""
    step = max(1, len(plan.design.arms) // SAMPLED)
    sample = plan.design.arms[::step][:SAMPLED]
    start = time.perf_counter()
    with initialize_config_dir(str(conf), version_base="1.3"):
        for arm in sample:
            OmegaConf.to_container(compose("config", list(arm.overrides)), resolve=True)
    return (time.perf_counter() - start) / len(sample)


def main() -> None:
    """Print a line a size."""
    with tempfile.TemporaryDirectory() as folder:
        conf, runs = Path(folder) / "conf", Path(folder) / "runs"
        shutil.copytree(config_folder(), conf)
        for arms, (rates, decays) in SIZES.items():
            (conf / "study" / "grid.yaml").write_text(STUDY.format(arms=arms, rates=rates, decays=decays))
            _, first = planned(conf, runs)
            plan, again = planned(conf, runs)
            if len(plan.design.arms) != arms:
                raise SystemExit(f"{len(plan.design.arms)} arms instead of {arms}")
            reference = hydra_seconds(conf, plan) * arms
            print(
                f"{arms:5d} arms x 3 seeds, {len(plan.jobs)} stage jobs: {again:.1f} s with counts at hand "
                f"({first - again:.1f} s more to count), {reference / again:.1f} x as fast as composing them "
                f"({reference:.1f} s)"
            )
        heavy = sorted({"torch", "mlflow", "optuna", "pandas", "scipy"} & set(sys.modules))
        print(f"heavy libraries imported by planning: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
