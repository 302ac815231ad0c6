"""Killing a training at a chosen instant, in forked processes, and what a second start makes of it.

In: a function that makes a trainer over a checkpoint folder. Out: what a run ends with, to be
compared bit by bit. An instant is a moment in time, or a *tick*: before, within or after a call
that writes, renames, removes, steps or validates. The parent must have built no trainer, and must
compute with one thread: a fork keeps no other thread. This file does not know what is trained.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from gensar_lite.artifacts import file_digest
from gensar_lite.machine.processes import rank_and_world
from gensar_lite.training.loop import checkpoint
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.loop.state import learned_tensors

Make = Callable[[Path], Trainer]
# phases of a run: where the function hangs, and its name
PHASES = {
    "step": (Trainer, "_one_step"),
    "validation": (Trainer, "_validated"),
    "write": (checkpoint, "save_file"),
    "link": (os, "link"),
    "sync": (os, "fsync"),
    "manifest": (checkpoint, "write_json"),
    "rename": (os, "rename"),
    "remove": (shutil, "rmtree"),
}


def run_once(
    make: Make,
    folder: Path,
    world: int = 1,
    tick: int = -1,
    delay: float = math.inf,
    victim: int = 0,
) -> bool:
    """Start a run on `world` processes, and end it by SIGKILL at the `tick` of process `victim`, or
    after `delay` seconds, or not at all. Returns whether it came to its end, see `result`.

    Raises `RuntimeError` with the end of its log when it failed by itself.
    """

    def job(rank: int) -> None:
        _train(make, folder, rank, tick if rank == victim else -1)

    return run_together(job, folder, world, delay)


def run_together(
    job: Callable[[int], None], folder: Path, world: int, delay: float = math.inf
) -> bool:
    """Fork `world` processes that find one another as a launcher's would, and call ``job(rank)`` in
    each. When one is killed, or `delay` seconds have passed, all are. Returns whether all came to
    their end."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as door:  # any port that is free now
        port = door.getsockname()[1]
    waiting = {_fork(job, folder, rank, world, port) for rank in range(world)}  # process numbers
    until = time.monotonic() + delay
    codes: dict[int, int] = {}
    # 1. wait until all have ended, one ended badly, or the time has come
    while waiting and not any(codes.values()) and time.monotonic() < until:
        time.sleep(0.002)
        codes |= _ended(waiting)
    if any(codes.values()):
        time.sleep(0.1)  # one that lost its partner may be seen before the partner that died
        codes |= _ended(waiting)
    # 2. kill what is left, as a machine that goes down would
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    # 3. a positive code without any negative one: nobody was killed, the job itself failed
    if any(codes.values()) and min(codes.values()) >= 0:
        logs = [path.read_text()[-2000:] for path in sorted(folder.glob("rank-*.log"))]
        raise RuntimeError("\n".join(logs))
    return not waiting and not any(codes.values())


def _ended(waiting: set[int]) -> dict[int, int]:
    """Exit codes (negative: a signal) of the processes that have ended; they leave `waiting`."""
    codes = {}
    for pid in list(waiting):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            codes[pid] = os.waitstatus_to_exitcode(status)
            waiting.discard(pid)
    return codes


def ticks(folder: Path) -> list[str]:
    """What happened in the first process of a finished run, in order: ``before write``, ..."""
    return json.loads((folder / "ticks.json").read_text())


def result(folder: Path) -> dict:
    """What a finished run ended with: its curve without seconds, digests of all it learned."""
    return json.loads((folder / "result.json").read_text())


def _train(make: Make, folder: Path, rank: int, tick: int) -> None:
    """One process of a run; the first one writes what happened and what the run ended with."""
    trainer = make(folder / "checkpoints")
    happened = _listen(tick)
    curve = trainer.fit()
    if rank > 0:
        return
    files = sorted((folder / "checkpoints").glob("step-*"))[-1].glob("*.safetensors")
    end = {
        "curve": [{k: v for k, v in row.items() if k != "seconds"} for row in curve],
        "weights": _digest(learned_tensors(trainer.model)),
        "files": {path.name: file_digest(path) for path in sorted(files)},
    }
    (folder / "ticks.json").write_text(json.dumps(happened))
    (folder / "result.json").write_text(json.dumps(end))


def _listen(tick: int) -> list[str]:
    """Wrap every phase's function; returns the list that grows with each tick. At its number `tick`
    this process kills itself, in the midst of whatever it does."""
    happened: list[str] = []

    def note(instant: str, torn: Path | None = None) -> None:
        if len(happened) == tick:
            if torn is not None:  # a file of which only half has reached the disk
                os.truncate(torn, torn.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        happened.append(instant)

    def wrapped(phase: str, real: Callable) -> Callable:
        def call(*args, **options):
            note(f"before {phase}")
            # a killed process loses nothing that it gave to the system, synced or not: only a lost
            # machine does, so syncing is skipped, which takes most of the time
            value = None if phase == "sync" else real(*args, **options)
            if phase == "write":
                note("within write", args[1])
            note(f"after {phase}")
            return value

        return call

    for phase, (owner, name) in PHASES.items():
        setattr(owner, name, wrapped(phase, getattr(owner, name)))
    return happened


def _fork(job: Callable[[int], None], folder: Path, rank: int, world: int, port: int) -> int:
    """The number of a new process that does ``job(rank)`` and ends: it never returns from here."""
    sys.stdout.flush()  # else both would print what is buffered
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        end_with_parent()
        log = os.open(folder / f"rank-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if world > 1:  # as a launcher's children find one another
            names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world}
            names |= {"LOCAL_WORLD_SIZE": world, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
            os.environ.update({name: str(value) for name, value in names.items()})
        assert rank_and_world() == (rank, world), "the processes did not find one another"
        job(rank)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # without the parent's clean-up, which is its own


def end_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() == 1:  # it has died already
            os._exit(1)


def _digest(tensors: dict) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
