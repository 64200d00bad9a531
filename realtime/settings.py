"""Settings for computing and displaying focus; presets store them in an editable TOML file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from .drawing.refining import RefineMode, check_mode
from .engine.settings import EngineOptions, EngineSettings
from .errors import SettingsError
from .frame import Roi
from .overlay_style import KINDS, OverlayKind, OverlayStyle
from .scores import WHOLE
from .smoothing.factory import SmoothingSetting, check_smoothing

_PLAIN = OverlayStyle(legend=False)  # a viewer's own text says more than the legend


class FocusOptions(EngineOptions, total=False):
    """The fields of `FocusSettings` other than the model, for calls that take them as keyword arguments."""

    smoothing: SmoothingSetting
    refine: RefineMode


@dataclass(frozen=True)
class FocusSettings(EngineSettings):
    """Settings of an `Engine` and of the processing of its blur maps.

    Attributes:
        smoothing: temporal smoothing of the maps: "adaptive"; "look-ahead" or "look-ahead:FRAMES" (results
            are delayed by that many frames); a time constant in seconds; None for raw maps.
        refine: aligns the edges of a map with those of the image: "off", "fast" or "best".

    Raises:
        SettingsError: a value is unknown or out of range.
    """

    smoothing: SmoothingSetting = None
    refine: RefineMode = "off"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_smoothing(self.smoothing)
        check_mode(self.refine)

    def same_engine(self, other: FocusSettings) -> bool:
        """Return whether one engine can serve both settings.

        The circle of confusion may differ, since it can change while an engine runs.
        """
        names = [field.name for field in fields(EngineSettings) if field.name != "coc"]
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True)
class ViewSettings(FocusSettings):
    """Settings for computing and displaying focus.

    A preset stores one of these in a file, with "off" for no smoothing.

    Attributes:
        overlay: the overlay to draw.
        style: the style of the overlay.
        coc: see `EngineSettings`; it may change while an engine runs.
        rois: regions that are scored.

    Raises:
        SettingsError: a value is unknown or out of range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: str = "lite"
    coc: str | None = None
    smoothing: SmoothingSetting = "adaptive"
    refine: RefineMode = "fast"
    overlay: OverlayKind = "peaking"
    style: OverlayStyle = _PLAIN
    rois: tuple[Roi, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overlay not in KINDS:
            raise SettingsError(f"overlay {self.overlay!r}: choose one of {', '.join(KINDS)}")
        names = [roi.name for roi in self.rois]
        if len(set(names)) < len(names):
            raise SettingsError(f"regions need different names, got {', '.join(names)}")
        if WHOLE in names or "" in names:
            raise SettingsError(f"a region needs a name, and one that is not {WHOLE!r}")
