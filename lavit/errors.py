"""The error that a user can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations


class LavitError(Exception):
    """Bad input or a bad setting; shown as one screen of text, without a traceback.

    Args:
        message: what is wrong, naming the file, line, key or value.
        remedy: what to do about it.
    """

    def __init__(self, message: str, remedy: str = ""):
        super().__init__(f"{message}\n{remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy
