"""The options that `annotate` and `archive` share, and the `Request` made from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import Roi
from br2focus.realtime.overlay_style import KINDS, OverlayKind, OverlayStyle
from br2focus.realtime.settings import FocusSettings
from br2focus.realtime.sinks.codecs import CODECS

from .options import RoiType, SmoothingType, engine_options, given, refine_option

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Request:
    """The options of one call; the help of the command explains them."""

    focus: FocusSettings
    overlay: OverlayKind
    style: OverlayStyle
    rois: tuple[Roi, ...]
    codec: str
    crf: int | None
    gpu_decode: bool
    strict: bool
    force: bool
    every: float | None = None
    start: float | None = None
    duration: float | None = None
    stream: int | None = None
    allow_special: bool = False
    codecs: tuple[str, ...] | None = None
    radii: bool = False


def request_options(command: F) -> F:
    """Add the options of `make_request` to a command."""
    for option in (
        engine_options,
        click.option("--strict", is_flag=True, help="Treat a damaged input as an error (exit 3)."),
        click.option(
            "--gpu-decode",
            is_flag=True,
            help="Decode on the GPU that runs the network: saves CPU time; slower if the CPU has idle cores.",
        ),
        click.option(
            "--crf",
            type=click.IntRange(0, 63),
            help="Constant rate factor of the codec; a lower one gives better quality and a larger file.",
        ),
        click.option(
            "--codec",
            type=click.Choice(list(CODECS)),
            default="h264",
            show_default=True,
            help="Video codec of the output.",
        ),
        click.option(
            "--every",
            type=click.FloatRange(0, min_open=True),
            metavar="SECONDS",
            help="Process one frame every SECONDS; for metrics and maps.",
        ),
        refine_option("best"),
        click.option(
            "--smoothing",
            type=SmoothingType(),
            default="look-ahead",
            show_default=True,
            help="Temporal smoothing of maps: adaptive follows focus pulls, look-ahead also uses the next "
            "FRAMES (5), SECONDS is a fixed time constant.",
        ),
        click.option(
            "--roi",
            "rois",
            type=RoiType(),
            multiple=True,
            help="Region with its own score in --metrics; repeatable.",
        ),
        click.option(
            "--legend/--no-legend",
            default=True,
            show_default=True,
            help="Draw the legend of the colours.",
        ),
        click.option("--stripes", is_flag=True, help="Draw peaking as stripes, readable without colour."),
        click.option(
            "--preset",
            metavar="NAME|FILE",
            help="Viewer preset: overlay, style, regions, model, size, coc. Options override it.",
        ),
        click.option(
            "--overlay",
            type=click.Choice(KINDS),
            default="heat",
            show_default=True,
            help="Overlay to draw; none with only --maps or --metrics writes no picture.",
        ),
    ):
        command = option(command)
    return command


def make_request(
    *,
    preset: str | None,
    stripes: bool,
    legend: bool,
    device: str,
    compiled: bool,
    **options: Any,
) -> Request:
    """Build a `Request` from the options of `request_options` and any other fields of `Request`.

    Raises:
        SettingsError: the preset or a setting of the engine is wrong.
    """
    style = OverlayStyle()
    if preset is not None:
        saved, style = _saved(preset)
        options |= saved | given(options)
    names = ("model", "size", "backend", "precision", "coc", "smoothing", "refine")
    focus = FocusSettings(device=device, compiled=compiled, **{name: options.pop(name) for name in names})
    style = replace(style, stripes=stripes or style.stripes, legend=legend)
    return Request(focus=focus, style=style, **options)


def check_every(request: Request, *, draw: bool) -> None:
    """Refuse ``--every`` where pictures are drawn: it would leave gaps in the video.

    Raises:
        SettingsError: both are requested.
    """
    if draw and request.every:
        raise SettingsError("--every is for figures and maps: give --overlay none with it")


def _saved(preset: str) -> tuple[dict[str, Any], OverlayStyle]:
    """Return the options that a preset sets, and its style; a preset does not set the smoothing of files."""
    from br2focus.realtime.presets import load_preset, preset_path  # slow to import, rarely used

    saved = load_preset(preset_path(preset))
    return {name: getattr(saved, name) for name in ("overlay", "rois", "model", "size", "coc")}, saved.style
