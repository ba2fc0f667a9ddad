"""Two hundred strings that mean harm, and a study made of them; `harmless` gives the same study without harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

FLAG = "window.hacked=1"

MARKUP = [
    f"<script>{FLAG}</script>",
    f"</script><script>{FLAG}</script>",
    f"</ScRiPt ><sCrIpT src=data:,{FLAG}>",
    f"<img src=x onerror={FLAG}>",
    f"<img/src=`x`onerror={FLAG}>",
    f"<svg onload={FLAG}>",
    f"<svg><script>{FLAG}</script></svg>",
    f"<svg><animate onbegin={FLAG} attributeName=x dur=1s>",
    f"<body onload={FLAG}>",
    f"<iframe srcdoc='<script>parent.{FLAG}</script>'></iframe>",
    f"<iframe src=javascript:parent.{FLAG}>",
    f"<object data=javascript:{FLAG}>",
    f"<embed src=javascript:{FLAG}>",
    f"<details open ontoggle={FLAG}>x",
    f"<input autofocus onfocus={FLAG}>",
    f"<video><source onerror={FLAG}></video>",
    f"<marquee onstart={FLAG}>x</marquee>",
    f"<a href=javascript:{FLAG}>x</a>",
    f"<form action=javascript:{FLAG}><button autofocus>x</form>",
    f"<math><mtext><script>{FLAG}</script></mtext></math>",
    f"<template><script>{FLAG}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={FLAG}>'>",
    f"<style>@import 'http://evil.example/x.css';</style><style onload={FLAG}>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<base href=http://evil.example/>",
    "<img src=http://evil.example/pixel.png>",
    "<video poster=http://evil.example/p.png autoplay src=http://evil.example/v.mp4>",
    "<!-- unclosed comment",
    "--><b>bold</b><!--",
    "<![CDATA[x]]>",
    "]]><b>x",
    "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
    "<plaintext>",
    "<textarea>",
    "</textarea><b>x",
    "<title>x</title>",
    "</title></head><body>",
    "</td></tr></table><h1>out</h1>",
    "</bdi></th><th>more",
    "</pre></details><h1>out</h1>",
    "</main></body></html>",
    "<table><tr><td>",
    "<select><option>",
    "<h1>heading</h1>",
    "<b><i><u>",
    "<p id=findings>",
    "<div id=data></div>",
    "<form id=f-text>",
    "<a name=constructor><a name=__proto__>",
]
ATTRIBUTES = [
    f'" onmouseover="{FLAG}',
    f"' onmouseover='{FLAG}",
    f'"><script>{FLAG}</script>',
    f"'><script>{FLAG}</script>",
    f"` onmouseover=`{FLAG}",
    f'" autofocus onfocus="{FLAG}" x="',
    f'" style="background:url(javascript:{FLAG})',
    '" style="position:fixed;inset:0;background:red',
    f"javascript:{FLAG}",
    f"JaVaScRiPt:{FLAG}",
    f"java\tscript:{FLAG}",
    f"data:text/html,<script>{FLAG}</script>",
    f"vbscript:{FLAG}",
    "http://evil.example/?q=",
    "//evil.example",
    "#ex=<script>",
    "#cell=main/default/x",
]
ENTITIES = ["&lt;script&gt;", "&#x3c;b&#x3e;", "&amp;amp;", "&", "&;", "&nbsp;", "&#0;", "&#xD800;", "&zwnj;", "&copy"]
LATEX = [
    r"\write18{touch hacked}",
    r"\immediate\write18{id}",
    r"\input{/etc/passwd}",
    r"\include{x}",
    r"\openout15=hacked.txt",
    r"\catcode`\@=11",
    r"\def\textbf#1{#1#1}",
    r"\end{tabular}",
    r"\end{document}",
    r"\begin{verbatim}",
    r"\\ \hline \\",
    r"\loop\iftrue\repeat",
    r"\csname end\endcsname",
    r"\usepackage{x}",
    r"\makeatletter",
    r"\verb|x|",
    r"\par\newpage",
    "\\",
    "\\\\",
    "{",
    "}",
    "{{{",
    "}}}",
    "$",
    "$$",
    "$x^2$",
    r"$\frac{1}{$",
    r"$\badcommand{$x$",
    "%",
    "100% & #1 _x_ ^y^ ~z~",
    "# & % $ _ { } ~ ^ \\",
    "^^M^^41",
    "~~~",
    "''``--- ?` !`",
    '"a "o',
    "[x]",
    "*",
    "&&&&",
    "±×−→↑✓‡",
    "½ ² Å ß Ω µ",
]
TEMPLATES = [
    "{{7*7}}",
    "{{ config.__class__ }}",
    "{% raw %}",
    "{% include 'x' %}",
    "{# comment #}",
    "${7*7}",
    "<%= 7*7 %>",
    "#{7*7}",
    "{0.__class__}",
    "%s %d %n",
    "%(name)s",
    "{}",
    "{arm}",
    "{{ '}}' }}",
]
TABLES = [
    '=HYPERLINK("http://evil.example","x")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    '"a","b"',
    "a,b;c",
    "a\nb\nc",
    "a\r\nb",
    "| a | b |",
    "|---|---|",
    "\\|",
    "`code`",
    "```\nfence\n```",
    "**bold** _em_ ~~x~~",
    f"[x](javascript:{FLAG})",
    "![x](http://evil.example/x.png)",
    "<http://evil.example>",
    "> quote",
    "- item",
    "1. item",
    "# heading",
    "---",
    "&#124;",
]
UNICODE = [
    "\u202edrowssap\u202c",
    "\u2066left\u2069",
    "\u200f\u200e",
    "שלום עולם",
    "مرحبا بالعالم",
    "a\u200bb\u200cc\u200dd",
    "\ufeffbom",
    "Z\u0361\u0321a\u0334l\u0335g\u0336o" + "\u0300" * 60,
    "e\u0301",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈",
    "𝒜𝓫",
    "﷽",
    "ﬁ",
    "漢字かな한글",
    "\ue000private",
    "\ufffe",
    "\u00ad soft",
    "\u2028line\u2029paragraph",
    "\u0085next",
    "\x00nul\x00",
    "\x07\x08\x0b\x0c\x1b[31mred\x1b[0m",
    "\x7fdelete",
    "\u3000wide",
    "İı",
]
PROGRAMS = [
    "'; DROP TABLE runs; --",
    "../../../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "C:\\Windows",
    "~root",
    "$(id) `id`",
    "; rm -rf x",
    "a/b/../c",
    "CON",
    ".hidden",
    "*?[x]",
    "!!python/object/apply:os.system ['true']",
    "&anchor *anchor",
    "key: [value, {x: y}]",
    "yes",
    "null",
    "1e999",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "undefined",
    "NaN",
]
LONG = ["a" * 10_000, "word " * 2_000, "<b>" * 3_000, "\\" * 500, "W" * 400]
EACH: list[str] = [*MARKUP, *ATTRIBUTES, *ENTITIES, *LATEX, *TEMPLATES, *TABLES, *UNICODE, *PROGRAMS, *LONG]
ARMS = 24


def harmless(text: str) -> str:
    """A text that means nothing, of the same length class, different for every string."""
    return f"word {EACH.index(text)}" + (" x" * 100 if len(text) > 300 else "")


def same(text: str) -> str:
    """The text itself."""
    return text


def arm_names(of: Callable[[str], str] = same) -> list[str]:
    """Twenty-four names, from every group of strings."""
    step = len(EACH) / ARMS
    return [of(EACH[int(i * step)]) for i in range(ARMS)]


def write_study(folder: Path, of: Callable[[str], str] = same) -> Path:
    """A study in which every name and every text is one of the strings, as `of` gives them."""
    strings = [of(text) for text in EACH]
    arms, (axis, name, question) = arm_names(of), (of(MARKUP[1]), of(MARKUP[0]), of(MARKUP[3]))
    benchmarks = [of(MARKUP[45]), of(PROGRAMS[1]), of(TABLES[0])]
    (folder / "records").mkdir(parents=True)
    (folder / "images").mkdir()
    document: dict[str, Any] = {
        "name": name,
        "question": question,
        "axes": {axis: [f"{level} " for level in arms]},
        "arms": {arm: {axis: f"{arm} "} for arm in arms},
        "default": arms[0],
        "headline": f"{benchmarks[0]}/score",
        "seeds": [0, 1],
        "conditional_on": strings[:60],
        "voids": [{"arm": {axis: f"{arms[0]} "}, "why": strings[5]}],
        "notes": {arm: strings[i] for i, arm in enumerate(arms[:4])},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    rng, entries = np.random.default_rng(0), []
    for a, arm in enumerate(arms):
        for seed in (0, 1):
            rows = [_row(strings, benchmark, b, e, a, rng) for b, benchmark in enumerate(benchmarks) for e in range(24)]
            records = pd.DataFrame(rows)
            records.insert(0, "seed", seed)
            records.insert(0, "arm", arm)
            records.insert(0, "study", name)
            records.to_parquet(folder / "records" / f"arm{a}-s{seed}.parquet", index=False)
            entries.append(_entry(strings, arm, seed, a))
    header = {
        "git": {"commit": strings[0], "dirty": False},
        "environment": {strings[1]: strings[2], "packages": {strings[3]: strings[4]}},
        "confounds": [strings[6]],
        "frozen": {"date": strings[7], "deviations": strings[8:12], "history": []},
        "runs": entries,
    }
    (folder / "runs.json").write_text(json.dumps(header))
    tracked = {"tracking_uri": f"javascript:{FLAG}", "experiment_id": strings[0]}
    (folder / "mlflow.json").write_text(json.dumps(tracked))
    return folder


def _row(strings: list[str], benchmark: str, b: int, e: int, a: int, rng: np.random.Generator) -> dict[str, Any]:
    place = b * 24 + e
    return {
        "benchmark": benchmark,
        "split": "test",
        "example_id": f"{strings[place]} {place}",
        "cluster_id": f"{strings[place + 1]} {place}",
        "kind": strings[e % 3],
        "prompt": strings[(place + 72) % len(strings)],
        "prediction": strings[(a * 24 + place) % len(strings)],
        "reference": json.dumps([strings[(place + 144) % len(strings)]]),
        "score": float(rng.random() < 0.5),
    }


def _entry(strings: list[str], arm: str, seed: int, a: int) -> dict[str, Any]:
    return {
        "arm": arm,
        "seed": seed,
        "status": "done",
        "command": strings[a],
        "mlflow_run_id": strings[a + 1],
        "stage_keys": {strings[a + 2]: strings[a + 3]},
        "wall_s": {strings[a + 2]: 3.0},
        "git": {"commit": strings[20]},
        "skipped": {strings[a]: strings[a + 4]},
        "metrics": {strings[a]: 1.0},
        "ledgers": {strings[a + 2]: {strings[50]: 5.0, "flops": 1e9}},
        "fingerprints": {
            "x": {"hash": strings[12], "line": strings[13], "hygiene": strings[14], "parts": {strings[15]: strings[16]}}
        },
    }
