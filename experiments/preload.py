"""Imported by the fork server, once: the stages' modules, and with them torch, lightning and transformers.

That costs 6 CPU-seconds, which no job pays again: workers are forked from the server with everything in memory.
Importing this module does the work, because a fork server can only be told names of modules.
"""

from __future__ import annotations

import importlib
import os
import sys

#: Environment variable that names the modules to import, separated by commas.
VARIABLE = "LAVIT_PRELOAD"

for _name in ("omegaconf", "experiments.job", "lavit.stages.context"):
    importlib.import_module(_name)
for _name in filter(None, os.environ.get(VARIABLE, "").split(",")):
    try:
        importlib.import_module(_name)
    except Exception as error:  # the job that needs it fails with the whole story; the others must go on
        print(f"lavit: {_name} cannot be preloaded ({type(error).__name__}: {error})", file=sys.stderr)
if (_torch := sys.modules.get("torch")) is not None:
    _torch.set_num_threads(1)
