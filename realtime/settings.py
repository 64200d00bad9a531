"""How focus is computed and shown; presets keep it in a TOML file that people may edit."""

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
    """The fields of `FocusSettings` besides the model, for calls that take them by name."""

    smoothing: SmoothingSetting
    refine: RefineMode


@dataclass(frozen=True)
class FocusSettings(EngineSettings):
    """How focus is computed: the settings of an `Engine`, and what is done with its maps.

    Attributes:
        smoothing: of maps in time: "adaptive"; "look-ahead" or "look-ahead:FRAMES" (frames come so many
            later); a time constant in seconds; None for raw maps.
        refine: move the edges of a map to those of the picture: "off", "fast" or "best".

    Raises:
        SettingsError: a value that does not exist or is out of its range.
    """

    smoothing: SmoothingSetting = None
    refine: RefineMode = "off"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_smoothing(self.smoothing)
        check_mode(self.refine)

    def same_engine(self, other: FocusSettings) -> bool:
        """Whether one engine serves both: its circle of confusion may change while it runs."""
        names = [field.name for field in fields(EngineSettings) if field.name != "coc"]
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True)
class ViewSettings(FocusSettings):
    """How focus is computed and shown; a preset is one in a file, where "off" stands for no smoothing.

    Attributes:
        overlay: what is drawn.
        style: how it is drawn.
        coc: see `EngineSettings`; it may change while an engine runs.
        rois: regions with a score.

    Raises:
        SettingsError: a value that does not exist or is out of its range.
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
