"""``br2focus export``: writes a model for other programs, or adds ranges for INT8 to a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from br2focus.realtime.engine.export import EXPORT_SUFFIXES, calibrate, export
from br2focus.realtime.errors import SettingsError, SourceError
from br2focus.realtime.frame import Image
from br2focus.realtime.sources.images import ImageFiles, expand

from .exits import report_options
from .options import size_of

PICTURES = 32


@click.command("export", epilog="Example: br2focus export lite -o lite.xml")
@click.argument("model")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help=".onnx (needs the onnx extra), .xml (OpenVINO), or .safetensors with --calibrate.",
)
@click.option("--int8", is_flag=True, help="Use INT8 where the model has ranges; .xml only.")
@click.option(
    "--calibrate",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write the checkpoint with INT8 ranges measured on pictures of this folder.",
)
@click.option(
    "--list",
    "names",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the names of the pictures in FOLDER to use, one per line.",
)
@click.option(
    "--frame",
    default="1920x1080",
    show_default=True,
    metavar="WIDTHxHEIGHT",
    help="Frame size that the file is for, if the model reads full-size frames.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@report_options
def command(
    model: str,
    out: Path,
    int8: bool,
    folder: Path | None,
    names: Path | None,
    frame: str,
    force: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Export MODEL for another runtime. The file is compared with the network before it gets its name.

    The exported model takes uint8 BGR images (1 x H x W x 3, sides multiples of 32) and returns P(blurred).
    A model with blur radii also takes the frame's luma (1 x H' x W') and returns ln radius, gain and ln
    softness.
    """
    if out.suffix not in EXPORT_SUFFIXES:
        raise SettingsError(f"{out}: the suffix is one of {', '.join(EXPORT_SUFFIXES)}")
    if out.exists() and not force:
        raise SettingsError(f"{out} exists: --force replaces it")
    if folder is None and out.suffix == ".safetensors":
        raise SettingsError("a .safetensors file is written with --calibrate FOLDER")
    done = (
        export(model, out, int8=int8, frame_size=size_of(frame))
        if folder is None
        else calibrate(model, out, _pictures(folder, names))
    )
    if as_json:
        click.echo(json.dumps({"output": str(out), "largest": done.largest, "mean": done.mean}))
    elif folder is None:
        click.echo(f"{out}: differs from the network by at most {done.largest:.2g} in P")
    else:
        click.echo(f"{out}: the same weights, with ranges for eight bits")


def _pictures(folder: Path, names: Path | None) -> Iterator[Image]:
    """Yield up to `PICTURES` pictures, evenly spread over the folder."""
    files = expand([folder])
    if names is not None:
        try:
            wanted = {Path(line.strip()).stem for line in names.read_text().splitlines()}
        except OSError as error:
            raise SourceError(f"{names}: cannot be read ({error.strerror})") from error
        files = [file for file in files if file.stem in wanted]
    if not files:
        raise SourceError(f"{folder}: no pictures to calibrate with")
    with ImageFiles(files[:: max(1, len(files) // PICTURES)][:PICTURES]) as source:
        for frame in source:
            yield frame.image
