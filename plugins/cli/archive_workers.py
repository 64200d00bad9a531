"""Processes that annotate the items of an archive: one that dies or stands still takes no other with it."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from br2focus.realtime.engine import Engine
from br2focus.realtime.errors import ComputeError, FocusError, SinkError
from br2focus.realtime.totals import Totals

from .exits import code_of, line_of
from .jobs import Job
from .request import Request
from .running import run_job

TRIES = 3  # of an item whose process died or stood still
STEP = 0.25  # seconds between two looks at the clock
END = 2.0  # seconds that processes have to end by themselves
PR_SET_PDEATHSIG = 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other item can be written either


@dataclass(frozen=True)
class Task:
    """One item to be done.

    Attributes:
        name: what the journal knows it by.
        job: its input and outputs.
        again: an earlier run began it: what is under its names is ours to replace.
    """

    name: str
    job: Job
    again: bool = False


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


class Worker(Protocol):
    """What a process runs: answers every `Task` of the pipe with messages, until it reads None."""

    def __call__(self, pipe: Connection, request: Request, cores: set[int]) -> None: ...


class AbandonedError(FocusError):
    """The run ends before this item does."""


class _Hand:
    """A process, its pipe, and the task that it has in hand."""

    def __init__(self, worker: Worker, request: Request, cores: set[int]) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=worker, args=(theirs, request, cores), daemon=True)
        # A Ctrl-C reaches all processes of a terminal: blocked here, it is blocked in the child for good.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that the pipe ends with the process
        self.task: Task | None = None
        self.ready = self.proven = False
        self.heard = time.monotonic()

    def begin(self, task: Task) -> None:
        self.task, self.heard = task, time.monotonic()
        with suppress(OSError):  # it died: its pipe says so when it is read
            self.pipe.send(task)

    def end(self) -> None:
        with suppress(OSError):
            self.pipe.send(None)

    def why(self) -> str:
        """How the process ended; it has."""
        self.process.join()
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
        worker: what they run.
    """

    def __init__(
        self, request: Request, *, count: int, patience: float = 300.0, worker: Worker | None = None
    ) -> None:
        self._request, self._patience = request, patience
        self._worker: Worker = worker or work
        cores = sorted(os.sched_getaffinity(0))
        self._cores = [set(cores[n::count]) or set(cores) for n in range(count)]
        self._hands: dict[int, _Hand] = {}
        self._early_deaths = 0

    def run(self, tasks: Iterable[Task], *, stop: Callable[[], bool]) -> Iterator[Event]:
        """Do ``tasks`` in order, as far as processes come free; ends early where ``stop`` says so.

        What is in hand when it ends early is given up: nothing of it is left.

        Raises:
            ComputeError: the model cannot be run.
            SinkError: the disk is full.
        """
        waiting, tries = deque(tasks), dict[str, int]()
        try:
            while (waiting or any(hand.task for hand in self._hands.values())) and not stop():
                self._hire(len(waiting))
                for hand in list(self._hands.values()):
                    if waiting and hand.ready and hand.task is None:
                        task = waiting.popleft()
                        yield Event("started", task, {})
                        hand.begin(task)
                before = time.monotonic()
                ready = connection.wait([hand.pipe for hand in self._hands.values()], timeout=STEP)
                for number, hand in list(self._hands.items()):
                    if hand.pipe in ready:
                        yield from self._hear(number, hand, waiting, tries)
                self._lose_patience(asleep=time.monotonic() - before > STEP + END)
        finally:
            self.close()

    def close(self) -> None:
        """End all processes, by force where they do not hear."""
        for hand in self._hands.values():
            hand.end()
        last = time.monotonic() + END
        for hand in self._hands.values():
            hand.process.join(max(last - time.monotonic(), 0))
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
            hand.pipe.close()
        self._hands.clear()

    def _hire(self, waiting: int) -> None:
        """A process for each part of the cores that has none, where there is work for it."""
        proven = any(hand.proven for hand in self._hands.values())
        idle = sum(hand.task is None for hand in self._hands.values())
        for number, cores in enumerate(self._cores):
            if number not in self._hands and waiting > idle and (proven or not self._hands):
                self._hands[number] = _Hand(self._worker, self._request, cores)
                idle += 1

    def _hear(
        self, number: int, hand: _Hand, waiting: deque[Task], tries: dict[str, int]
    ) -> Iterator[Event]:
        try:
            kind, entry = hand.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(number, waiting, tries)
            return
        hand.heard = time.monotonic()
        if kind == "ready":
            hand.ready, self._early_deaths = True, 0
        elif kind == "broken":
            raise ComputeError(entry["error"])
        elif hand.task is not None:
            task = hand.task
            hand.proven = True
            if kind != "frames":
                hand.task = None
            full = entry.pop("full", False)
            yield Event(kind, task, entry)
            if full:
                raise SinkError(entry["error"])

    def _bury(self, number: int, waiting: deque[Task], tries: dict[str, int]) -> Iterator[Event]:
        """Take away a process that ended; its task is tried again, `TRIES` times in all."""
        hand = self._hands.pop(number)
        hand.pipe.close()
        why, task = hand.why(), hand.task
        if task is None:
            self._early_deaths += not hand.ready
            if self._early_deaths == TRIES:
                raise ComputeError(f"no process could be started ({why})")
            return
        tries[task.name] = tries.get(task.name, 0) + 1
        if tries[task.name] < TRIES:
            yield Event("died", task, {"error": why})
            waiting.appendleft(replace(task, again=True))
        else:
            error = f"{task.job.source}: given up after {TRIES} tries, {why}"
            yield Event("failed", task, {"error": error, "exit": 1})

    def _lose_patience(self, *, asleep: bool) -> None:
        """Kill what has said nothing for too long; not for the time that this process itself was stopped."""
        now = time.monotonic()
        for hand in self._hands.values():
            if asleep or hand.task is None:
                hand.heard = now
            elif now - hand.heard > self._patience:
                hand.process.kill()


def work(pipe: Connection, request: Request, cores: set[int]) -> None:
    """What each process runs; it dies with the one that started it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, cores)
    try:
        engine = Engine(request.engine)
    except FocusError as error:
        pipe.send(("broken", {"error": line_of(error)}))
        return
    pipe.send(("ready", {}))
    with suppress(EOFError, OSError):  # nobody listens any more
        while (task := pipe.recv()) is not None:
            answer = _done(task, engine, request, pipe)
            if answer is None:
                return
            pipe.send(answer)


def _done(
    task: Task, engine: Engine, request: Request, pipe: Connection
) -> tuple[str, dict[str, Any]] | None:
    """The answer to a task; None where it was abandoned."""
    said = time.monotonic()

    def show(done: int, expected: int | None) -> bool:
        nonlocal said
        if pipe.poll():
            raise AbandonedError("abandoned")
        if time.monotonic() - said > STEP:
            said = time.monotonic()
            pipe.send(("frames", {"frames": done, "expected": expected}))
        return False

    totals = Totals()
    mine = replace(request, force=request.force or task.again)
    try:
        for path in filter(None, (task.job.output, task.job.maps, task.job.metrics)):
            path.parent.mkdir(parents=True, exist_ok=True)
        entry = run_job(task.job, engine, mine, show, part=Path.unlink, also=[totals])
    except AbandonedError:
        return None
    except Exception as error:
        full = getattr(error.__cause__, "errno", None) in FULL
        return "failed", {"error": line_of(error), "exit": int(code_of(error)), "full": full}
    return "done", entry | totals.summary()
