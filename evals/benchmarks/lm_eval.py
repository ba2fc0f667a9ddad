"""Tasks of lm-evaluation-harness as benchmarks: one line of YAML each, one record a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.benchmark import REAL, VISION_OFF, Answers, Batch, Benchmark
from evals.benchmarks.text import UNTOUCHED, asked_model, missing_likelihood
from evals.datasets.text_file import content_hash
from evals.errors import EvaluationError
from evals.records import Record
from evals.sitting import Sitting
from lavit.data.protocol import Corpus, Examples

if TYPE_CHECKING:
    from evals.harness.docs import Doc, TaskDocs


class LmEvalTask(Benchmark):
    """A task, or a group of them, whose subtasks are then the kinds of documents.

    The score is the task's own, document by document: its first metric, or the one that is named; its other metrics
    stand beside it. A metric that belongs to the whole set (BLEU, perplexity) is given for each document as the task
    would for this one alone, and once more as ``<metric>_corpus`` for the set.

    Controls: ``vision_off`` (images left out) and ``untouched`` (the arm's text LLM before multimodal training,
    without images): the difference to it is what the arm forgot.

    Args:
        task: its name, or its file.
        include_path: folder of tasks, absolute or under ``data.root``.
        metric: which of the task's metrics is the score.
        shots: few-shot examples; the task's own number where None.
        max_gen_toks: ids of a generated text where the task names no number.
        further: see :class:`~evals.benchmark.Benchmark`; counts are counts of documents.
    """

    known_controls = (VISION_OFF, UNTOUCHED)
    protocol = "lm-eval"
    incidental = (*Benchmark.incidental, "include_path")
    pictured = False
    unit = "documents"

    def __init__(
        self,
        name: str,
        task: str,
        include_path: str | None = None,
        metric: str | None = None,
        shots: int | None = None,
        max_gen_toks: int = 256,
        **further: Any,
    ):
        super().__init__(name, **further)
        self.task, self.include_path, self.shots, self.max_gen_toks = task, include_path, shots, max_gen_toks
        self.wanted = metric
        self._opened: TaskDocs | None = None

    def settings(self) -> dict[str, Any]:
        """Everything that a result depends on: the harness's version, those of the tasks, and all of their requests."""
        from importlib.metadata import version

        rule: dict[str, Any] = {"protocol": f"lm-eval {version('lm-eval')}"}
        if self._opened is not None:
            rule |= self._opened.facts()
        return super().settings() | rule

    def known_hygiene(self) -> str:
        """Nothing: whether training knew a task is for the suite to declare."""
        return ""

    def source(self, corpus: Corpus | None, root: Path | None, image_size: int) -> Examples:
        """The task's documents.

        Raises:
            EvaluationError: lm-eval is not installed, or there is no such task.
        """
        from evals.harness.offline import require_lm_eval, stay_offline

        stay_offline()
        require_lm_eval()
        from evals.harness.docs import TaskDocs

        if self._opened is None:
            self._opened = TaskDocs(self.task, self._folder(root), root, self.shots, image_size)
        return self._opened

    def files_fingerprint(self, root: Path | None) -> str:
        """A hash over the files of the folder of tasks (and of data beside them): other files, other results."""
        folder = self._folder(root)
        paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
        own = [path for path in paths if "__pycache__" not in path.parts]
        return content_hash(own, folder or Path())

    def _folder(self, root: Path | None) -> Path | None:
        return None if self.include_path is None else (root or Path()) / Path(self.include_path).expanduser()

    def obstacle(self, model: Any, corpus: Any) -> str | None:
        """A task that shows images needs a model that sees."""
        if reason := missing_likelihood(model, self.controls):
            return reason
        if corpus.sees and model.tokens().image_size is None:
            return f"{self.task} shows images, and the model reads text alone"
        return None

    def ask(self, batch: Batch, sitting: Sitting) -> Answers:
        """Put one batch of documents to the model."""
        import torch

        from evals.harness import same_generators
        from evals.harness.model import LavitLM
        from evals.harness.results import answer

        docs: list[Doc] = [sitting.corpus.docs[index] for index in batch.asked_B]  # type: ignore[attr-defined]
        lm = LavitLM(
            model=asked_model(sitting, batch.control == UNTOUCHED),
            batch_size=self.batch,
            vision=batch.control == REAL,
            max_gen_toks=self.max_gen_toks,
        )
        with same_generators():
            torch.manual_seed(sitting.draw_seed(batch.number))
            answer(lm, docs)
        return Answers([self._record(doc, batch, place) for place, doc in enumerate(docs)])

    def _record(self, doc: Doc, batch: Batch, place: int) -> Record:
        from evals.harness.results import measure, right, said

        values = measure(doc)
        metric = self.wanted or next(iter(values))
        if metric not in values:
            raise EvaluationError(
                f"suite.benchmarks.{self.name}.metric: {doc.name} has no metric {metric!r}.",
                f"It has {', '.join(values)}.",
            )
        own, aux = values.pop(metric)
        for name, (value, further) in values.items():
            aux = {**aux, name: value, **further}
        return Record(
            benchmark=self.name,
            metric=metric,
            control=batch.control,
            split=self.split,
            example_id=f"{doc.name}-{doc.number}",
            cluster_id=f"{doc.name}-{doc.number}",
            kind="" if doc.name == self.task else doc.name,
            prompt=str(doc.requests[0].args[0]),
            prediction=said(doc),
            references=right(doc),
            score=own,
            aux=aux,
            order=int(batch.order_B[place]),
        )

    def summarise(self, records: Sequence[Record]) -> tuple[dict[str, float], dict[str, str]]:
        """Means over documents; beside a metric of the whole set its value for the set."""
        from evals.harness.results import ITEM, of_the_set

        metrics, missing = super().summarise(records)
        metrics = {name: value for name, value in metrics.items() if ITEM not in name}
        for control in dict.fromkeys(record.control for record in records):
            rows = [record for record in records if record.control == control]
            at = f"@{control}" if control else ""
            for metric in [rows[0].metric, *(name for name in rows[0].aux if ITEM not in name)]:
                value = of_the_set(rows, metric)
                if value is not None:
                    metrics[f"{self.name}/{metric}_corpus{at}"] = value
        return metrics, missing
