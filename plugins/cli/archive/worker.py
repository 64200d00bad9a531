"""A worker process of an archive run: it annotates one item at a time, and may crash or hang."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
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

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # then no other item can be written either
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
POLL_SECONDS = 0.25  # between checks of the clock
GRACE_SECONDS = 2.0  # for a process to exit by itself
# These failures may leave the process in a bad state: a new one takes over.
RESTART_AFTER = (Exit.BUG, Exit.COMPUTE)


class AbandonedError(FocusError):
    """The run ends before this item is finished."""


@dataclass(frozen=True)
class Task:
    """One item to annotate.

    Attributes:
        name: its name in the journal.
        job: its input and outputs.
        replace: whether its outputs may overwrite existing files.
    """

    name: str
    job: Job
    replace: bool = False


@dataclass(frozen=True)
class Event:
    """A change in the state of a task.

    Attributes:
        kind: "started" before work on it begins; "frames" for progress now and then; "died" if its process
            died and the task will be tried again; "done" or "failed" at the end.
        task: the task.
        entry: the details: ``frames`` and ``expected``, ``error``, or the entry of `run_job`.
    """

    kind: Literal["started", "frames", "died", "done", "failed"]
    task: Task
    entry: dict[str, Any]


class WorkerProcess:
    """A process, the pipe to it, and its current task."""

    def __init__(self, request: Request, cores: set[int], debug: bool) -> None:
        context = get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        self.process = context.Process(target=work, args=(child_pipe, request, cores, debug), daemon=True)
        # Ctrl-C reaches every process of a terminal, and SIGTERM every process of a service. If blocked here,
        # they stay blocked in the child. Starting the resource tracker unblocks them, and the first `start`
        # would start it: do that beforehand.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        child_pipe.close()  # so that the pipe closes when the process ends
        self.task: Task | None = None
        self.ready = self.proven = False
        self.made = self.heard = time.monotonic()

    def tell(self, task: Task | None) -> None:
        """Send it a task; None tells it to exit."""
        with suppress(OSError):  # it died: the next read of its pipe will show that
            self.pipe.send(task)

    def kill(self) -> None:
        """Kill the process and remove the unfinished outputs of its task."""
        self.process.kill()
        self.process.join(GRACE_SECONDS)
        if self.task is not None:
            remove_leftovers(self.task.job)

    def why(self) -> str:
        """Return how the process ended, as text."""
        self.process.join(GRACE_SECONDS)
        code = self.process.exitcode or 0
        if code >= 0:
            return f"its process ended with {code}"
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (" (out of memory?)" if code == -9 else "")


def remove_leftovers(job: Job) -> None:
    """Remove the unfinished outputs that a killed process left for ``job``."""
    for path in job.names():
        with suppress(OSError):
            temporary_name(path).unlink()


def work(pipe: Connection, request: Request, cores: set[int], debug: bool) -> None:
    """Main function of each worker process, which dies with its parent."""
    _restrict_process(cores)
    with suppress(EOFError, OSError):  # the parent is gone
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


def _restrict_process(cores: set[int]) -> None:
    """Restrict this process to ``cores``, without new privileges or core dumps, first for the OOM killer."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(len(cores))
    if sys.platform != "linux":  # the rest is the Linux kernel's own
        return
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.sched_setaffinity(0, cores)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def answer_to(
    task: Task, engine: Engine, request: Request, pipe: Connection, debug: bool
) -> tuple[str, dict[str, Any]] | None:
    """Run a task and return the answer to it; None if the task was abandoned."""
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
