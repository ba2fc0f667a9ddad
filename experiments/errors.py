"""The one error that a user is meant to see: a sentence that names what is wrong, and a hint that says what
to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LavitError(Exception):
    """A mistake in a file, an override or a folder; the command line prints it on one screen, without a
    traceback.

    Args:
        message: what is wrong, naming the file, the key and the value.
        hint: what to do about it (optional, printed on a line of its own).
    """

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


def nearest(word: object, known: Iterable[object]) -> str | None:
    """Return the known word that `word` most likely meant, or None where nothing is near.

    The comparison ignores case, and of a dotted key also looks at the last part alone.
    """
    names = {str(k): str(k).lower() for k in known}
    wanted = str(word).lower()
    found = difflib.get_close_matches(wanted, names.values(), n=1, cutoff=0.55)
    if not found:
        tails = {name: lower.rsplit(".", 1)[-1] for name, lower in names.items()}
        found = difflib.get_close_matches(wanted.rsplit(".", 1)[-1], tails.values(), n=1, cutoff=0.7)
        names = tails
    return next((name for name, lower in names.items() if found and lower == found[0]), None)


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return "did you mean X?" when something is near, else the list of what there is."""
    names = [str(k) for k in known]
    near = nearest(word, names)
    listed = ", ".join(names) if names else "nothing"
    return f"did you mean '{near}'? (there is: {listed})" if near else f"there is: {listed}"


class Complaint:
    """Makes errors that name the file, the key and the value.

    Args:
        file: the file that is being read, as it is to be shown.
    """

    def __init__(self, file: str):
        self.file = file

    def __call__(self, key: str, problem: str, hint: str | None = None) -> LavitError:
        """Return the error for `key` of this file."""
        return LavitError(f"{self.file}: {key}: {problem}", hint)
