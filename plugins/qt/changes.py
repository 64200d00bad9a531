"""What keys change in the settings: pure functions, one for each key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TypeVar

from br2focus.realtime.drawing.refining import MODES
from br2focus.realtime.overlay_style import GROUNDS, KINDS, MAX_LEVELS, OverlayKind, OverlayStyle
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.smoothing.factory import SmoothingSetting

from .palette import PEAKING

T = TypeVar("T")
Change = Callable[[ViewSettings], ViewSettings]

THRESHOLDS = (2.0, 60.0)  # gray levels a pixel, at full and at no sensitivity
STEP = 1.25
OPACITY_STEP = 0.1
SMOOTHINGS: tuple[SmoothingSetting, ...] = (
    "adaptive",
    "look-ahead:2",
    "look-ahead",
    0.05,
    0.1,
    0.2,
    0.4,
    None,
)


def following(choices: Sequence[T], now: T) -> T:
    """The choice behind ``now``, round and round; the first if ``now`` is none of them."""
    at = choices.index(now) if now in choices else -1
    return choices[(at + 1) % len(choices)]


def went_back(now: ViewSettings, refused: ViewSettings, good: ViewSettings) -> ViewSettings:
    """``now`` with what came with ``refused`` as in ``good``; what was changed since then stays."""
    came = [f.name for f in fields(now) if getattr(now, f.name) == getattr(refused, f.name)]
    return replace(now, **{name: getattr(good, name) for name in came})


def _kind(kind: OverlayKind) -> Change:
    return lambda settings: replace(settings, overlay=kind)


def _style(change: Callable[[OverlayStyle], OverlayStyle]) -> Change:
    return lambda settings: replace(settings, style=change(settings.style))


def _edges(factor: float) -> Change:
    most, least = THRESHOLDS
    return _style(lambda s: replace(s, threshold=min(max(s.threshold * factor, most), least)))


def _opacity(step: float) -> Change:
    return _style(lambda s: replace(s, opacity=min(max(round(s.opacity + step, 2), 0.0), 1.0)))


def _toggled_gate(style: OverlayStyle) -> OverlayStyle:
    return replace(style, noise_gate=0.0 if style.noise_gate else OverlayStyle.noise_gate)


CHANGES: dict[str, Change] = {
    **{f"show_{kind.replace('-', '_')}": _kind(kind) for kind in KINDS},
    "next_colour": _style(lambda s: replace(s, colour=following(tuple(PEAKING.values()), s.colour))),
    "next_ground": _style(lambda s: replace(s, ground=following(GROUNDS, s.ground))),
    "next_levels": _style(lambda s: replace(s, levels=s.levels % MAX_LEVELS + 1)),
    "toggle_stripes": _style(lambda s: replace(s, stripes=not s.stripes)),
    "toggle_noise_gate": _style(_toggled_gate),
    "more_edges": _edges(1 / STEP),
    "fewer_edges": _edges(STEP),
    "more_opaque": _opacity(OPACITY_STEP),
    "less_opaque": _opacity(-OPACITY_STEP),
    "next_refine": lambda s: replace(s, refine=following(MODES, s.refine)),
    "next_smoothing": lambda s: replace(s, smoothing=following(SMOOTHINGS, s.smoothing)),
}
