"""The audit's lines on where everything came from: code, data, records, machine."""

from __future__ import annotations

from reports.check import Check
from reports.commits import by_commit, spell
from reports.fingerprints import SHORT
from reports.results import Results
from reports.trace import Origin, origins


def code_check(results: Results) -> Check:
    """The commits that the runs were made at: one, or a warning."""
    git = results.frame.header.get("git") or {}
    found = by_commit(results.frame.runs)
    dirty = bool(git.get("dirty")) or any(commit.endswith("+") for commit in found)
    if not found:
        if not git.get("commit"):
            return Check("Code", "warn", "no commit recorded")
        text = f"collected at commit {str(git['commit'])[:12]}" + (", with uncommitted changes" if dirty else ", clean")
        return Check("Code", "warn" if dirty else "ok", text + "; the runs do not say theirs")
    if len(found) == 1:
        commit = next(iter(found))
        state = " with uncommitted changes" if commit.endswith("+") else ", clean"
        text = f"every stage of every run was made at commit {commit.rstrip('+')[:12]}{state}"
        return Check("Code", "warn" if dirty else "ok", text)
    items = tuple(f"{spell(commit)}: {', '.join(runs)}" for commit, runs in found.items())
    return Check("Code", "warn", f"the runs were made at {len(found)} states of the code", items)


def data_check(results: Results) -> Check:
    """Digests of what was asked, and whether the same example has one reference in every run."""
    frame, items, mixed = results.frame, [], mixed_references(results)
    for benchmark in frame.fingerprints.benchmarks:
        digests: dict[str, None] = {}
        for found in frame.fingerprints.of(benchmark).values():
            digest = (found.get("parts") or {}).get("examples_sha256")
            digests |= {str(digest)[: 2 * SHORT]: None} if digest else {}
        if digests:
            items.append(f"{benchmark}: examples {' / '.join(digests)}")
    if mixed:
        return Check("Data", "warn", "the same example has unlike references in different runs", (*mixed, *items))
    text = "the same example has the same reference in every run"
    return Check("Data", "ok", text + ("; digests of what was asked" if items else ""), tuple(items))


def mixed_references(results: Results) -> list[str]:
    """Sentences on benchmarks whose runs were judged by unlike references; what the study varies itself is none."""
    found = []
    records = results.frame.records
    for measure in results.outcomes:
        if results.frame.fingerprints.by_design(measure.benchmark):
            continue
        rows = records[(records["benchmark"] == measure.benchmark) & (records["control"] == "")]
        rows = rows[(rows["metric"] == measure.name) & (rows["split"] == measure.split)]
        pairs = rows[["example_id"]].assign(reference=rows["reference"].map(str)).drop_duplicates()
        odd = pairs[pairs["example_id"].duplicated()]
        if len(odd):
            first = odd["example_id"].iloc[0]
            found.append(
                f"{measure.benchmark}: {odd['example_id'].nunique()} examples were judged by unlike references in "
                f"different runs, first '{first}'."
            )
    return found


def records_check(results: Results) -> Check | None:
    """Each run's records by digest, with the keys of its stages."""
    items = [_line(run) for run in origins(results) if run.records]
    if not items:
        return None
    return Check("Fingerprints", "info", "of each run's records, with the keys of its stages", tuple(items))


def _line(run: Origin) -> str:
    keys = " ".join(f"{stage} {key[:8]}" for stage, key in run.stages.items())
    mlflow = f"; MLflow run {run.run_id}" if run.run_id else ""
    return f"{run.arm}, seed {run.seed}: records {run.records}{mlflow}" + (f"; {keys}" if keys else "")


def environment_check(results: Results) -> Check | None:
    """The machine and the packages that collected the runs."""
    environment = results.frame.header.get("environment") or {}
    flat: list[str] = []
    for name, value in environment.items():
        if isinstance(value, dict):
            flat += [f"{k} {v}" for k, v in value.items()]
        else:
            flat.append(f"{name} {value}")
    told = [f"{name} {environment[name]}" for name in ("python", "platform") if name in environment]
    text = "of the machine that collected the runs" + (f": {', '.join(told)}" if told else "")
    return Check("Environment", "info", text, tuple(flat)) if flat else None
