"""The shell's door to the functions that notebooks call: ``gensar`` and ``python -m gensar_lite``.

In: command-line words. Out: exit status 0, or 1 with a clear line on what to do next. This file
does not know what the verbs do.
"""

import sys

from gensar_lite.config import ConfigError
from gensar_lite.machine.console import forgiving_output
from gensar_lite.machine.disk import disk_problem
from gensar_lite.verbs import parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Errors that we foresee become one line; others keep their traceback."""
    try:
        # a console that lacks a letter, or a reader who left, must not end a build
        with forgiving_output():
            return _answer(arguments)
    except OSError as error:  # of the output itself, when all is done
        return _told(f"the output could not be written: {disk_problem(error)}")


def _answer(arguments: list[str] | None) -> int:
    try:
        words = parser().parse_args(arguments)
        return words.run(words) or 0  # None is success
    except KeyboardInterrupt as stop:
        again = "stopped. Run the same command again: finished stages are reused."
        return _told(str(stop) or again, 130)
    except ConfigError as error:
        return _told(str(error))
    except OSError as error:
        return _told(disk_problem(error))
    except Exception as error:
        # imported late: pandas comes with them, which a wrong word need not wait for
        from data_download import DownloadError
        from gensar_lite.artifacts import ArtifactError

        if isinstance(error, ArtifactError | DownloadError):
            return _told(str(error))
        raise


def _told(problem: str, status: int = 1) -> int:
    print(f"gensar: {problem}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
