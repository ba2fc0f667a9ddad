"""Scoring predictions that anyone made, without a model: one module a kind, each a form of ``lavit score``.

A module here that defines ``score(arguments) -> Scored`` is a kind. It also has a docstring whose first line is its
help, ``EXAMPLES``, and ``configure(parser)``; ``--json`` and ``--records`` are added to all.
"""

from __future__ import annotations

import ast
from pathlib import Path


def kinds() -> dict[str, str]:
    """Kind → one line of help, in alphabetical order, read from the sources: nothing is imported."""
    found = {}
    for path in sorted(Path(__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "score" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")
    return found
