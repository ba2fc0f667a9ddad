"""Being asked to stop: signals become a flag that a stage looks at between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What a cluster sends before it takes a machine back (SIGTERM, SIGUSR1; submitit asks for SIGUSR2).
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class StopFlag:
    """Whether somebody asked this process to stop, and whether the stage looks at it by itself.

    Attributes:
        signal: the signal that asked; None while nobody did.
        looked: whether the stage ever asked: one that does saves its state before it ends, one that does not may be
            interrupted anywhere.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.looked = False

    @property
    def requested(self) -> bool:
        """Whether somebody asked; for the engine."""
        return self.signal is not None

    def __call__(self) -> bool:
        """Whether somebody asked; for the stage."""
        self.looked = True
        return self.signal is not None

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """The signal handler."""
        self.signal = number


def was_asked(error: BaseException, flag: StopFlag) -> bool:
    """Whether an attempt ended because it was asked to: it saved where it was, or was interrupted on its way out."""
    # By name: the model's package, which raises it, is not imported for this.
    return type(error).__name__ == "Preempted" or (flag.requested and not isinstance(error, Exception))


class Terminated(KeyboardInterrupt):
    """The driver was asked to end by a signal: as Ctrl-C, but its exit code says which one.

    Attributes:
        code: the exit code, 128 + the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def end_on_signals() -> None:
    """Make SIGTERM and SIGUSR1 end a launch in order: its workers save where they are, and the driver says so."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, end)


@contextmanager
def stop_on_signals(flag: StopFlag, forward: bool = False) -> Iterator[None]:
    """Let :data:`SIGNALS` set a flag while the context lasts.

    With ``forward``, what handled them before gets the signal afterwards (submitit's handler queues the job again).

    Outside of a main thread signals cannot be caught: then the flag is never set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, flag.ask) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if forward and flag.signal is not None and callable(earlier := before[signal.Signals(flag.signal)]):
            earlier(flag.signal, None)
