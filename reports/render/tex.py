"""Text for pdfLaTeX: every foreign character escaped, named or replaced, and long words broken."""

from __future__ import annotations

import re
import unicodedata

from reports.render.numbers import plain

# Brackets are braced, since one at the start of a row would be taken for the argument of the line break before it.
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "−": r"$-$", "×": r"$\times$",
    "±": r"$\pm$", "Δ": r"$\Delta$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$",
    "←": r"$\leftarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "·": r"$\cdot$", "†": r"\dag{}",
    "‡": r"\ddag{}", "–": "--", "—": "---", "“": "``", "”": "''", "‘": "`", "’": "'", "…": r"\ldots{}",
    "µ": r"$\mu$", "μ": r"$\mu$", "°": r"$^\circ$", "`": "{`}", "'": "{'}", "-": "{-}", "²": r"$^2$",
    "³": r"$^3$", "\u00a0": "~", "[": "{[}", "]": "{]}",
}  # fmt: skip
LONG = 30  # a longer word in running text may break after every CHUNK characters
CHUNK = 20
MANY = 6  # characters without a glyph that are named in one text; further ones are question marks
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "η": "eta", "θ": "theta", "κ": "kappa",
    "λ": "lambda", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
    "Γ": "Gamma", "Λ": "Lambda", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ω": "Omega", "∞": "infty", "≈": "approx",
    "≠": "neq", "∈": "in", "√": "surd", "⇒": "Rightarrow",
}  # fmt: skip
SPECIAL |= {char: f"$\\{name}$" for char, name in GREEK.items()}


def escape(text: object, limit: int = 0) -> str:
    """Text that pdfLaTeX prints as it is; a character that it has no glyph for becomes its code point."""
    out: list[str] = []
    unknown = 0
    for char in plain(text, limit):
        known = _known(char)
        if known is None:
            unknown += 1
            known = f"{{[}}U+{ord(char):04X}{{]}}" if unknown <= MANY else "?"
        out.append(known)
    text = "".join(out)
    # Behind the end of a row, a star or a bracket would be read as its option.
    return "{}" + text if text[:1] in ("[", "*") else text


def prose(text: object, limit: int = 600) -> str:
    """Escaped running text in which no word is too long for a line."""
    words = []
    for word in plain(text, limit).split(" "):
        parts = [word] if len(word) <= LONG else [word[at : at + CHUNK] for at in range(0, len(word), CHUNK)]
        words.append(r"\hspace{0pt}".join(escape(part) for part in parts))
    return " ".join(words).replace(r" $\times$ ", r"~$\times$~").replace(r"$\pm$ ", r"$\pm$~")


def two_lines(text: str, limit: int) -> tuple[str, str]:
    """Plain text as one line, or as two of about equal length where it is longer than ``limit``.

    It is broken at a space, else behind a sign, else anywhere.
    """
    if len(text) <= limit:
        return text, ""
    middle = len(text) / 2
    for pattern in (r" ", r"[=_,;:/+.−-]", ""):
        places = [found.end() for found in re.finditer(pattern, text) if 0.25 < found.end() / len(text) < 0.75]
        if places:
            at = min(places, key=lambda place: abs(place - middle))
            return text[:at].strip(), text[at:].strip()
    return text, ""


def _known(char: str) -> str | None:
    if char in SPECIAL:
        return SPECIAL[char]
    if not char or ord(char) < 128 or _accented(char):
        return char
    plainer = unicodedata.normalize("NFKD", char)
    return plainer if plainer.isascii() and plainer.isalnum() else None


def _accented(char: str) -> bool:
    """A Latin-1 letter that is a plain letter with an accent: known to inputenc in every encoding."""
    return "\u00c0" <= char <= "\u00ff" and unicodedata.normalize("NFKD", char)[0].isascii() and char.isalpha()
