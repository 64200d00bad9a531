"""One process of an archive: it annotates an item at a time, and may die or stand still."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import cv2

from br2focus.plugins.cli.exits import Exit, code_of, line_of
from br2focus.plugins.cli.jobs import Job
from br2focus.plugins.cli.request import Request
from br2focus.plugins.cli.running import notices_of, run_job
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.errors import FocusError
from br2focus.realtime.output import make_folder, temporary_name
from br2focus.realtime.sinks.totals import Totals

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other item can be written either
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
POLL_SECONDS = 0.25  # between two looks at the clock
GRACE_SECONDS = 2.0  # that processes have to end by themselves
# Who knows what state such an end left behind: a new process goes on.
RESTART_AFTER = (Exit.BUG, Exit.COMPUTE)


class AbandonedError(FocusError):
    """The run ends before this item does."""


@dataclass(frozen=True)
class Task:
    """One item to be done.

    Attributes:
        name: what the journal knows it by.
        job: its input and outputs.
        replace: what is under the names of its outputs may be replaced.
    """

    name: str
    job: Job
    replace: bool = False


@dataclass(frozen=True)
class Event:
    """What became of a task.

    Attributes:
        kind: "started" before it is begun; then "frames" now and then; "died" where its process did and it is
            tried again; at the end "done" or "failed".
        task: which.
        entry: what there is to say: ``frames`` and ``expected``, ``error``, or the entry of `run_job`.
    """

    kind: Literal["started", "frames", "died", "done", "failed"]
    task: Task
    entry: dict[str, Any]


class WorkerProcess:
    """A process, its pipe, and the task that it has in hand."""

    def __init__(self, request: Request, cores: set[int], debug: bool) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, request, cores, debug), daemon=True)
        # A Ctrl-C reaches every process of a terminal, and SIGTERM every one of a service: blocked here, they
        # are blocked in the child for good. Starting the tracker, which the first would do, unblocks them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that the pipe ends with the process
        self.task: Task | None = None
        self.ready = self.proven = False
        self.made = self.heard = time.monotonic()

    def tell(self, task: Task | None) -> None:
        """Give it a task, or None to end."""
        with suppress(OSError):  # it died: its pipe says so when it is read
            self.pipe.send(task)

    def kill(self) -> None:
        """End it by force, and take away what it left unfinished."""
        self.process.kill()
        self.process.join(GRACE_SECONDS)
        if self.task is not None:
            remove_leftovers(self.task.job)

    def why(self) -> str:
        """How the process ended."""
        self.process.join(GRACE_SECONDS)
        code = self.process.exitcode or 0
        if code >= 0:
            return f"its process ended with {code}"
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (" (out of memory?)" if code == -9 else "")


def remove_leftovers(job: Job) -> None:
    """Remove what a process that was killed left unfinished of ``job``."""
    for path in job.names():
        with suppress(OSError):
            temporary_name(path).unlink()


def work(pipe: Connection, request: Request, cores: set[int], debug: bool) -> None:
    """What each process runs; it dies with the one that started it."""
    _limit_itself(cores)
    with suppress(EOFError, OSError):  # nobody listens any more
        try:
            engine = Engine(request.focus)
        except Exception as error:
            pipe.send(("broken", {"error": line_of(error)}))
            return
        pipe.send(("ready", {"notices": notices_of(engine, request)}))
        while (task := pipe.recv()) is not None:
            answer = answer_to(task, engine, request, pipe, debug)
            if answer is None:
                return
            pipe.send(answer)
            if answer[1].get("exit") in RESTART_AFTER:
                return


def _limit_itself(cores: set[int]) -> None:
    """Keep to ``cores``, gain no right, leave no core dump, and be the first to go when memory is short."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.sched_setaffinity(0, cores)
    cv2.setNumThreads(len(cores))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def answer_to(
    task: Task, engine: Engine, request: Request, pipe: Connection, debug: bool
) -> tuple[str, dict[str, Any]] | None:
    """The answer to a task; None where it was abandoned."""
    reported = time.monotonic()

    def show(done: int, expected: int | None) -> bool:
        nonlocal reported
        if pipe.poll():
            raise AbandonedError("abandoned")
        if time.monotonic() - reported > POLL_SECONDS:
            reported = time.monotonic()
            pipe.send(("frames", {"frames": done, "expected": expected}))
        return False

    totals = Totals()
    request = replace(request, force=task.replace)
    try:
        for path in task.job.names():
            make_folder(path.parent)
        entry = run_job(task.job, engine, request, show, part=Path.unlink, also=[totals])
    except AbandonedError:
        return None
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        cause = error.__cause__ or error
        full = getattr(cause, "errno", None) in DISK_FULL
        return "failed", {"error": line_of(error), "exit": int(code_of(error)), "full": full}
    return "done", entry | totals.summary()
