"""What the engine costs: wall time of a 24-job study against its stages' own time on the same cores.

Four arms, two seeds, three stages after one another, each a fixed amount of computing on one thread. The study is run
by the command line, as a user would: from starting Python to the report. The reference is the stages' own time (the sum
of `wall_s` in their DONE.json, which neither imports nor waiting enter), shared out evenly over the cores: nothing can
be faster. The workers' server loads torch and lightning, as in a real study. Run it on a quiet machine.

    python -m benchmarks.orchestration [seconds a stage, default 10]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.processes import cores

CONFIG = """\
defaults:
  - scale: smoke
  - arm: a
  - study: null
  - override hydra/launcher: fork
  - override hydra/hydra_logging: none
  - override hydra/job_logging: none
  - _self_
seed: 0
runs: runs
job: null
work: {{rounds: {rounds}}}
hydra: {{run: {{dir: "${{runs}}/.hydra"}}, sweep: {{dir: "${{runs}}/.hydra", subdir: .}}, output_subdir: null}}
stages:
  first: {{run: benchmarks.orchestration.run, needs: [], reads: [work, arm], seeded: true}}
  second: {{run: benchmarks.orchestration.run, needs: [first], reads: [work, arm], seeded: true}}
  evaluate: {{run: benchmarks.orchestration.evaluate, needs: [second], reads: [work, arm], seeded: true}}
incidental: []
"""
STUDY = """\
name: overhead
question: What does the engine cost?
design: full
axes: {arm: [a, b, c, d]}
seeds: 2
headline: caption/CIDEr
"""


def burn(rounds: int) -> int:
    """A fixed amount of computing."""
    number = 1
    for _ in range(rounds):
        for _ in range(10_000):
            number = (number * 1_103_515_245 + 12_345) % 2_147_483_648
    return number


def run(context: Any) -> None:
    """A stage: fifty steps of computing, with progress, and a small output."""
    import lavit.stages.training  # noqa: F401  what a real stage brings with it, so that the server has it loaded

    rounds = int(context.config.work.rounds)
    for step in range(50):
        burn(rounds // 50)
        context.progress(step + 1, 50, {"loss": 1.0 / (step + 1)})
    (context.out / "metrics.json").write_text(json.dumps({"loss": 0.1}))
    (context.out / "ledger.json").write_text(json.dumps({"flops": 1e12, "steps": 50}))


def evaluate(context: Any) -> None:
    """The last stage: also leaves records, as an evaluation does."""
    import pyarrow
    from pyarrow import parquet

    run(context)
    rows = [
        {
            "benchmark": "caption", "metric": "CIDEr", "control": "", "split": "test", "example_id": f"{index}",
            "cluster_id": f"{index}", "kind": "", "prompt": "", "prediction": "red", "reference": '["red"]',
            "score": float((index * 7 + context.seed) % 5), "aux": "{}", "tokens": 9,
        }
        for index in range(200)
    ]  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows), context.out / "records.parquet")
    (context.out / "metrics.json").write_text(json.dumps({"caption/CIDEr": 2.0}))


def write_conf(folder: Path, rounds: int) -> None:
    """A config folder with the study in it."""
    for group, names in (("arm", "abcd"), ("scale", ["smoke"])):
        (folder / group).mkdir(parents=True)
        for name in names:
            (folder / group / f"{name}.yaml").write_text(f"name: {name}\n")
    (folder / "study").mkdir()
    (folder / "study" / "overhead.yaml").write_text(STUDY)
    (folder / "config.yaml").write_text(CONFIG.format(rounds=rounds))


def calibrate(seconds: float) -> int:
    """Rounds of computing that take so long on this machine."""
    start = time.process_time()
    burn(500)
    return max(50, round(500 * seconds / (time.process_time() - start)))


def main() -> None:
    """Run and print the ratio."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_conf(folder / "conf", calibrate(seconds))
        command = [sys.executable, "-m", "experiments.cli", "run", "--conf", str(folder / "conf"), "study=overhead"]
        start = time.perf_counter()
        done = subprocess.run([*command, f"runs={folder / 'runs'}"], capture_output=True, text=True, env={**os.environ})
        wall = time.perf_counter() - start
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)
        bodies = [json.loads(path.read_text()) for path in (folder / "runs").glob("store/*/*/DONE.json")]
        begun = [json.loads(path.read_text())[0]["begun"] for path in (folder / "runs").glob("store/*/*/attempts.json")]
    own = sum(body["wall_s"] for body in bodies)
    scheduled = max(body["finished"] for body in bodies) - min(begun)
    count, slots, cpu = len(bodies), cores(), sum(body["cpu_s"] for body in bodies)
    print(f"{count} jobs of {own / count:.1f} s on {slots} cores; CPU time of the stages {cpu:.1f} s")
    print(f"stages' own time, shared out over the cores   {own / slots:7.1f} s   1.000")
    print(f"first job's start to last job's end           {scheduled:7.1f} s   {scheduled * slots / own:.3f}")
    print(f"`lavit run`, from start to report             {wall:7.1f} s   {wall * slots / own:.3f}   (target 1.08)")


if __name__ == "__main__":
    main()
