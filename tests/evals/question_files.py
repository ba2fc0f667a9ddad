"""Question-answering datasets in their publishers' own layout, a handful of questions each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caption_files import picture, write


def people(*answers: str) -> list[dict[str, Any]]:
    """Ten answers: those given, and the first of them for the rest."""
    said = [*answers, *answers[:1] * (10 - len(answers))]
    return [{"answer": text, "answer_confidence": "yes", "answer_id": n} for n, text in enumerate(said, 1)]


def coco_name(image: int) -> str:
    return f"COCO_val2014_{image:012d}.jpg"


def make_vqa(root: Path, folder: str, prefix: str) -> None:
    """VQAv2 (``v2_``) or OK-VQA (no prefix): two questions about each of three images."""
    questions, annotations = [], []
    for image in (42, 73, 74):
        picture(root / "coco" / "val2014" / coco_name(image), image % 7)
        asked = [("What color is it?", "what color is", "other", people("red", "dark red", "blue"))]
        asked.append(("Is it big?", "is it", "yes/no", people("yes", "no", "no")))
        for number, (text, question_type, answer_type, answers) in enumerate(asked):
            name = image * 1000 + number
            questions.append({"image_id": image, "question": text, "question_id": name})
            annotations.append(
                {
                    "question_id": name,
                    "image_id": image,
                    "question_type": question_type,
                    "answer_type": answer_type,
                    "multiple_choice_answer": answers[0]["answer"],
                    "answers": answers,
                }
            )
    head = {"info": {"version": "2.0"}, "license": {}, "data_subtype": "val2014"}
    write(
        root / folder / f"{prefix}OpenEnded_mscoco_val2014_questions.json",
        {**head, "task_type": "Open-Ended", "questions": questions},
    )
    write(root / folder / f"{prefix}mscoco_val2014_annotations.json", {**head, "annotations": annotations})


def make_textvqa(root: Path) -> None:
    rows = []
    for number, image in enumerate(("003a8ae2ef43b901", "004cb1c4f5b1b2d9")):
        picture(root / "textvqa" / "train_images" / f"{image}.jpg", number)
        rows.append(
            {
                "question": "what does it say?",
                "image_id": image,
                "question_id": 34602 + number,
                "image_classes": ["Sign"],
                "answers": ["stop"] * 7 + ["the stop", "Stop.", "go"],
                "set_name": "val",
            }
        )
    write(root / "textvqa" / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": rows})


def make_vizwiz(root: Path) -> None:
    rows = []
    for number, (answerable, kind) in enumerate([(1, "other"), (0, "unanswerable"), (1, "yes/no")]):
        image = f"VizWiz_val_{number:08d}.jpg"
        picture(root / "vizwiz" / "val" / image, number)
        answer = {"other": "red", "unanswerable": "unanswerable", "yes/no": "yes"}[kind]
        answers = [{"answer": answer, "answer_confidence": "maybe"} for _ in range(10)]
        row = {"image": image, "question": f"Is it {number}?", "answers": answers}
        rows.append({**row, "answer_type": kind, "answerable": answerable})
    write(root / "vizwiz" / "Annotations" / "val.json", rows)


def make_gqa(root: Path) -> None:
    questions = {}
    for number, (kind, answer) in enumerate([("verify", "yes"), ("query", "red"), ("query", "blue")]):
        image = ("n161313", "n235859", "n161313")[number]
        picture(root / "gqa" / "images" / f"{image}.jpg", number % 2)
        questions[f"2013{number}"] = {
            "semantic": [{"operation": "select", "dependencies": [], "argument": "car (1)"}],
            "entailed": [],
            "equivalent": [f"2013{number}"],
            "question": f"What is it, {number}?",
            "imageId": image,
            "isBalanced": True,
            "groups": {"global": None, "local": "06-car"},
            "answer": answer,
            "semanticStr": "select: car (1)",
            "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
            "types": {"detailed": "existTrue", "semantic": "obj", "structural": kind},
            "fullAnswer": answer,
        }
    write(root / "gqa" / "testdev_balanced_questions.json", questions)


def make_pope(root: Path) -> None:
    lines = []
    for number, (thing, label) in enumerate([("dog", "yes"), ("cat", "no"), ("car", "yes"), ("cup", "no")]):
        image = coco_name(310196 + number // 2)
        picture(root / "coco" / "val2014" / image, number // 2)
        row = {"question_id": number + 1, "image": image, "text": f"Is there a {thing} in the image?", "label": label}
        lines.append(json.dumps(row))
    (root / "pope").mkdir(parents=True)
    for split in ("random", "popular", "adversarial"):
        (root / "pope" / f"coco_pope_{split}.json").write_text("\n".join(lines) + "\n")


def make_scienceqa(root: Path) -> None:
    problems = {}
    for number, has_image in enumerate((True, False, True, True)):
        problems[str(number)] = {
            "question": f"Which is it, {number}?",
            "choices": ["red", "green", "blue"][: 2 + number % 2],
            "answer": number % 2,
            "hint": "Look." if number else "",
            "image": "image.png" if has_image else None,
            "subject": ("natural science", "social science")[number % 2],
            "split": "test",
        }
        if has_image:
            picture(root / "scienceqa" / "images" / "test" / str(number) / "image.png", number)
    write(root / "scienceqa" / "problems.json", problems)
    write(root / "scienceqa" / "pid_splits.json", {"test": ["0", "1", "2", "3"], "val": []})


def make_nlvr(root: Path) -> None:
    lines = []
    for number, label in enumerate(("true", "false")):
        row = {"identifier": f"157{number}-0", "sentence": "There is a box.", "label": label, "directory": "2"}
        lines.append(json.dumps({**row, "evals": {"r0": label}, "structured_rep": []}))
        for order in range(6):
            picture(root / "nlvr" / "dev" / "images" / "2" / f"dev-157{number}-0-{order}.png", number)
    (root / "nlvr" / "dev" / "dev.json").write_text("\n".join(lines) + "\n")


def make_question_sets(root: Path) -> None:
    """All of them below one ``data.root``."""
    make_vqa(root, "vqav2", "v2_")
    make_vqa(root, "okvqa", "")
    for make in (make_textvqa, make_vizwiz, make_gqa, make_pope, make_scienceqa, make_nlvr):
        make(root)
