"""Finding Java and the jars that pycocoevalcap ships, and starting them so that nothing is written beside them."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

INSTALL = "install a Java runtime (Debian: apt-get install default-jre-headless) and have `java` in PATH"


@functools.cache
def _probe(java: str) -> str | None:
    """What keeps this program from running as Java; None where it does run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{java} does not start ({type(error).__name__})"
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        return f"{java} does not run ({said[0] if said else f'it ended with code {done.returncode}'})"
    return None


def find_java() -> tuple[str | None, str]:
    """The Java program, of ``PATH`` or of ``JAVA_HOME``; or None and why there is none, with what to do."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java") or (shutil.which("java", path=str(Path(home) / "bin")) if home else None)
    if found is None:
        return None, f"there is no Java here: {INSTALL}"
    trouble = _probe(found)
    return (found, "") if trouble is None else (None, f"{trouble}: {INSTALL}")


def jar(*parts: str) -> Path:
    """A file of the installed pycocoevalcap, e.g. ``jar("meteor", "meteor-1.5.jar")``; it need not be there."""
    spec = importlib.util.find_spec("pycocoevalcap")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0] if places else "pycocoevalcap", *parts)
