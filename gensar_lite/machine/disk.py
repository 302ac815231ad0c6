"""What the file system refuses, in one sentence with the next step.

In: an exception. Out: words for those of disks, folders and rights; None for every other one.
This file does not know which stage was at work.
"""

import errno
import os
import re

from safetensors import SafetensorError

# the next step depends on the kind of refusal; systems have several numbers for each
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST)
_ADVICE = {
    _FULL: "Make room, or choose a folder on another disk with --workspace; finished stages are "
    "kept.",
    _DENIED: "Change its permissions, or choose a folder that you may write with --workspace.",
    _NO_FOLDER: "A folder is needed in this place: --workspace must not lead through a file.",
    (errno.ENAMETOOLONG,): "Choose a shorter name.",
    (errno.ENOENT,): "Check that it is there.",
}


def disk_problem(error: BaseException) -> str | None:
    """``FILE: reason. Next step.`` for an error of the file system, None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, SafetensorError):  # it keeps the number in its text alone
        match = re.search(r"os error (\d+)", str(error))
        number = int(match[1]) if match else None
    if number is None and not isinstance(error, OSError):
        return None
    first = next(iter(str(error).splitlines()), type(error).__name__)
    reason = os.strerror(number) if number else first
    place = getattr(error, "filename", None)
    # a lock or a temporary folder fails without naming its place
    if number in _DENIED + _NO_FOLDER and place is None:
        place = "the folder"
    where = f"{os.fsdecode(place)}: " if isinstance(place, str | bytes) else ""
    advice = [words for numbers, words in _ADVICE.items() if number in numbers]
    return f"{where}{reason}. {advice[0] if advice else 'Try it again.'}"
