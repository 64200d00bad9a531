"""``br2focus cameras``: what is plugged in."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from br2focus.realtime.camera import list_cameras

from .options import report_options


@click.command("cameras", epilog="Example: br2focus cameras")
@report_options
def command(as_json: bool, debug: bool) -> None:
    """List the cameras that are plugged in.

    `br2focus live` takes the number, the name, or the id; the id stays the same whatever is plugged in.
    """
    cameras = list_cameras()
    if as_json:
        click.echo(json.dumps({"cameras": [asdict(camera) for camera in cameras]}))
        return
    for camera in cameras:
        click.echo(f"{camera.index}: {camera.name}\n   id {camera.id}")
    if not cameras:
        click.echo("no camera is plugged in; `br2focus live test` needs none")
