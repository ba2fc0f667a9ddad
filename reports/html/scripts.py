"""Scripts and data of the page: text that cannot end its own element, and hashes for the security policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

SURROGATE = re.compile("[\ud800-\udfff]")  # what no encoder can write


def as_json(document: Any) -> str:
    """JSON for a `<script type="application/json">`; nothing in it can close the element or start another."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char, code in (
        ("&", "\\u0026"),
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(char, code)
    return SURROGATE.sub("\ufffd", text)


def asset(name: str) -> str:
    """A file of this folder."""
    return files("reports.html").joinpath(name).read_text(encoding="utf-8")


@cache
def chart_scripts() -> tuple[str, str]:
    """(the Vega library, our script that draws with it).

    Vega-Lite is the drawing library because its interpreter evaluates expressions without `eval`, which the page's
    policy forbids, it draws SVG, and vl-convert ships it in a wheel: nothing is fetched, and the same version gives the
    same bytes. It is read here and not at import: making the bundle takes a second and a half, once a process.
    """
    import vl_convert

    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub forgets the default
    # In a function of its own, since its short top-level names would clash with another script's.
    return f"(function () {{\n{bundle}\n}})();".replace("</script", "<\\/script"), asset("charts.js")


def policy_hashes(scripts: list[str]) -> str:
    """The sources of `script-src` that allow these inline scripts and no other."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
