"""Keys of evaluations hold the datasets' annotation files: what they say, not where they lie."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from caption_files import make_coco, make_nocaps

from experiments.dataset_files import check_dataset_files
from experiments.errors import LavitError
from experiments.plan import Plan, make_plan
from lavit.errors import LavitError as DataError

SUITE = """
name: pictures
missing: refuse
benchmarks:
  caption: {_target_: evals.benchmarks.caption.Captioning}
  coco: {_target_: evals.benchmarks.coco.CocoCaption}
  nocaps: {_target_: evals.benchmarks.nocaps.NoCaps}
"""


@pytest.fixture
def pictures(conf: Path, tmp_path: Path) -> Path:
    """The config folder, with a suite of datasets; their files lie in ``tmp_path / "data"``."""
    (conf / "suite" / "pictures.yaml").write_text(SUITE)
    root = conf / "config.yaml"
    root.write_text(root.read_text().replace("[train.workers]", "[train.workers, data.root, suite.missing]"))
    with (conf / "data" / "world.yaml").open("a") as file:
        file.write("root: null\n")
    make_coco(tmp_path / "data")
    make_nocaps(tmp_path / "data")
    return conf


def plan(conf: Path, root: Path | None, *overrides: str, suite: str = "pictures") -> Plan:
    where = [] if root is None else [f"data.root={root}"]
    overrides = ("study=quickstart", f"suite={suite}", *where, *overrides)
    return make_plan(overrides, config_dir=conf, runs_dir=conf.parent / "runs", count=False)


def keys(found: Plan) -> dict[str, str]:
    return found.runs[0].stage_keys


def test_another_annotation_file_is_another_evaluation_and_another_place_is_not(pictures: Path, tmp_path: Path) -> None:
    before = keys(plan(pictures, tmp_path / "data"))
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    assert keys(plan(pictures, tmp_path / "moved")) == before
    path = tmp_path / "data/coco/dataset_coco.json"
    path.write_text(path.read_text().replace("number 7", "number seven"))
    after = keys(plan(pictures, tmp_path / "data"))
    assert {stage for stage in before if before[stage] != after[stage]} == {"evaluate"}


def test_what_is_missing_is_told_when_a_plan_is_made(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(LavitError) as caught:
        plan(pictures, None)
    assert "- coco: " in str(caught.value) and "- nocaps: " in str(caught.value)
    with pytest.raises(LavitError, match=r"there is no folder data\.root="):
        plan(pictures, tmp_path / "nowhere")
    shutil.rmtree(tmp_path / "data/nocaps")
    with pytest.raises(LavitError, match=r"1 of 2 benchmarks.*\n- nocaps: NoCaps validation: there is no folder"):
        plan(pictures, tmp_path / "data")
    assert keys(plan(pictures, tmp_path / "data", "suite.benchmarks.nocaps=null"))
    skipped = keys(plan(pictures, tmp_path / "data", "suite.missing=skip"))
    make_nocaps(tmp_path / "data")
    there = keys(plan(pictures, tmp_path / "data", "suite.missing=skip"))
    assert skipped["evaluate"] != there["evaluate"], "evaluated once it is there"
    assert there == keys(plan(pictures, tmp_path / "data")), "where nothing is missing, skipping means nothing"


def test_before_work_starts_the_files_are_opened(pictures: Path, tmp_path: Path) -> None:
    found = plan(pictures, tmp_path / "data")
    configs = [job.config for job in found.jobs.values() if job.stage == "evaluate"]
    check_dataset_files(configs[0])
    victim = next((tmp_path / "data/coco/val2014").iterdir())
    shutil.copytree(tmp_path / "data", tmp_path / "broken")
    (tmp_path / "broken/nocaps/nocaps_val_4500_captions.json").write_text("{")
    (tmp_path / "broken/coco/val2014").rename(tmp_path / "broken/coco/val2017")
    other = next(job.config for job in plan(pictures, tmp_path / "broken").jobs.values() if job.stage == "evaluate")
    with pytest.raises(DataError, match="2 of 2 benchmarks") as caught:
        check_dataset_files(other)
    assert "is not JSON" in str(caught.value) and "val2014" in str(caught.value) and victim.exists()


PROGRAM = """
import sys
from pathlib import Path
from experiments.plan import make_plan
conf, root, suite = {conf!r}, {root!r}, {suite!r}
overrides = ["study=quickstart", "suite=" + suite, "data.root=" + root]
make_plan(overrides, config_dir=Path(conf), runs_dir=Path(root) / "runs", count=False).render()
heavy = {{"torch", "lightning", "transformers", "mlflow", "scipy", "pandas", "optuna"}} & set(sys.modules)
loaded = heavy or ({{"evals.benchmark"}} & set(sys.modules) if suite == "core" else set())
sys.exit(f"loaded: {{sorted(loaded)}}" if loaded else 0)
"""


@pytest.mark.parametrize("suite", ["pictures", "core"])
def test_a_plan_over_datasets_loads_nothing_heavy_and_one_without_no_evaluator(
    pictures: Path, tmp_path: Path, suite: str
) -> None:
    core = pictures / "suite" / "core.yaml"
    core.write_text("name: core\nbenchmarks: {caption: {_target_: evals.benchmarks.caption.Captioning}}\n")
    program = PROGRAM.format(conf=str(pictures), root=str(tmp_path / "data"), suite=suite)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
