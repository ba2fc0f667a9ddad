"""`lavit score` as a command: kinds are found, stdout holds the result alone, mistakes are told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evals.score import kinds
from evals.score.scored import Scored
from experiments.cli import main
from experiments.cli.score import _stdout_to_stderr, render


def test_help_lists_kinds_without_importing_anything_heavy() -> None:
    program = (
        "import sys; from experiments.cli import main\n"
        "try: main(['score', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'torch', 'pyarrow', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_help_with_examples(kind: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["score", kind, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"lavit score {kind}" in text.split("examples:")[1]
    assert "--json" in text


@pytest.mark.parametrize(("arguments", "words"), [(["vqq"], "did you mean 'vqa'"), ([], "needs a kind")])
def test_an_unknown_kind_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["score", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_chatter_of_libraries_and_their_processes_leaves_stdout_clean(capfd: pytest.CaptureFixture) -> None:
    with _stdout_to_stderr():
        print("computing ...")
        subprocess.run(["echo", "loading"], check=True)
    print(json.dumps({"overall": 1}))
    out, err = capfd.readouterr()
    assert json.loads(out) == {"overall": 1}
    assert "computing" in err
    assert "loading" in err


def test_nested_totals_make_one_table() -> None:
    totals = {"overall": 50.0, "by_type": {"what": 1 / 3}, "count": 2}
    assert render(Scored(totals, [], {"metric": "m", "of": {"a": 1}})) == [
        "overall       50.0000",
        "by_type",
        "  what         0.3333",
        "count               2",
        "",
        "metric: m",
        "of: a 1",
    ]


def test_predictions_of_others_enter_a_report_as_arms(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions = [
        {
            "question_id": i,
            "image": f"{i % 20}.jpg",
            "text": "Is there a cat in the image?",
            "label": ("no", "yes")[i % 2],
        }
        for i in range(60)
    ]
    lines(tmp_path / "questions.jsonl", questions)
    for arm, wrong in (("ours", 3), ("theirs", 30)):
        answers = [{"question_id": q["question_id"], "question": q["text"], "answer": q["label"]} for q in questions]
        for row in answers[:wrong]:
            row["answer"] = {"yes": "no", "no": "yes"}[row["answer"]]
        lines(tmp_path / f"{arm}.jsonl", answers)
        arguments = ["--questions", str(tmp_path / "questions.jsonl"), "--predictions", str(tmp_path / f"{arm}.jsonl")]
        target = ["--records", str(tmp_path / "results" / "records" / f"{arm}.parquet")]
        place = ["--as-study", "beside", "--as-arm", arm, "--as-benchmark", "pope", "--as-split", "random"]
        assert main(["score", "pope", *arguments, *target, *place]) == 0
    study = {"name": "beside", "axes": {"system": ["ours", "theirs"]}, "default": "ours", "headline": "pope/accuracy"}
    study["arms"] = {arm: {"system": arm} for arm in ("ours", "theirs")}
    (tmp_path / "results" / "study.yaml").write_text(json.dumps(study))
    assert main(["report", "--records", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    found = document["contrasts"][0]
    assert (found["kind"], found["benchmark"], found["arm"]) == ("arm", "pope", "theirs")
    assert found["estimate"] == pytest.approx(-27 / 60)
    assert found["high"] < 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (["--as-arm", "a", "--as-study", "s"], "add --records"),
        (["--as-arm", "a", "--records", "x.parquet"], "--as-arm and --as-study go together"),
        (["--as-seed", "1", "--records", "x.parquet"], "name the arm too"),
    ],
)
def test_half_a_place_in_a_report_is_refused(
    place: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--questions", str(tmp_path / "q.jsonl"), "--predictions", str(tmp_path / "p.jsonl")]
    assert main(["score", "pope", *arguments, *place]) == 2
    assert words in capsys.readouterr().err


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
