"""``br2focus cameras``: lists the connected cameras."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click

from br2focus.realtime.errors import SourceError
from br2focus.realtime.sources.live.camera import CameraInfo, list_cameras
from br2focus.realtime.sources.live.controls import CameraControls, Control, Format, list_formats

from .exits import report_options


@click.command("cameras", epilog="Example: br2focus cameras")
@report_options
def command(as_json: bool, debug: bool) -> None:
    """List the connected cameras, their formats and their controls.

    `br2focus live` accepts the number, the name or the id. The id stays the same whatever else is plugged in.
    """
    found = [_query(camera) for camera in list_cameras()]
    if as_json:
        entries = [each.entry() for each in found]
        click.echo(json.dumps({"cameras": entries}, default=float))  # rates are fractions
        return
    for each in found:
        click.echo("\n   ".join(each.lines()))
    if not found:
        click.echo("no camera is plugged in; `br2focus live test` needs none")


@dataclass(frozen=True)
class _Found:
    """A camera with its formats and controls; ``error`` says why they are missing or incomplete."""

    camera: CameraInfo
    formats: tuple[Format, ...] = ()
    controls: tuple[Control, ...] = ()
    error: str | None = None

    def entry(self) -> dict[str, Any]:
        """Return the entry for ``--json``."""
        entry = asdict(self)
        return {**entry.pop("camera"), **entry}

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        yield f"{self.camera.index}: {self.camera.name}"
        yield f"id {self.camera.id}"
        for each in self.formats:
            rates = ", ".join(f"{float(rate):.4g}" for rate in each.rates)
            yield f"{each.code} {each.width} x {each.height} at {rates or 'unknown'} frames/s"
        for control in self.controls:
            steps = f" in steps of {control.step}" if control.step > 1 else ""
            span = f"{control.minimum} to {control.maximum}{steps}, default {control.default}"
            held = "" if control.active else "; not settable now"
            yield f"{control.name} {control.value} ({span}{held})"
        if self.error:
            yield self.error


def _query(camera: CameraInfo) -> _Found:
    formats: tuple[Format, ...] = ()
    try:
        formats = list_formats(camera.device)
        return _Found(camera, formats, CameraControls(camera.device).list())
    except SourceError as error:
        return _Found(camera, formats, error=str(error))
