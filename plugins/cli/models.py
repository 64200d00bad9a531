"""``br2focus models``: lists and describes the shipped networks."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from br2focus.models import checkpoint

from .exits import report_options


@click.command("models", epilog="Example: br2focus models")
@click.argument("models", nargs=-1, metavar="[NAME|FILE]...")
@report_options
def command(models: tuple[str, ...], as_json: bool, debug: bool) -> None:
    """List the shipped models, or describe the models or files that are named.

    Checks the hash of every shipped file. The model card says what a network was trained on, how good it is,
    and where it fails.
    """
    listed = [describe(model) for model in models or checkpoint.shipped()]
    if as_json:
        click.echo(json.dumps({"models": listed}))
        return
    for model in listed:
        click.echo(_text(model))


def describe(model: str) -> dict[str, Any]:
    """Return the header, size, hash and card of ``model``, a shipped name or a file.

    Raises:
        CheckpointError: there is no such model, or its file is damaged.
    """
    path, digest = checkpoint.find(model)
    info = checkpoint.read_info(path)
    card = files(checkpoint.SHIPPED).joinpath(f"{model}.md")
    return {
        "name": info.name,
        "backbone": info.config.backbone,
        "parameters": checkpoint.parameter_count(path),
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "size": info.size,
        "data": info.data,
        "sha256": digest,
        "path": str(path),
        "card": str(card) if isinstance(card, Path) and card.is_file() else None,
    }


def _text(model: dict[str, Any]) -> str:
    lines = [
        f"{model['name']}: BR2Net on {model['backbone']}, {model['parameters'] / 1e6:.1f} million "
        f"parameters, {model['megabytes']} MB, maps of {model['size']} px",
        f"  trained on {model['data']}" if model["data"] else "",
        f"  card {model['card']}" if model["card"] else "",
        f"  SHA-256 {model['sha256']}",
    ]
    return "\n".join(line for line in lines if line)
