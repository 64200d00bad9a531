"""How overlays look: their kinds and the style of each."""

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
    """How overlays look.

    Attributes:
        colour: of peaking and outline, BGR; the default is told from most subjects by every colour vision.
        opacity: of heat and mask, 0 to 1.
        threshold: gradient from which an edge is peaked, in gray levels a pixel (lower: more edges).
        levels: of peaking, 1 to 3: edges of one, two and four times the threshold, ever brighter.
        strongest: share of the pixels in focus that peaking may mark, the strongest edges first: it raises
            the threshold where more are over it; 1 = off.
        ground: what the overlay lies on: the picture, the picture in gray, or black.
        noise_gate: the threshold is at least so many times the gradient that the sensor's noise makes;
            0 = off.
        stripes: draw peaking as black and coloured stripes, so that it does not rest on colour alone.
        legend: draw the scale and the model's name.

    Raises:
        SettingsError: a value out of its range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # of settings files

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
        """The colour of edges of ``level`` (0 for the weakest); the strongest have ``colour`` itself."""
        light = 0.55 + 0.45 * (level + 1) / self.levels if self.levels > 1 else 1.0
        blue, green, red = (round(light * value) for value in self.colour)
        return blue, green, red
