"""What is written over the picture: figures, badges, the state of the source."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QFont, QFontMetricsF, QPainter

from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sources.live.connection import State, Status
from br2focus.realtime.stats import Statistics

from .palette import ALARM, INK, NOTE, PLATE, RECORDING

PAD = 6.0
SPINNER = "◐◓◑◒"
LATE_STATES = (State.STALLED, State.FROZEN, State.LOST, State.ENDED)


class Badge(NamedTuple):
    """A word that says that a mode is on; one that is ``always`` shown stays in the clean view."""

    text: str
    colour: QColor = NOTE
    always: bool = False


class View(Protocol):
    """How a picture is looked at: the scale (None = fitted), and without its overlay."""

    scale: float | None
    before: bool


def figures(
    name: str, size: tuple[int, int], computes: str, stats: Statistics, reference: float | None = None
) -> list[str]:
    """The lines of the HUD; ``reference`` is how sharp the footage can be, in pixels."""
    best = "" if reference is None else f"  reference {reference:.1f} px"
    delay = f", {stats.smoothing_delay * 1e3:.0f} of it smoothing" if stats.smoothing_delay else ""
    stages = " · ".join(f"{stage} {seconds * 1e3:.1f}" for stage, seconds in stats.stages.items())
    return [
        f"{name}  {size[0]} x {size[1]}  {computes}{best}",
        f"{stats.recent:.1f} frames/s · {stats.dropped} dropped",
        f"age {stats.age_p50 * 1e3:.0f} / {stats.age_p95 * 1e3:.0f} ms (p50 / p95){delay}",
        f"{stages} ms",
    ]


def state_text(status: Status, computes: str, *, shows: bool) -> str:
    """What is written large when the picture is old, or not there yet; "" while all is well.

    Args:
        status: of the source.
        computes: the model, named while it gets ready.
        shows: a picture of this source was shown.
    """
    clock = _clock(time.monotonic() - status.since)
    if status.state in LATE_STATES or (status.state is State.CONNECTING and shows):
        return f"{status.state.upper()} {clock}"
    spin = SPINNER[int(time.monotonic() * 4) % len(SPINNER)]
    if status.state is State.CONNECTING:
        return f"{spin} CONNECTING {clock}"
    return "" if shows else f"{spin} PREPARING {computes} (a first run takes some seconds)"


def font(size: float, *, bold: bool = False) -> QFont:
    """The font of everything over the picture; figures do not dance."""
    made = QFont()
    made.setPointSizeF(size)
    made.setBold(bold)
    tabular = QFont.Tag.fromString("tnum")
    if tabular is not None:
        made.setFeature(tabular, 1)
    return made


def paint_lines(painter: QPainter, at: QPointF, lines: Sequence[str], size: float = 9.0) -> QRectF:
    """Lines of text on a dark plate whose top-left corner is ``at``; what they cover."""
    painter.setFont(font(size))
    metrics = QFontMetricsF(painter.font())
    width = max((metrics.horizontalAdvance(line) for line in lines), default=0.0)
    plate = QRectF(at.x(), at.y(), width + 2 * PAD, metrics.height() * len(lines) + PAD)
    painter.fillRect(plate, PLATE)
    painter.setPen(INK)
    for number, line in enumerate(lines):
        y = plate.top() + PAD / 2 + metrics.height() * number + metrics.ascent()
        painter.drawText(QPointF(plate.left() + PAD, y), line)
    return plate


def paint_badges(painter: QPainter, right: float, top: float, badges: Sequence[Badge]) -> None:
    """Badges in a row that ends at ``right``."""
    painter.setFont(font(9.0, bold=True))
    metrics = QFontMetricsF(painter.font())
    for badge in reversed(badges):
        width = metrics.horizontalAdvance(badge.text) + 2 * PAD
        plate = QRectF(right - width, top, width, metrics.height() + PAD)
        painter.fillRect(plate, badge.colour)
        painter.setPen(QColor("white"))
        painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, badge.text)
        right -= width + PAD


def paint_state(painter: QPainter, area: QRectF, text: str, reason: str, *, alarm: bool) -> None:
    """The state in large letters over the middle, the reason below."""
    painter.setFont(font(22.0, bold=True))
    metrics = QFontMetricsF(painter.font())
    width = max(metrics.horizontalAdvance(text) + 6 * PAD, 260.0)
    plate = QRectF(0, 0, min(width, area.width()), metrics.height() + 4 * PAD)
    plate.moveCenter(area.center())
    painter.fillRect(plate, ALARM if alarm else PLATE)
    painter.setPen(QColor("white"))
    painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, text)
    if reason:
        box = QRectF(area.left(), plate.bottom(), area.width(), 40)
        painter.setFont(font(11.0))
        painter.drawText(box, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, reason)


def badges(settings: ViewSettings, view: View, *, takes: float | None, files: float | None) -> list[Badge]:
    """A badge whenever a mode is on; the first ones, of recording and scale, are shown in every view.

    Args:
        settings: how it is drawn.
        view: how it is looked at.
        takes, files: seconds for which the user's take, and what the command line asked for, are written.
    """
    found = []
    for name, seconds in (("REC", takes), ("FILE", files)):
        if seconds is not None:
            found.append(Badge(f"● {name} {_clock(seconds)}", RECORDING, always=True))
    if view.scale is not None:
        text = "1:1" if view.scale == 1 else f"{view.scale:g}x"
        found.append(Badge(text, always=True))
    if view.before:
        return [*found, Badge("BEFORE")]
    if settings.overlay == "none":
        return found
    style = settings.style
    words = [settings.overlay, "" if style.ground == "colour" else style.ground]
    if settings.overlay == "peaking":
        words += [
            "stripes" if style.stripes else "",
            f"{style.levels} levels" if style.levels > 1 else "",
            "" if style.noise_gate else "no noise gate",
        ]
    return [*found, *(Badge(word.upper()) for word in words if word)]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"
