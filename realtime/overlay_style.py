"""Overlay kinds and their style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from .errors import SettingsError

OverlayKind = Literal["peaking", "heat", "mask", "outline", "side-by-side", "none"]
KINDS: tuple[OverlayKind, ...] = get_args(OverlayKind)
Ground = Literal["colour", "gray", "alone"]
GROUNDS: tuple[Ground, ...] = get_args(Ground)
MAX_LEVELS = 3


@dataclass(frozen=True)
class OverlayStyle:
    """Style of the overlays.

    Attributes:
        colour: BGR colour of peaking and outline; the default stands out from most subjects for every type of
            colour vision.
        opacity: opacity of heat and mask, 0 to 1.
        threshold: smallest gradient that is peaked, in gray levels per pixel; lower values mark more edges.
        levels: number of peaking levels, 1 to 3: edges at one, two and four times the threshold, increasingly
            bright.
        strongest: largest share of the in-focus pixels that peaking may mark, strongest edges first; if more
            exceed the threshold, the threshold is raised. 1 = off.
        ground: background of the overlay: the picture, the picture in gray, or black.
        noise_gate: lower bound of the threshold as a multiple of the gradient caused by sensor noise; 0 =
            off.
        stripes: draw peaking as black and coloured stripes, so that it does not rely on colour alone.
        legend: draw the scale and the model's name.

    Raises:
        SettingsError: a value is out of range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # for settings files

    colour: tuple[int, int, int] = (0, 176, 255)
    opacity: float = 0.55
    threshold: float = 12.0
    levels: int = 1
    strongest: float = 1.0
    ground: Ground = "colour"
    noise_gate: float = 4.0
    stripes: bool = False
    legend: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1 or not self.threshold > 0 or not self.noise_gate >= 0:
            raise SettingsError("opacity is 0 to 1, threshold positive, noise_gate not negative")
        if not 1 <= self.levels <= MAX_LEVELS or self.ground not in GROUNDS:
            raise SettingsError(f"levels are 1 to {MAX_LEVELS}, ground one of {', '.join(GROUNDS)}")
        if not 0 < self.strongest <= 1:
            raise SettingsError(f"strongest is a share above 0, up to 1, got {self.strongest}")
        if len(self.colour) != 3 or not all(0 <= value <= 255 for value in self.colour):
            raise SettingsError("a colour is blue, green, red from 0 to 255")

    def shade(self, level: int) -> tuple[int, int, int]:
        """Return the BGR colour of edges of ``level`` (0 = weakest); the strongest use ``colour`` itself."""
        light = 0.55 + 0.45 * (level + 1) / self.levels if self.levels > 1 else 1.0
        blue, green, red = (round(light * value) for value in self.colour)
        return blue, green, red
