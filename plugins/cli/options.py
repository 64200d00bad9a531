"""Options that several subcommands share."""

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
    """``--model``, ``--device``, ``--backend``, ``--precision``, ``--size``, ``--compile``: what computes.

    And ``--coc``: from which blur on something is out of focus.
    """
    for option in (
        coc_option,
        click.option(
            "--compile",
            "compiled",
            is_flag=True,
            help="On a GPU: torch.compile; two fifths less time, after up to a minute for each size.",
        ),
        click.option(
            "--size", type=int, metavar="PIXELS", help="Long side of the map; default: the model's."
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "int8"]),
            default="auto",
            show_default=True,
            help="Arithmetic on a CPU; auto is the fastest, measured once.",
        ),
        click.option(
            "--backend",
            type=click.Choice(["auto", "openvino", "onnxruntime", "torch"]),
            default="auto",
            show_default=True,
            help="Library on a CPU.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda[:N]."),
        click.option(
            "--model",
            default="lite",
            show_default=True,
            metavar="NAME|FILE",
            help="A shipped model or a .safetensors file.",
        ),
    ):
        command = option(command)
    return command


def coc_option(command: F) -> F:
    """``--coc``: from which blur on something is out of focus."""
    return click.option(
        "--coc",
        metavar="PIXELS|1/N",
        help="Circle of confusion: the largest blur radius that counts as in focus, in pixels or as a share "
        "of the longer side (1/1500).  [default: what the footage and its size allow]",
    )(command)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's ``options`` that its user gave; the others have their defaults."""
    source = click.get_current_context().get_parameter_source
    return {name: v for name, v in options.items() if source(name) is not ParameterSource.DEFAULT}


def size_of(picture: str) -> tuple[int, int]:
    """Width and height from "640x480".

    Raises:
        SettingsError: it is not such a text.
    """
    try:
        width, height = (int(side) for side in picture.split("x"))
    except ValueError:
        raise SettingsError(f"picture {picture!r}: write it as 640x480") from None
    if min(width, height) < 16:
        raise SettingsError(f"picture {picture!r}: 16x16 at least")
    return width, height


def refine_option(default: str) -> Callable[[F], F]:
    """``--refine``: where the map's edges are."""
    return click.option(
        "--refine",
        type=click.Choice(MODES),
        default=default,
        show_default=True,
        help="Move the map's edges to those of the picture.",
    )


class Form(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """A type whose ``name`` stands in the help as it has to be typed: click would print capitals."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The name as it is."""
        return self.name


class RoiType(Form):
    """``NAME=x,y,w,h`` in pixels of the upright frame."""

    name = "NAME=x,y,w,h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Roi:
        """Text to `Roi`; a usage error says the form."""
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
        """Text to a setting, None for off."""
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
