"""Planning stays light: no process that only plans may load torch or anything that loads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from experiments.plan import make_plan
plan = make_plan(["study=lavit_paper"], config_dir=Path({conf!r}), runs_dir=Path({runs!r}), count=False)
plan.render(), plan.to_json()
heavy = {{"torch", "lightning", "transformers", "mlflow", "scipy", "pandas", "optuna"}} & set(sys.modules)
sys.exit(f"loaded: {{sorted(heavy)}}" if heavy else 0)
"""


def test_a_plan_loads_nothing_heavy(shared_conf: Path, tmp_path: Path) -> None:
    program = PROGRAM.format(conf=str(shared_conf), runs=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
