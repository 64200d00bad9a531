"""``br2focus train``: trains a network from a configuration, in one process or in those of torchrun."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from br2focus.models.evaluation.masks import FolderError, UnreadableError
from br2focus.models.training.config import TrainingConfig, read_config
from br2focus.realtime.errors import ComputeError, FocusError, SettingsError, SinkError, SourceError

from .exits import Exit, report_options
from .progress import Progress, StopSignals

if TYPE_CHECKING:
    from br2focus.models.training.data import Share
    from br2focus.models.training.run import Event, Trainer


@click.command("train", epilog="Example: br2focus train configs/lite.toml --data data --out runs/lite")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder that paths in the configuration are relative to.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run; a run in it is resumed. Default: runs/NAME.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@report_options
def command(config: Path, data: Path, out: Path | None, device: str, as_json: bool, debug: bool) -> int:
    """Train a network from a configuration; resumes where it stopped.

    The folder of the run gets log.jsonl, loss.png, state.safetensors and, at the end, NAME.safetensors, which
    --model accepts.

    On several GPUs: torchrun --nproc-per-node 2 -m br2focus.plugins.cli train CONFIG --device cuda ...
    Each process trains on its part of every batch.
    """
    try:
        settings = read_config(config)
    except (ValueError, OSError) as error:
        raise SettingsError(_text_of(error)) from error
    with _trainer(settings, data, out or Path("runs") / settings.name, device) as trainer:
        if trainer.share.rank:
            with _interrupts_ignored():
                _train(trainer, lambda event: None)
            return Exit.DONE
        with StopSignals() as signals, Progress(settings.name, "iteration") as progress:
            path = _train(trainer, _reporter(trainer, progress, signals))
    if signals.code is not None:
        return signals.code
    if as_json:
        click.echo(json.dumps({"model": str(path), "iterations": settings.iterations}))
    else:
        click.echo(f"{path}: trained for {settings.iterations} iterations")
    return Exit.DONE


@contextmanager
def _trainer(settings: TrainingConfig, data: Path, folder: Path, device: str) -> Iterator[Trainer]:
    """Yield the trainer, ready to start or resume, in the process group of torchrun."""
    from br2focus.models.training.distributed import joined

    try:
        folder.mkdir(parents=True, exist_ok=True)  # fails before minutes of reading
    except OSError as error:
        raise SinkError(_text_of(error)) from error
    with ExitStack() as stack:
        try:
            share, place = stack.enter_context(joined(device))
        except ValueError as error:
            raise SettingsError(_text_of(error)) from error
        except RuntimeError as error:  # no such device
            raise ComputeError(_text_of(error)) from error
        if settings.batch % share.processes:
            text = f"batch = {settings.batch} cannot be divided among {share.processes} processes"
            raise SettingsError(text)
        yield _prepare(settings, data, folder, place, share)


def _prepare(settings: TrainingConfig, data: Path, folder: Path, device: str, share: Share) -> Trainer:
    from br2focus.models.training.run import Trainer

    try:
        return Trainer(settings, data, folder, device, share)
    except (FolderError, UnreadableError) as error:
        raise SourceError(_text_of(error)) from error
    except FocusError:
        raise
    except (OSError, ImportError, ValueError) as error:
        raise SourceError(_text_of(error)) from error
    except RuntimeError as error:  # no such device, no memory
        raise ComputeError(_text_of(error)) from error


def _train(trainer: Trainer, report: Callable[[Event], bool | None]) -> Path | None:
    try:
        return trainer.run(report)
    except FocusError:
        raise
    except (FloatingPointError, RuntimeError) as error:
        raise ComputeError(f"{trainer.config.name}: {error}") from error
    except OSError as error:
        raise SinkError(_text_of(error)) from error


def _reporter(trainer: Trainer, progress: Progress, signals: StopSignals) -> Callable[[Event], bool | None]:
    """Return the callback of each iteration: it updates progress and curves, and returns True to stop."""
    from br2focus.models.training.plots import plot_losses
    from br2focus.models.training.run import read_log

    name, out = trainer.config.name, trainer.out

    def report(event: Event) -> bool:
        progress(event["iteration"], trainer.config.iterations, f"loss {event['loss']:.3f}")
        if "validation" in event:
            plot_losses({name: list(read_log(out / "log.jsonl"))}, out / "loss.png")
        return signals.code is not None

    return report


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM, which torchrun sends to all: the first process stops the others."""
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
