"""Tasks of lm-eval as examples: their documents, each with the requests that the harness makes of it."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.datasets.text_file import Documents
from evals.harness import same_generators
from evals.harness.tasks import find_tasks

FEWSHOT_SEED = 1234  # the harness' own


@dataclass
class Doc:
    """A document of a task and the requests about it."""

    task: Any
    name: str
    number: int
    doc: Any
    requests: list[Any]


class TaskDocs(Documents):
    """All documents of a task, or of all tasks of a group, in their order.

    Requests are made for all documents at once, as the harness makes them, so that the few-shot examples of each are
    those that the harness would show.

    Args:
        task: name of a task or a group, or the file of a task.
        include_path: folder of tasks.
        root: ``data.root``: where data files lie whose paths are relative and that are not beside their task.
        shots: few-shot examples; the task's own number where None.
        image_size: what the model reads.

    Raises:
        EvaluationError: there is no such task.
    """

    def __init__(self, task: str, include_path: Path | None, root: Path | None, shots: int | None, image_size: int):
        super().__init__(f"lm-eval {task}", image_size)
        manager = find_tasks([task], include_path, {"data_root": str(root)} if root else None)
        with same_generators():
            self.tasks = manager.load([_with_paths(task, manager, root)])["tasks"]
            self.docs = [doc for name, one in self.tasks.items() for doc in _requests(name, one, shots)]
        digest = hashlib.sha256()
        for doc in self.docs:
            digest.update(json.dumps([doc.name, [r.args[:2] for r in doc.requests]], default=str).encode())
            for image in doc.requests[0].args[2].get("visual", []) if len(doc.requests[0].args) > 2 else []:
                digest.update(image.tobytes() if hasattr(image, "tobytes") else repr(image).encode())
        self._digest = digest.hexdigest()[:16]

    @property
    def sees(self) -> bool:
        """Whether a task shows images."""
        return any(getattr(task, "MULTIMODAL", False) for task in self.tasks.values())

    def size(self, split: str) -> int:
        """Documents."""
        return len(self.docs)

    def facts(self) -> dict[str, Any]:
        """What a result depends on: versions of the tasks, a hash over all requests, how images come in."""
        found: dict[str, Any] = {
            "versions": {name: str(task.VERSION) for name, task in self.tasks.items()},
            "requests_sha256": self._digest,
        }
        return found | ({"images": "squashed to the side that the model reads, bicubic"} if self.sees else {})

    def describe(self) -> str:
        """One line for the report; another content is another line."""
        versions = ", ".join(f"{name} version {task.VERSION}" for name, task in self.tasks.items())
        return f"lm-eval {versions}: {len(self.docs)} documents (sha256 {self._digest})"


def _requests(name: str, task: Any, shots: int | None) -> list[Doc]:
    """The documents of one task with their requests, as ``lm_eval.simple_evaluate`` makes them."""
    own = task.get_config("num_fewshot")
    if shots is not None and own != 0:
        task.set_config(key="num_fewshot", value=shots)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    task.build_all_requests()
    requests = defaultdict(list)
    for request in task.instances:
        requests[request.doc_id].append(request)
    docs = dict(task.doc_iterator())
    return [
        Doc(task, name, number, docs[number], sorted(own_requests, key=lambda request: request.idx))
        for number, own_requests in requests.items()
    ]


def _with_paths(task: str, manager: Any, root: Path | None) -> Any:
    """A task's config with its relative data files found beside it or under ``data.root``; a group as it is.

    The harness itself takes such a path from the working directory.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = manager.task_index.get(task)
    path = Path(task) if entry is None else entry.yaml_path
    if path is None or not Path(path).is_file():
        return task
    config = load_yaml(path, resolve_func=True)
    if "group" in config and "dataset_path" not in config:
        return task
    places = [Path(path).resolve().parent, *([root] if root else [])]

    def find(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: find(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [find(entry) for entry in value]
        if not isinstance(value, str) or not value or Path(value).is_absolute():
            return value
        found = [place / value for place in places if any(place.glob(value))]  # patterns are paths, too
        return str(found[0]) if found else value

    options = dict(config.get("dataset_kwargs") or {})
    for key in ("data_files", "data_dir"):
        if key in options:
            options[key] = find(options[key])
    if options:
        config["dataset_kwargs"] = options
    return config
