"""Stages of a few bytes, for tests of what runs stages: fast, deterministic, resumable, and made to fail on request."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path

from experiments.attempts import attempts

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def run(context):
    """Write a file that depends on config, seed and inputs; take ``config.work.seconds``, in resumable steps."""
    from lavit.stages.context import Preempted

    work = context.config.work
    begun = time.time()
    count_attempt(context)
    behave(context, work)
    resume = context.out / "resume"
    resume.mkdir(exist_ok=True)
    mark = resume / "step.json"
    first = json.loads(mark.read_text())["step"] if mark.exists() else 0
    steps = int(work.steps)
    for step in range(first, steps):
        time.sleep(work.seconds / steps)
        mark.write_text(json.dumps({"step": step + 1}))
        with (resume / "taken.log").open("a") as file:
            file.write(f"{step}\n")
        context.progress(step + 1, steps, {"loss": 1.0 / (step + 1)})
        if work.get("how", "") != "deaf" and context.stop_requested():
            raise Preempted(f"saved step {step + 1}")
    if work.get("how", "") != "deaf" and (resume / "taken.log").exists():
        (context.out / "taken.log").write_text((resume / "taken.log").read_text())
    if "spans" in work:
        tell_span(work.spans, context.out.name, begun)
    inputs = {name: (folder / "weights.txt").read_text() for name, folder in sorted(context.inputs.items())}
    text = json.dumps({"stage": context.stage, "seed": context.seed, "config": str(context.config), "inputs": inputs})
    (context.out / "weights.txt").write_text(text)
    number = sum(text.encode()) % 1000 / 1000
    (context.out / "metrics.json").write_text(json.dumps({"caption/CIDEr": 3 + number, "vqa/accuracy": number}))
    (context.out / "ledger.json").write_text(
        json.dumps({"flops": 3.21e12, "steps": steps, "examples_understanding": 64})
    )
    (context.out / "config.json").write_text("{}")
    with (context.out / "history.jsonl").open("w") as file:
        for step in range(0, steps + 1):
            file.write(json.dumps({"step": step, "flops": 1e8 * step, "train/loss": 1 / (step + 1) + number}) + "\n")


def tell_span(folder, name, begun):
    """Leave outside the store when this stage ran, and on which devices."""
    devices = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    body = {"start": begun, "end": time.time(), "devices": devices}
    (Path(folder) / f"{name}.span").write_text(json.dumps(body))


def count_attempt(context):
    """Leave a mark outside the store, so that a test can count how often a stage was begun."""
    ledger = os.environ.get("FAKE_STAGES_LOG")
    if ledger:
        with Path(ledger).open("a") as file:
            file.write(f"{context.stage} {context.out.name} {os.getpid()}\n")


def behave(context, work):
    """Fail in the way that the config asks for."""
    how = work.get("how", "")
    if how == "raise":
        raise ValueError(f"loss is not a number at step 3 (seed {context.seed})")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory" or (how == "memory once" and len(attempts(context.out)) == 1):
        time.sleep(work.seconds / 2)
        raise MemoryError("no memory is left")
    if how == "nan":
        raise type("TrainingError", (RuntimeError,), {})("stage pretrain: the loss is nan at step 8.")
    if how == "exit":
        os._exit(3)
    if how == "undeclared":
        _ = context.config.undeclared.key
    if how == "write":
        context.config.work.steps = 3


def inspect(context):
    """What closes the tokenizer: as an evaluation, with a reason for what it did not measure."""
    evaluate(context)
    (context.out / "skipped.json").write_text(json.dumps({"vqa/mood": "nobody asked"}))


def evaluate(context):
    """The last stage: metrics and one record per example, as an evaluation writes them."""
    import pyarrow
    from pyarrow import parquet

    run(context)
    seed = context.seed
    rows = [
        {
            "benchmark": benchmark,
            "metric": metric,
            "control": control,
            "split": "test",
            "example_id": f"{benchmark}-{index}",
            "cluster_id": f"image-{index // 2}",
            "kind": "colour" if benchmark == "vqa" else "",
            "prompt": "what colour?",
            "prediction": "red",
            "reference": '["red"]',
            "score": float((index * 7 + seed * 3 + len(control)) % 5),
            "aux": "{}",
            "tokens": 9,
        }
        for benchmark, metric in (("caption", "CIDEr"), ("vqa", "accuracy"))
        for control in ("", "shuffled")
        for index in range(6)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), context.out / "records.parquet")
    rule = {"hash": "3f2a9c" + "0" * 58, "line": "test, 6 images, CIDEr-D", "parts": {"split": "test", "beams": 1}}
    protocol = {"caption": {"fingerprint": {**rule, "environment": {"scorer": "1.2"}, "hygiene": "held-out"}}}
    (context.out / "protocol.json").write_text(json.dumps(protocol))
    samples = context.out / "samples"
    samples.mkdir()
    (samples / "t2i-0.png").write_bytes(PNG)
    (samples / "truth-0.png").write_bytes(PNG)
    images = context.out / "images"
    images.mkdir()
    (images / "0.png").write_bytes(PNG)
    (context.out / "curve.jsonl").write_text(
        json.dumps({"step": 1, "flops": 1e8, "name": "val/caption/CIDEr", "value": 1.5}) + "\n"
    )
