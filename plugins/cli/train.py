"""``br2focus train``: a network from a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from br2focus.models.evaluation.masks import FolderError, UnreadableError
from br2focus.models.training.config import TrainingConfig, read_config
from br2focus.realtime.errors import (
    ComputeError,
    FocusError,
    SettingsError,
    SinkError,
    SourceError,
)

from .options import report_options
from .progress import Progress, StopSignals


@click.command(
    "train", epilog="Example: br2focus train configs/lite.toml --data data --out runs/lite"
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder that the configuration's paths are relative to.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run; a run in it goes on. Default: runs/NAME.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@report_options
def command(
    config: Path, data: Path, out: Path | None, device: str, as_json: bool, debug: bool
) -> int:
    """Train a network from a configuration; resumes where it stopped.

    The run's folder gets log.jsonl, loss.png, state.safetensors and at the end NAME.safetensors, which
    --model takes.
    """
    try:
        settings = read_config(config)
    except (ValueError, OSError) as error:
        raise SettingsError(str(error)) from error
    folder = out or Path("runs") / settings.name
    with StopSignals() as signals:
        path = _train(settings, data, folder, device, stop=lambda: signals.code is not None)
    if signals.code is not None:
        return signals.code
    if as_json:
        click.echo(json.dumps({"model": str(path), "iterations": settings.iterations}))
    else:
        click.echo(f"{path}: trained for {settings.iterations} iterations")
    return 0


def _train(
    settings: TrainingConfig, data: Path, folder: Path, device: str, *, stop: Callable[[], bool]
) -> Path | None:
    from br2focus.models.training.plots import plot_losses
    from br2focus.models.training.run import Trainer, read_log

    log = folder / "log.jsonl"
    try:
        trainer = Trainer(settings, data, folder, device)
    except (FolderError, UnreadableError) as error:
        raise SourceError(str(error)) from error
    except FocusError:
        raise
    except (OSError, ValueError) as error:
        raise SourceError(str(error)) from error
    except RuntimeError as error:  # no such device
        raise ComputeError(str(error)) from error
    with Progress(settings.name, "iteration") as progress:

        def report(event: dict[str, Any]) -> bool:
            progress(event["iteration"], settings.iterations, f"loss {event['loss']:.3f}")
            if "validation" in event:
                plot_losses({settings.name: list(read_log(log))}, folder / "loss.png")
            return stop()

        try:
            return trainer.run(report)
        except (FloatingPointError, RuntimeError) as error:
            raise ComputeError(f"{settings.name}: {error}") from error
        except OSError as error:
            raise SinkError(f"{folder}: {error.strerror or error}") from error
