"""What a result depends on besides its config: the code's git state, the packages, the machine."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

VENDORED = "_vendor"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or not a checkout: an installed package has no commit
    return done.stdout


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """``commit``, ``dirty`` and ``diff`` of the checkout that the code runs from; all None where there is none."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None, "diff": None}
    changed = _git("status", "--porcelain", "--untracked-files=no") or ""
    return {"commit": commit.strip(), "dirty": bool(changed.strip()), "diff": _git("diff", "HEAD") or ""}


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Python, platform, processor, cores and the version of every installed package."""
    from importlib.metadata import distributions

    packages: dict[str, str] = {}
    for found in distributions():
        # Importing setuptools puts its own copies of packages on the path, which nobody else imports.
        if (name := found.metadata["Name"]) and VENDORED not in Path(str(found.locate_file(""))).parts:
            packages.setdefault(name, found.version)  # of two the first is the one that is imported
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


#: Packages whose version may change a result.
NUMERIC = ("torch", "numpy", "lightning", "transformers", "tokenizers", "safetensors", "diffusers", "pillow")


def stage_environment() -> dict[str, Any]:
    """What this process computes with, as it is recorded beside each stage: a few milliseconds, nothing is imported."""
    git = git_commit()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "processor": _processor(),
        "gpu": _gpu(),
        "threads": torch.get_num_threads() if (torch := sys.modules.get("torch")) is not None else None,
        "packages": {name: found for name in NUMERIC if (found := _version(name)) is not None},
        "git": git,
    }


@lru_cache(maxsize=1)
def git_commit() -> dict[str, Any]:
    """``commit`` and ``dirty`` alone: cheaper than :func:`git_state`."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None}
    changed = _git("status", "--porcelain", "--untracked-files=no") or ""
    return {"commit": commit.strip(), "dirty": bool(changed.strip())}


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    """The accelerator's name where this process has used one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return str(torch.cuda.get_device_name())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []  # not Linux
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def requirements_text() -> str:
    """The environment as lines that pip reads."""
    packages = environment()["packages"]
    head = f"# python {environment()['python']}, {environment()['platform']}\n"
    return head + "".join(f"{name}=={version}\n" for name, version in packages.items())
