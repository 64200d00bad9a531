"""Processes that annotate the items of an archive: one that dies or stands still takes no other with it."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import cv2

from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.errors import ComputeError, FocusError, SinkError
from br2focus.realtime.output import make_folder, temporary_name
from br2focus.realtime.sinks.totals import Totals

from .exits import Exit, code_of, line_of, say
from .jobs import Job
from .request import Request
from .running import notices_of, run_job

TRIES = 3  # of an item whose process died or stood still
STARTS = 10  # in a row of processes that died before they could work
POLL_SECONDS = 0.25  # between two looks at the clock
GRACE_SECONDS = 2.0  # that processes have to end by themselves
WARM_UP_SECONDS = 60.0  # that the first process has for itself
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other item can be written either
# Who knows what state such an end left behind: a new process goes on.
RESTART_AFTER = (Exit.BUG, Exit.COMPUTE)


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


class AbandonedError(FocusError):
    """The run ends before this item does."""


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


class Workers:
    """Does tasks in processes, each with a pipe of its own: of a shared queue, a killed one keeps the lock.

    The second process begins when the first has computed something: what is measured and converted once is
    then there.

    Args:
        request: how to annotate.
        count: processes; each has an equal part of the cores.
        patience: seconds without a frame after which a process is killed.
        debug: show a traceback of what fails.
    """

    def __init__(self, request: Request, *, count: int, patience: float = 300.0, debug: bool = False) -> None:
        self._request, self._patience, self._debug = request, patience, debug
        cores = sorted(os.sched_getaffinity(0))
        self._slots = {number: set(cores[number::count]) or set(cores) for number in range(count)}
        self._workers: dict[int, WorkerProcess] = {}
        self._waiting: deque[Task] = deque()
        self._deaths: Counter[str] = Counter()
        self._early_deaths = 0
        self._said: set[str] = set()

    def run(self, tasks: Iterator[Task], *, stop: Callable[[], bool]) -> Iterator[Event]:
        """Do ``tasks`` in order, as far as processes come free; ends early where ``stop`` says so.

        What is in hand when it ends early is given up: nothing of it is left.

        Raises:
            ComputeError: the model cannot be run.
            SinkError: the disk is full.
        """
        try:
            while not stop():
                self._waiting.extend(islice(tasks, max(len(self._slots) - len(self._waiting), 0)))
                if not self._waiting and not any(worker.task for worker in self._workers.values()):
                    break
                self._hire()
                yield from self._hand_out()
                before = time.monotonic()
                yield from self._hear(POLL_SECONDS)
                self._lose_patience(asleep=time.monotonic() - before > POLL_SECONDS + GRACE_SECONDS)
            yield from self._end_workers()
        finally:
            for worker in self._workers.values():
                worker.kill()

    def _hire(self) -> None:
        """A process for each part of the cores that has none, where there is work for it."""
        now = time.monotonic()
        go = any(worker.proven or now - worker.made > WARM_UP_SECONDS for worker in self._workers.values())
        idle = sum(worker.task is None for worker in self._workers.values())
        for number in sorted(self._slots.keys() - self._workers.keys()):
            if len(self._waiting) > idle and (go or not self._workers):
                cores = self._slots[number]
                self._workers[number] = WorkerProcess(self._request, cores, self._debug)
                idle += 1

    def _hand_out(self) -> Iterator[Event]:
        for worker in self._workers.values():
            if self._waiting and worker.ready and worker.task is None:
                task = self._waiting.popleft()
                yield Event("started", task, {})
                worker.task, worker.heard = task, time.monotonic()
                worker.tell(task)

    def _hear(self, seconds: float) -> Iterator[Event]:
        """What the processes say within ``seconds``."""
        pipes = connection.wait([worker.pipe for worker in self._workers.values()], timeout=seconds)
        for number, worker in list(self._workers.items()):
            if worker.pipe not in pipes:
                continue
            try:
                kind, entry = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._report_dead(number)
            else:
                worker.heard = time.monotonic()
                yield from self._understand(worker, kind, entry)

    def _understand(self, worker: WorkerProcess, kind: Any, entry: dict[str, Any]) -> Iterator[Event]:
        if kind == "broken":
            raise ComputeError(entry["error"])
        if kind == "ready":
            worker.ready = True
            for notice in set(entry["notices"]) - self._said:
                self._said.add(notice)
                say(notice)
        elif worker.task is not None:
            if entry.pop("full", False):  # no fault of the item, which is to be done another day
                raise SinkError(entry["error"])
            task, worker.proven, self._early_deaths = worker.task, True, 0
            if kind != "frames":
                worker.task = None
                worker.ready = entry.get("exit") not in RESTART_AFTER
            yield Event(kind, task, entry)

    def _report_dead(self, number: int) -> Iterator[Event]:
        """Take away a process that ended; its task is tried again, `TRIES` times in all."""
        worker = self._workers.pop(number)
        worker.pipe.close()
        why, task = worker.why(), worker.task
        if task is None:
            self._early_deaths += not worker.proven
            if self._early_deaths == STARTS:
                if not any(other.ready for other in self._workers.values()):
                    raise ComputeError(f"no process can be started ({why})")
                say(f"one process less from now on ({why})")
                del self._slots[number]
                self._early_deaths = 0
            return
        remove_leftovers(task.job)
        self._deaths[task.name] += 1
        if self._deaths[task.name] < TRIES:
            yield Event("died", task, {"error": why})
            self._waiting.appendleft(replace(task, replace=True))
        else:
            error = f"{task.job.source}: given up after {TRIES} tries, {why}"
            yield Event("failed", task, {"error": error, "exit": int(Exit.COMPUTE)})

    def _lose_patience(self, *, asleep: bool) -> None:
        """Kill what has said nothing for too long; not for the time that this process itself was stopped."""
        now = time.monotonic()
        for worker in self._workers.values():
            if asleep or worker.task is None:
                worker.heard = now
            elif now - worker.heard > self._patience:
                worker.process.kill()

    def _end_workers(self) -> Iterator[Event]:
        """End all processes; what one has done meanwhile counts."""
        for worker in self._workers.values():
            worker.tell(None)
        last = time.monotonic() + GRACE_SECONDS
        while self._workers and (left := last - time.monotonic()) > 0:
            for event in self._hear(left):
                if event.kind in ("done", "failed"):
                    yield event


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
