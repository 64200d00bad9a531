"""Creates the smoother for a setting."""

from __future__ import annotations

from numbers import Real

from br2focus.realtime.device import cores
from br2focus.realtime.errors import SettingsError

from .adaptive import AdaptiveSmoother
from .exponential import ExponentialSmoother
from .look_ahead import AHEAD, LookAheadSmoother
from .protocol import Smoother

# "adaptive", "look-ahead" or "look-ahead:FRAMES", seconds, or None for raw maps; see `check_smoothing`.
SmoothingSetting = float | str | None
MAX_SECONDS = 60.0
SPARE_CORES = 4  # with fewer cores, another thread costs more than it saves
MAX_AHEAD = 30  # largest look-ahead in frames
CHOICES = (
    f"choose adaptive, look-ahead, look-ahead:FRAMES (1 to {MAX_AHEAD}), "
    f"a time in seconds (up to {MAX_SECONDS:g}), or off"
)


def check_smoothing(setting: SmoothingSetting) -> None:
    """Reject an invalid setting.

    Raises:
        SettingsError: the name is unknown, or the number of frames or seconds is out of range.
    """
    if isinstance(setting, str):
        known = setting == "adaptive" or 1 <= frames_ahead(setting) <= MAX_AHEAD
    else:
        known = setting is None or 0 < setting <= MAX_SECONDS
    if not known:
        raise SettingsError(f"smoothing {setting!r}: {CHOICES}")


def frames_ahead(setting: SmoothingSetting) -> int:
    """Return the look-ahead of "look-ahead" or "look-ahead:FRAMES" in frames; 0 for other settings."""
    if not isinstance(setting, str):
        return 0
    name, colon, frames = setting.partition(":")
    if name != "look-ahead":
        return 0
    return int(frames) if frames.isascii() and frames.isdecimal() else 0 if colon else AHEAD


def make_smoother(setting: SmoothingSetting, *, threaded: bool = False) -> Smoother | None:
    """Create the smoother for a setting; None for raw maps.

    Args:
        setting: see `check_smoothing`.
        threaded: allow part of the work in another thread if cores are free; then one more frame waits.

    Raises:
        SettingsError: see `check_smoothing`.
    """
    check_smoothing(setting)
    if setting is None:
        return None
    if not isinstance(setting, str):
        return ExponentialSmoother(float(setting))
    if ahead := frames_ahead(setting):
        return LookAheadSmoother(ahead, threaded=threaded and cores() >= SPARE_CORES)
    return AdaptiveSmoother()


def as_smoother(smoothing: Smoother | SmoothingSetting, *, threaded: bool = False) -> Smoother | None:
    """Return ``smoothing`` itself, or the smoother of a setting; see `make_smoother`.

    Raises:
        SettingsError: it is neither.
    """
    if smoothing is None or isinstance(smoothing, str):
        return make_smoother(smoothing, threaded=threaded)
    if isinstance(smoothing, Real):
        return make_smoother(float(smoothing), threaded=threaded)
    if not all(hasattr(smoothing, name) for name in ("add", "flush", "reset", "delay")):
        raise SettingsError(f"smoothing {smoothing!r}: {CHOICES}, or an object with add, flush, reset, delay")
    return smoothing  # type: ignore[return-value]  # checked by name
