"""A pool of processes that annotate the items of an archive; a crash or hang stays in its process."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from multiprocessing import connection
from typing import Any

from br2focus.plugins.cli.exits import Exit, say
from br2focus.plugins.cli.request import Request
from br2focus.realtime.device import core_numbers
from br2focus.realtime.errors import ComputeError, SinkError

from .worker import (
    GRACE_SECONDS,
    POLL_SECONDS,
    RESTART_AFTER,
    Event,
    Task,
    WorkerProcess,
    remove_leftovers,
)

TRIES = 3  # per item whose process dies or hangs
STARTS = 10  # processes in a row that die before they do any work, until a slot is given up
WARM_UP_SECONDS = 60.0  # head start of the first process


class Workers:
    """Runs tasks in processes.

    Each process has its own pipe: a process that is killed while it uses a shared queue keeps the queue
    locked. The second process starts when the first has computed something. By then, what is measured and
    converted only once is available.

    Args:
        request: how to annotate.
        count: number of processes; each gets an equal share of the cores.
        patience: seconds without a frame after which a process is killed.
        debug: print the traceback of a failure.
    """

    def __init__(self, request: Request, *, count: int, patience: float = 300.0, debug: bool = False) -> None:
        self._request, self._patience, self._debug = request, patience, debug
        cores = core_numbers()
        self._slots = {number: set(cores[number::count]) or set(cores) for number in range(count)}
        self._workers: dict[int, WorkerProcess] = {}
        self._waiting: deque[Task] = deque()
        self._deaths: Counter[str] = Counter()
        self._early_deaths = 0
        self._shown_notices: set[str] = set()

    def run(self, tasks: Iterator[Task], *, stop: Callable[[], bool]) -> Iterator[Event]:
        """Run ``tasks`` in order, as processes become free, until they are done or ``stop`` returns True.

        Tasks in progress when it stops are abandoned, and nothing of their outputs is left.

        Raises:
            ComputeError: the model cannot be run.
            SinkError: the disk is full.
        """
        try:
            while not stop():
                self._waiting.extend(islice(tasks, max(len(self._slots) - len(self._waiting), 0)))
                if not self._waiting and not any(worker.task for worker in self._workers.values()):
                    break
                self._start_workers()
                yield from self._hand_out()
                before = time.monotonic()
                yield from self._receive(POLL_SECONDS)
                self._kill_stalled(suspended=time.monotonic() - before > POLL_SECONDS + GRACE_SECONDS)
            yield from self._end_workers()
        finally:
            for worker in self._workers.values():
                worker.kill()

    def _start_workers(self) -> None:
        """Start a process in each free slot for which there is work."""
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

    def _receive(self, seconds: float) -> Iterator[Event]:
        """Handle the messages that arrive within ``seconds``."""
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
                yield from self._handle(worker, kind, entry)

    def _handle(self, worker: WorkerProcess, kind: Any, entry: dict[str, Any]) -> Iterator[Event]:
        if kind == "broken":
            raise ComputeError(entry["error"])
        if kind == "ready":
            worker.ready = True
            for notice in set(entry["notices"]) - self._shown_notices:
                self._shown_notices.add(notice)
                say(notice)
        elif worker.task is not None:
            if entry.pop("full", False):  # not the item's fault: it stays to be done
                raise SinkError(entry["error"])
            task, worker.proven, self._early_deaths = worker.task, True, 0
            if kind != "frames":
                worker.task = None
                worker.ready = entry.get("exit") not in RESTART_AFTER
            yield Event(kind, task, entry)

    def _report_dead(self, number: int) -> Iterator[Event]:
        """Remove a process that ended; its task is retried, with `TRIES` tries in all."""
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

    def _kill_stalled(self, *, suspended: bool) -> None:
        """Kill processes silent for too long; time during which this process was suspended does not count."""
        now = time.monotonic()
        for worker in self._workers.values():
            if suspended or worker.task is None:
                worker.heard = now
            elif now - worker.heard > self._patience:
                worker.process.kill()

    def _end_workers(self) -> Iterator[Event]:
        """Stop all processes; items that are finished meanwhile count."""
        for worker in self._workers.values():
            worker.tell(None)
        last = time.monotonic() + GRACE_SECONDS
        while self._workers and (left := last - time.monotonic()) > 0:
            for event in self._receive(left):
                if event.kind in ("done", "failed"):
                    yield event
