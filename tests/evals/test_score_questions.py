"""`lavit score` on the known answers, on the datasets' own formats, and on files that are not as they should be."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from question_files import make_pope, make_question_sets, people

from evals.records import load_records
from experiments.cli import main


@pytest.fixture
def known(shared_fixtures: Path) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        return json.loads(gzip.decompress((shared_fixtures / "vqa" / name).read_bytes()))

    return load


def save(path: Path, value: Any, lines: bool = False) -> str:
    text = "\n".join(map(json.dumps, value)) if lines else json.dumps(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def score(capsys: pytest.CaptureFixture, *arguments: str) -> dict[str, Any]:
    """What `lavit score ... --json` prints, which has to be all of stdout."""
    assert main(["score", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    assert main(["score", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_vqa_totals_are_the_official_ones(
    known: Callable, shared_fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    expected = known("vqav2_val_sub2500.expected.json.gz")
    source = shared_fixtures / "vqa" / "vqav2_val_sub2500"
    files = ["--questions", f"{source}.questions.json.gz", "--annotations", f"{source}.annotations.json.gz"]
    results = known("vqav2_val_sub2500.results.json.gz")
    for name in ("human1", "messy_majority"):
        predictions = results[name]
        predicted = save(tmp_path / f"{name}.json.gz", predictions[::-1])
        records = tmp_path / f"{name}.parquet"
        totals = score(capsys, "vqa", *files, "--predictions", predicted, "--records", str(records))
        official = expected[name]["official_unrounded"]
        assert totals["overall"] == pytest.approx(official["overall"], abs=1e-9)
        assert totals["by_question_type"] == pytest.approx(official["perQuestionType"], abs=1e-9)
        assert totals["by_answer_type"] == pytest.approx(official["perAnswerType"], abs=1e-9)
        rounded = expected[name]["official_rounded_2"]
        assert round(totals["overall"], 2) == rounded["overall"]
        rows = {row.example_id: 100 * row.score for row in load_records(records)}
        assert rows == pytest.approx(expected[name]["official_per_question"], abs=1e-9)


def test_gqa_totals_are_the_official_ones(known: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cases = known("gqa_format.json.gz")
    files = {name: save(tmp_path / f"{name}.json", cases[name]) for name in ("questions", "choices", "predictions")}
    totals = score(capsys, "gqa", *(part for name, path in files.items() for part in (f"--{name}", path)))
    for name, value in cases["expected"].items():
        if name.startswith("accuracyPer"):
            assert totals[name] == pytest.approx({kind: percent for kind, (percent, _) in value.items()}, abs=1e-9)
        elif name != "grounding":
            assert totals[name] == pytest.approx(value, abs=1e-9)


def test_gqa_says_what_it_cannot_compute(known: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cases = known("gqa_format.json.gz")
    balanced = {name: row for name, row in cases["questions"].items() if row["isBalanced"]}
    predicted = [row for row in cases["predictions"] if row["questionId"] in balanced]
    arguments = [
        "--questions",
        save(tmp_path / "q.json", balanced),
        "--predictions",
        save(tmp_path / "p.json", predicted),
    ]
    assert main(["score", "gqa", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["accuracy"] == pytest.approx(cases["expected"]["accuracy"])
    assert "consistency" not in json.loads(out)
    assert [line.split(":")[0] for line in err.splitlines()] == ["validity", "plausibility", "consistency"]


def test_gqa_grounding_is_attention_on_what_is_referred_to(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_question_sets(tmp_path)
    questions = tmp_path / "gqa/testdev_balanced_questions.json"
    content = json.loads(questions.read_text())
    for row in content.values():
        row["annotations"] = {"question": {"1": "7"}, "answer": {}, "fullAnswer": {}}
    images = {row["imageId"] for row in content.values()}
    left_half = {"x": 0, "y": 0, "w": 50, "h": 40}
    scenes = {image: {"width": 100, "height": 40, "objects": {"7": left_half}} for image in images}
    maps = [{"questionId": name, "attention": [[0.25, 0.5], [0.25, 0.0]]} for name in content]
    arguments = ["--questions", save(questions, content), "--attentions", save(tmp_path / "maps.json", maps)]
    arguments += ["--predictions", save(tmp_path / "p.json", dict.fromkeys(content, "red"))]
    assert "needs --scenes" in refusal(capsys, "gqa", *arguments)
    arguments += ["--scenes", save(tmp_path / "scenes.json", scenes)]
    assert score(capsys, "gqa", *arguments)["grounding"] == pytest.approx(75)
    maps[0]["attention"] = [[1.0]] * 2
    save(tmp_path / "maps.json", maps)
    assert "no square of numbers" in refusal(capsys, "gqa", *arguments)


def test_pope_totals_are_the_official_ones(known: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cases = known("pope_coco_popular.json.gz")
    questions = ["--questions", save(tmp_path / "q.jsonl", cases["questions"], lines=True)]
    in_order = save(tmp_path / "p.jsonl", cases["answers"], lines=True)
    assert score(capsys, "pope", *questions, "--predictions", in_order) == pytest.approx(cases["expected"])
    named = [
        {"question_id": question["question_id"], "answer": row["answer"]}
        for question, row in zip(cases["questions"], cases["answers"], strict=True)
    ]
    by_id = save(tmp_path / "named.json", named[::-1])
    assert score(capsys, "pope", *questions, "--predictions", by_id) == pytest.approx(cases["expected"])
    out_of_order = save(tmp_path / "wrong.jsonl", cases["answers"][::-1], lines=True)
    assert "row 1 answers" in refusal(capsys, "pope", *questions, "--predictions", out_of_order)


def test_scienceqa_answers_are_read_as_in_the_published_numbers(
    known: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = known("scienceqa_extract_llava13b_v0.json.gz")["rows"]
    problem = {"question": "?", "choices": list("vwxyz"), "image": None}
    problems = {row["pid"]: {**problem, "answer": max(row["rule_index"], 0)} for row in rows}
    predicted = {"outputs": {row["pid"]: row["output"] for row in rows}}
    arguments = ["--problems", save(tmp_path / "problems.json", problems)]
    totals = score(capsys, "scienceqa", *arguments, "--predictions", save(tmp_path / "p.json", predicted))
    assert totals["correct"] == sum(row["rule_index"] >= 0 for row in rows) == totals["count"]


def test_nlvr_totals_are_the_official_ones(
    shared_fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = shared_fixtures.parent / "data"
    cases = json.loads(gzip.decompress((data / "nlvr1_dev_predictions_expected.json.gz").read_bytes()))
    for name, predictions in cases["predictions"].items():
        table = tmp_path / f"{name}.csv"
        table.write_text("".join(f"{image},{said}\n" for image, said in predictions.items()))
        for path in (str(table), save(tmp_path / f"{name}.json", predictions)):
            totals = score(capsys, "nlvr", "--data", str(data / "nlvr1_dev.jsonl"), "--predictions", path)
            expected = cases["expected"][name]
            assert totals == {"accuracy": expected["precision"], "consistency": expected["consistency"]}


# Each dataset's own format


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_question_sets(tmp_path)
    return tmp_path


def vqa_files(root: Path) -> list[str]:
    folder = root / "vqav2"
    questions = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    return ["--questions", str(questions), "--annotations", str(folder / "v2_mscoco_val2014_annotations.json")]


def answer_all(root: Path) -> list[dict[str, Any]]:
    rows = json.loads((root / "vqav2/v2_OpenEnded_mscoco_val2014_questions.json").read_text())["questions"]
    return [{"question_id": str(row["question_id"]), "answer": "red", "confidence": 0.4} for row in rows]


def test_ids_may_be_numbers_or_texts_and_rows_may_have_more_than_is_asked_for(
    root: Path, capsys: pytest.CaptureFixture
) -> None:
    predicted = save(root / "p.json", answer_all(root))
    totals = score(capsys, "vqa", *vqa_files(root), "--predictions", predicted)
    assert totals["by_answer_type"] == {"other": 100, "yes/no": 0}
    assert totals["overall"] == 50


def test_textvqa_and_vizwiz_are_single_files(root: Path, capsys: pytest.CaptureFixture) -> None:
    said = [{"question_id": 34602, "answer": "Stop"}, {"question_id": 34603, "answer": "go"}]
    textvqa = ["--annotations", str(root / "textvqa/TextVQA_0.5.1_val.json"), "--protocol", "evalai"]
    totals = score(capsys, "vqa", *textvqa, "--predictions", save(root / "p.json", said))
    assert totals["overall"] == pytest.approx(100 * (1 + 0.3) / 2)
    images = [f"VizWiz_val_{number:08d}.jpg" for number in range(3)]
    said = [
        {"image": image, "answer": answer} for image, answer in zip(images, ("Red.", "unanswerable", "no"), strict=True)
    ]
    sure = [{"image": image, "answerable": value} for image, value in zip(images, (0.9, 0.2, 0.4), strict=True)]
    vizwiz = ["--annotations", str(root / "vizwiz/Annotations/val.json"), "--protocol", "vizwiz"]
    vizwiz += ["--answerability", save(root / "a.json", sure)]
    totals = score(capsys, "vqa", *vizwiz, "--predictions", save(root / "p.json", said))
    assert totals["by_answer_type"] == {"other": 100, "unanswerable": 100, "yes/no": 0}
    assert totals["answerability"] == pytest.approx({"average_precision": 100, "f1_score": 200 / 3})


def test_aokvqa_has_direct_answers_and_choices(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [
        {
            "split": "val",
            "image_id": 461751,
            "question_id": f"22jbM{number}",
            "question": "What is it?",
            "choices": ["ice", "sun"],
            "correct_choice_idx": 0,
            "direct_answers": ["ice", "Ice", *["cold"] * 8],
            "difficult_direct_answer": number == 1,
            "rationales": ["..."],
        }
        for number in range(2)
    ]
    said = {row["question_id"]: {"multiple_choice": "ice", "direct_answer": "ice"} for row in rows}
    arguments = ["--annotations", save(tmp_path / "a.json", rows), "--protocol", "aokvqa"]
    totals = score(capsys, "vqa", *arguments, "--predictions", save(tmp_path / "p.json", said))
    assert totals["overall"] == pytest.approx(100 / 3)
    assert totals["multiple_choice"] == 100
    plain = {row["question_id"]: "cold" for row in rows}
    assert score(capsys, "vqa", *arguments, "--predictions", save(tmp_path / "p.json", plain))["overall"] == 100


# What is refused


def wrong_answers(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = root / "vqav2/v2_mscoco_val2014_annotations.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["annotations"][1]["answers"].pop(), ["question 42001 has 9 answers", "need 10"]),
        (lambda c: c["annotations"].append(c["annotations"][0]), ["question id '42000' stands twice"]),
        (lambda c: c["annotations"].pop(), ["question 74001", "does not answer it"]),
        (lambda c: c["annotations"][0].update(question_id=7), ["question 7", "does not ask it"]),
        (lambda c: c["annotations"][0].update(question_id=4.5), ["row 1", "'question_id' is float"]),
        (lambda c: c["annotations"][0].update(answers="red"), ["question 42000", "'answers' is str"]),
        (lambda c: c["annotations"][0]["answers"][2].update(answer=3), ["question 42000, answer 3", "'answer' is int"]),
        (lambda c: c["annotations"][0].pop("answer_type"), ["question 42000 has no 'answer_type'"]),
        (lambda c: c["annotations"][0].update(image_id=1), ["Question 42000 is about image 42", "but 1"]),
        (lambda c: c.update(annotations=[]), ["is empty"]),
        (lambda c: c.pop("annotations"), ["has neither"]),
    ],
)
def test_annotations_that_are_not_as_published(
    root: Path, capsys: pytest.CaptureFixture, change: Callable[[dict], None], words: list[str]
) -> None:
    wrong_answers(change)(root)
    predicted = save(root / "p.json", answer_all(root))
    told = refusal(capsys, "vqa", *vqa_files(root), "--predictions", predicted)
    assert all(word in told for word in words), told
    assert "v2_" in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.pop(), "no prediction for question 74001 of 6"),
        (lambda rows: rows.append({"question_id": 9, "answer": ""}), "a prediction for 9, which is not asked"),
        (lambda rows: rows.append(rows[2]), "the prediction for '73000' stands twice"),
        (lambda rows: rows[0].update(answer=4), "the prediction for 42000: 'answer' is int"),
        (lambda rows: rows[0].pop("answer"), "the prediction for 42000: 'answer' is missing"),
        (lambda rows: rows[0].pop("question_id"), "prediction 1: 'question_id' is missing"),
        (lambda rows: rows.insert(0, "red"), "prediction 1 is str, not an object"),
    ],
)
def test_predictions_that_cannot_be_scored(
    root: Path, capsys: pytest.CaptureFixture, change: Callable[[list], None], words: str
) -> None:
    rows = answer_all(root)
    change(rows)
    told = refusal(capsys, "vqa", *vqa_files(root), "--predictions", save(root / "p.json", rows))
    assert words in told


def test_cut_off_files_are_told_with_line_and_column(root: Path, capsys: pytest.CaptureFixture) -> None:
    path = root / "p.json"
    path.write_text(json.dumps(answer_all(root), indent=1)[:-20])
    assert "is not JSON" in refusal(capsys, "vqa", *vqa_files(root), "--predictions", str(path))
    lines = "\n".join(json.dumps(row) for row in answer_all(root))[:-5]
    path.write_text(lines)
    assert "line 6 is not JSON" in refusal(capsys, "vqa", *vqa_files(root), "--predictions", str(path))
    packed = root / "p.json.gz"
    packed.write_bytes(gzip.compress(lines.encode())[:-9])
    assert "cannot be read" in refusal(capsys, "vqa", *vqa_files(root), "--predictions", str(packed))
    path.write_text("")
    assert "is empty" in refusal(capsys, "vqa", *vqa_files(root), "--predictions", str(path))


def test_a_test_split_has_nothing_to_compare_with(root: Path, capsys: pytest.CaptureFixture) -> None:
    questions = vqa_files(root)[:2]
    predicted = save(root / "p.json", answer_all(root))
    assert "has no answers to compare with" in refusal(capsys, "vqa", *questions, "--predictions", predicted)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("label", "maybe", "'label' is 'maybe'"), ("question_id", 2, "question_id '2' stands twice")],
)
def test_pope_questions_that_are_not_as_published(
    tmp_path: Path, capsys: pytest.CaptureFixture, field: str, value: Any, words: str
) -> None:
    make_pope(tmp_path)
    path = tmp_path / "pope/coco_pope_random.json"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    said = save(tmp_path / "p.jsonl", [{"question": row["text"], "answer": "yes"} for row in rows], lines=True)
    rows[0][field] = value
    told = refusal(capsys, "pope", "--questions", save(path, rows, lines=True), "--predictions", said)
    assert words in told


def test_pope_without_a_single_yes_has_no_precision(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_pope(tmp_path)
    said = save(tmp_path / "p.jsonl", [{"answer": "no"}] * 4, lines=True)
    questions = str(tmp_path / "pope/coco_pope_random.json")
    assert main(["score", "pope", "--questions", questions, "--predictions", said, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"TP": 0, "FP": 0, "TN": 2, "FN": 2, "Accuracy": 0.5, "Recall": 0, "Yes ratio": 0}
    assert "Precision: the model never said yes" in err


def test_nlvr2_sentences_are_asked_about_several_pairs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [
        {"identifier": f"dev-7-{pair}-{sentence}", "sentence": "Two dogs.", "label": "True"}
        for pair in range(2)
        for sentence in range(2)
    ]
    said = {row["identifier"]: "true" for row in rows} | {"dev-7-1-0": "False"}
    data = save(tmp_path / "dev.json", rows, lines=True)
    totals = score(capsys, "nlvr", "--data", data, "--predictions", save(tmp_path / "p.json", said))
    assert totals == {"accuracy": 0.75, "consistency": 0.5}
    said["dev-7-0-0"] = "perhaps"
    told = refusal(capsys, "nlvr", "--data", data, "--predictions", save(tmp_path / "p.json", said))
    assert "the prediction for dev-7-0-0 is 'perhaps'" in told


def test_annotations_with_answers_as_plain_texts_are_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    answers = [person["answer"] for person in people("red")]
    annotations = save(tmp_path / "a.json", {"annotations": [{"question_id": "x", "answers": answers}]})
    predicted = save(tmp_path / "p.json", {"x": "red"})
    assert score(capsys, "vqa", "--annotations", annotations, "--predictions", predicted)["overall"] == 100
