"""How inputs are to be annotated: the options that `annotate` and `archive` share, and what they say."""

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
    """The options of one call; what they mean is in their help."""

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
    """The options of `make_request`."""
    for option in (
        engine_options,
        click.option("--strict", is_flag=True, help="A damaged input is an error (exit 3)."),
        click.option(
            "--gpu-decode",
            is_flag=True,
            help="Decode on the GPU that computes: spares the CPU; slower where that has cores to spare.",
        ),
        click.option(
            "--crf",
            type=click.IntRange(0, 63),
            help="Quality of the codec; lower is better and larger.",
        ),
        click.option(
            "--codec",
            type=click.Choice(list(CODECS)),
            default="h264",
            show_default=True,
            help="Video codec.",
        ),
        click.option(
            "--every",
            type=click.FloatRange(0, min_open=True),
            metavar="SECONDS",
            help="One frame in so many seconds; for figures and maps.",
        ),
        refine_option("best"),
        click.option(
            "--smoothing",
            type=SmoothingType(),
            default="look-ahead",
            show_default=True,
            help="Of maps in time: adaptive follows focus pulls, look-ahead knows the next frames (5), "
            "seconds are a fixed time constant.",
        ),
        click.option(
            "--roi",
            "rois",
            type=RoiType(),
            multiple=True,
            help="A region with a score of its own in --metrics; repeatable.",
        ),
        click.option(
            "--legend/--no-legend",
            default=True,
            show_default=True,
            help="The small plate that explains the colours.",
        ),
        click.option("--stripes", is_flag=True, help="Peaking as stripes: not by colour alone."),
        click.option(
            "--preset",
            metavar="NAME|FILE",
            help="Draw what the viewer saved: overlay, style, regions, model, size, coc; options go first.",
        ),
        click.option(
            "--overlay",
            type=click.Choice(KINDS),
            default="heat",
            show_default=True,
            help="What is drawn; none with --maps or --metrics alone writes no picture.",
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
    """What the options of `request_options`, and other fields of `Request` among them, ask for.

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
    """Refuse ``--every`` where a picture is drawn: a video of some of its frames is none.

    Raises:
        SettingsError: it is so.
    """
    if draw and request.every:
        raise SettingsError("--every is for figures and maps: give --overlay none with it")


def _saved(preset: str) -> tuple[dict[str, Any], OverlayStyle]:
    """Options that a preset stands for, and its style; how maps are smoothed is another matter in a file."""
    from br2focus.realtime.presets import load_preset, preset_path  # slow to import, seldom used

    saved = load_preset(preset_path(preset))
    return {name: getattr(saved, name) for name in ("overlay", "rois", "model", "size", "coc")}, saved.style
