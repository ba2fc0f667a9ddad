"""A stage for several processes, for tests of what runs them: it counts together, and is made to fail on request."""

from __future__ import annotations

import json
import os
import signal
import time


def run(context):
    """Add ranks up step by step, the first rank saving where it is; the second fails as ``config.work.how`` says."""
    import torch
    import torch.distributed as dist

    rank, work = dist.get_rank(), context.config.work
    mark = context.out / "resume" / "step.json"
    first = json.loads(mark.read_text())["step"] if mark.exists() else 0
    for step in range(first, int(work.steps)):
        total = torch.tensor([float(step * (rank + 1))])
        dist.all_reduce(total)
        if step == 3 and rank == 1 and first == 0:
            if work.how == "raise":
                raise ValueError("loss is not a number at step 3")
            if work.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        if rank == 0:
            mark.parent.mkdir(exist_ok=True)
            mark.write_text(json.dumps({"step": step + 1}))
            context.progress(step + 1, int(work.steps), {"total": float(total)})
        time.sleep(work.seconds)
    if rank == 0:
        (context.out / "weights.txt").write_text(f"{float(total)} begun at {first} of {dist.get_world_size()}")
