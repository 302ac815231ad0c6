"""The stop button: a signal is noted, and the loop stops where it can go on later.

In: SIGINT (Ctrl-C, a notebook's stop button) or SIGTERM (a cluster that wants its machine back).
Out: a flag. This file does not know what is interrupted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupt:
    """Between entering and leaving, the first signal only sets `asked`. A second one raises, as
    does any within `at_once`, where nothing would be lost.

    patient  a second one does not raise either: a launcher passes signals on, often twice
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, patient: bool = False):
        self.asked = False
        self.patient = patient
        self._at_once = False
        self._before: dict = {}

    def __enter__(self) -> Interrupt:
        # Python handles signals in its main thread alone: in others nothing changes
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():  # None: not set from Python
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal raises `KeyboardInterrupt`: for long work that leaves nothing."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._at_once or (self.asked and not self.patient):
            raise KeyboardInterrupt(
                "training: stopped. Run the same cell or command again: it goes on."
            )
        self.asked = True
