"""Output that never fails: no missing letter, closed pipe or full disk stops a build.

In: text and a stream. Out: the text, with letters that the stream cannot show as ``\\u3042``, or
nothing where nobody reads. This file does not know what is said.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

# a closed pipe, a closed terminal, Windows' word for a pipe
LOST_READER = (errno.EPIPE, errno.EIO, errno.EINVAL)


class Forgiving:
    """A text stream around another one: `write` and `flush` never raise, the rest is the other's.

    `problem` is the error that ended the output early, e.g. a full disk, or None; a reader who left
    is none.
    """

    def __init__(self, stream):
        self.stream, self.problem = stream, None

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            try:  # the whole text at once, which nearly always works
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(self.stream, "encoding", None) or "ascii"
                self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except Exception as error:  # whatever a stream may do: text is never worth a build
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """The buffer's rest goes nowhere, or Python itself would complain about it in the end."""
        if isinstance(error, OSError) and error.errno not in LOST_READER:
            self.problem = error
        # a stream of a notebook has no file number: then there is nothing to redirect
        with contextlib.suppress(Exception):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def say(text: str) -> None:
    """Print one line, or several, to standard output. Never raises."""
    if sys.stdout is not None:  # as under pythonw
        stream = Forgiving(sys.stdout)
        stream.write(f"{text}\n")
        stream.flush()


@contextlib.contextmanager
def forgiving_output() -> Iterator[None]:
    """Standard output and error are `Forgiving` inside, for our code, progress bars and libraries.

    Raises the `OSError` of output that could not be written (a full disk) in the end, when all work
    is done.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and Forgiving(stream) for stream in before)
    mine = sys.stdout  # the block may put other streams in its place
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before
    if mine is not None and mine.problem is not None:
        raise mine.problem
