"""Options shared by several subcommands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from br2focus.realtime.drawing.refining import MODES
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import Roi
from br2focus.realtime.smoothing.factory import CHOICES, SmoothingSetting, check_smoothing

F = TypeVar("F", bound=Callable[..., Any])


def engine_options(command: F) -> F:
    """Add the options that choose what computes, and ``--coc``.

    These are ``--model``, ``--device``, ``--backend``, ``--precision``, ``--size`` and ``--compile``.
    """
    for option in (
        coc_option,
        click.option(
            "--compile",
            "compiled",
            is_flag=True,
            help="Use torch.compile on a GPU: two fifths less time, after up to a minute per size.",
        ),
        click.option(
            "--size", type=int, metavar="PIXELS", help="Long side of the map; default: the model's."
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "int8"]),
            default="auto",
            show_default=True,
            help="Arithmetic on a CPU; auto uses the fastest, measured once.",
        ),
        click.option(
            "--backend",
            type=click.Choice(["auto", "openvino", "onnxruntime", "torch"]),
            default="auto",
            show_default=True,
            help="Inference library on a CPU.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:N]."),
        click.option(
            "--model",
            default="lite",
            show_default=True,
            metavar="NAME|FILE",
            help="Shipped model or .safetensors file.",
        ),
    ):
        command = option(command)
    return command


def coc_option(command: F) -> F:
    """Add ``--coc``, the blur radius above which something is out of focus."""
    return click.option(
        "--coc",
        metavar="PIXELS|1/N",
        help="Circle of confusion: the largest blur radius that counts as in focus, in pixels or as a "
        "fraction of the longer side (1/1500).  [default: depends on the footage and its size]",
    )(command)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return those of a command's ``options`` that the user gave; the others have their defaults."""
    source = click.get_current_context().get_parameter_source
    return {name: v for name, v in options.items() if source(name) is not ParameterSource.DEFAULT}


def size_of(picture: str) -> tuple[int, int]:
    """Return width and height from text such as "640x480".

    Raises:
        SettingsError: the text has another form, or a side is less than 16.
    """
    try:
        width, height = (int(side) for side in picture.split("x"))
    except ValueError:
        raise SettingsError(f"picture {picture!r}: write it as 640x480") from None
    if min(width, height) < 16:
        raise SettingsError(f"picture {picture!r}: 16x16 at least")
    return width, height


def refine_option(default: str) -> Callable[[F], F]:
    """Add ``--refine``, which moves the map's edges to those of the picture."""
    return click.option(
        "--refine",
        type=click.Choice(MODES),
        default=default,
        show_default=True,
        help="Align the map's edges with those of the picture.",
    )


class Form(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """A parameter type whose ``name`` appears in the help as it is typed; click would capitalize it."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the name unchanged."""
        return self.name


class RoiType(Form):
    """``NAME=x,y,w,h`` in pixels of the upright frame."""

    name = "NAME=x,y,w,h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Roi:
        """Parse text into a `Roi`; a usage error shows the expected form."""
        name, _, numbers = str(value).partition("=")
        try:
            x, y, width, height = (int(n) for n in numbers.split(","))
        except ValueError:
            self.fail(f"{value!r} is not NAME=x,y,w,h with whole pixels", param, ctx)
        if not name or width <= 0 or height <= 0:
            self.fail(f"{value!r} needs a name and a positive size", param, ctx)
        return Roi(name, x, y, width, height)


class SmoothingType(Form):
    """A setting of `realtime.smoothing`, or ``off``."""

    name = "adaptive|look-ahead[:FRAMES]|SECONDS|off"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> SmoothingSetting:
        """Parse text into a setting; None for ``off``."""
        if value is None or str(value) == "off":
            return None
        setting: SmoothingSetting = value
        with suppress(ValueError):
            setting = float(value)
        try:
            check_smoothing(setting)
        except SettingsError:
            self.fail(f"{value!r}: {CHOICES}", param, ctx)
        return setting
