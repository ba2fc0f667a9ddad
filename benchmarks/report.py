"""How long a report takes, end to end in a fresh process: its parts, peak memory and the size of its page.

The targets are 36 runs x 5,000 examples within 30 s on two cores with a page of at most 3 MB, and 1,000 runs within two
minutes. Controls, parts, counts of n-grams and pictures come on top of the examples.

    python -m benchmarks.report                               # both
    python -m benchmarks.report --runs 36 --examples 5000     # the first; any multiple of 12 is 12 arms
    python -m benchmarks.report --profile report.prof         # with a profile for pstats
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.large_study import AXES_12, AXES_200, write_large_study

CHILD = """
import cProfile, json, resource, sys, time
start = time.perf_counter()
profile = cProfile.Profile() if sys.argv[3] else None
if profile: profile.enable()
from reports import report
parts = {}
def timed(name, function):
    def call(*args, **kwargs):
        begun = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            parts[name] = parts.get(name, 0.0) + time.perf_counter() - begun
    return call
parts["imports"] = time.perf_counter() - start
for name in PARTS:
    if hasattr(report, name):
        setattr(report, name, timed(name, getattr(report, name)))
report.FIGURES = tuple(timed(draw.__name__, draw) for draw in report.FIGURES)
report.build(sys.argv[1], sys.argv[2])
if profile:
    profile.disable()
    profile.dump_stats(sys.argv[3])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu": usage.ru_utime + usage.ru_stime, "peak_mib": peak, "parts": parts}))
"""
PARTS = (
    *("load", "analyse", "build_tables", "_render", "_write_tables", "choose_samples", "draw_samples", "find"),
    *("audit", "choose_examples", "build_page", "make_document", "warnings", "render_console"),
)


def measure(
    label: str, axes: dict[str, int], seeds: int, examples: int, void: bool, profile: str = "", keep: str = ""
) -> None:
    """Write a study, build its report in a fresh process and print what that took."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(keep or name) / label.replace(" ", "_")
        folder, out = root / "study", root / "out"
        runs = write_large_study(folder, axes, seeds, examples, void)
        size = sum(path.stat().st_size for path in (folder / "records").iterdir())
        begun = time.perf_counter()
        code = f"PARTS = {PARTS!r}\n{CHILD}"
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder), str(out), profile],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": "0"},
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        wall = time.perf_counter() - begun
        told = json.loads(done.stdout.splitlines()[-1])
        page = (out / "report.html").stat().st_size
        print(
            f"{label}: {runs} runs x {examples} examples ({size / 2**20:.0f} MiB of records): {wall:.1f} s "
            f"({told['cpu']:.1f} s of processor time), peak "
            f"{told['peak_mib']:.0f} MiB, page {page / 1e6:.2f} MB, report.json "
            f"{(out / 'report.json').stat().st_size / 1e6:.2f} MB"
        )
        slow = sorted(told["parts"].items(), key=lambda item: -item[1])
        print("   " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in slow if seconds >= 0.05), flush=True)


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, help="12 arms, or 200 from 1,000 runs on; by default both sizes")
    parser.add_argument("--examples", type=int, help="of a run; by default 5,000, or 500 from 1,000 runs on")
    parser.add_argument("--arms", type=int, choices=(12, 200), help="12 or 200")
    parser.add_argument("--keep", default="", help="folder to leave the study and its report in")
    parser.add_argument("--profile", default="", help="file for the profile of the (last) child process")
    asked = parser.parse_args()
    for runs in [asked.runs] if asked.runs else [36, 1000]:
        arms = asked.arms or (200 if runs >= 1000 else 12)
        axes, void = (AXES_200, False) if arms == 200 else (AXES_12, True)
        examples = asked.examples or (500 if runs >= 1000 else 5000)
        seeds = max(1, round(runs / arms))
        measure(f"{arms} arms x {seeds} seeds", axes, seeds, examples, void, asked.profile, asked.keep)


if __name__ == "__main__":
    main()
