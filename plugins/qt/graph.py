"""The graph: how much of each region was in focus in the last seconds, and the best so far."""

from __future__ import annotations

import time
from itertools import pairwise

from PyQt6.QtCore import QPointF, QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from PyQt6.QtWidgets import QSizePolicy, QWidget

from br2focus.realtime.scores import SECONDS, Scores, Series

from .hud import font
from .palette import FAINT, GROUND, INK, series_colour

LEFT, TOP, BOTTOM = 34.0, 8.0, 20.0
LEGEND = 176.0
DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DashDotLine)
GAP_SECONDS = 0.6  # between two values, and three times their usual distance: not drawn over


class Graph(QWidget):
    """Draws `Scores`; colours and dashes tell the regions apart, so not colour alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = Scores()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Focus over time")
        self.setToolTip(
            "Share of the whole frame, and sharpness of each region, that is in focus: 1 = all of it.\n"
            "The dotted line is the best so far (X starts it anew). Values are of each frame alone, without\n"
            "smoothing, so the maximum is where the focus was best."
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Low and wide."""
        return QSize(640, 150)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Grid, lines, legend."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), GROUND)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        plot = QRectF(LEFT, TOP, max(self.width() - LEFT - LEGEND, 10), self.height() - TOP - BOTTOM)
        _paint_grid(painter, plot)
        now = time.monotonic()
        for number, (name, series) in enumerate(self.scores.series.items()):
            self._paint_series(painter, plot, series, now, number)
            self._paint_legend(painter, plot, number, name, series)

    def _paint_series(self, painter: QPainter, plot: QRectF, series: Series, now: float, number: int) -> None:
        colour = series_colour(number)
        painter.setPen(QPen(colour, 2.0 if number else 1.4, DASHES[number % len(DASHES)]))
        for part in parts(series, now, plot):
            painter.drawPolyline(QPolygonF(part))
        best = series.best
        if best is None or not number:
            return
        y = plot.bottom() - best.value * plot.height()
        painter.setPen(QPen(colour, 1.0, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
        x = plot.right() - (now - best.arrived) / SECONDS * plot.width()
        if x >= plot.left():
            painter.setBrush(colour)
            painter.drawEllipse(QPointF(x, y), 4, 4)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _paint_legend(self, painter: QPainter, plot: QRectF, number: int, name: str, series: Series) -> None:
        painter.setFont(font(9.0, bold=number > 0))
        height = QFontMetricsF(painter.font()).height() + 2
        y = plot.top() + number * height
        if series.last is None or y + height > self.height():
            return
        pen = QPen(series_colour(number), 2.0, DASHES[number % len(DASHES)])
        painter.setPen(pen)
        left = plot.right() + 10
        painter.drawLine(QPointF(left, y + height / 2), QPointF(left + 20, y + height / 2))
        painter.setPen(INK)
        best = f"  best {series.best.value:.2f}" if number and series.best else ""
        text = f"{name[:14]} {series.last.value:.2f}{best}"
        painter.drawText(QPointF(left + 26, y + height * 0.75), text)


def parts(series: Series, now: float, plot: QRectF) -> list[list[QPointF]]:
    """The points of ``series`` in ``plot``, whose right edge is ``now``; a new part behind every gap."""
    found: list[list[QPointF]] = []
    before, points = None, series.points
    steps = sorted(b.arrived - a.arrived for a, b in pairwise(points))
    gap = max(GAP_SECONDS, 3 * steps[len(steps) // 2]) if steps else GAP_SECONDS
    for point in points:
        if now - point.arrived > SECONDS:
            continue
        if before is None or point.arrived - before > gap:
            found.append([])
        before = point.arrived
        x = plot.right() - (now - point.arrived) / SECONDS * plot.width()
        found[-1].append(QPointF(x, plot.bottom() - point.value * plot.height()))
    return found


def _paint_grid(painter: QPainter, plot: QRectF) -> None:
    painter.setFont(font(8.0))
    for step in range(5):
        y = plot.bottom() - step / 4 * plot.height()
        painter.setPen(QPen(QColor(70, 70, 74), 1.0))
        painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
        if step % 2 == 0:
            painter.setPen(FAINT)
            painter.drawText(QPointF(6, y + 4), f"{step / 4:.1f}")
    painter.setPen(FAINT)
    for ago in (20, 15, 10, 5, 0):
        x = plot.right() - ago / SECONDS * plot.width()
        text = "now" if ago == 0 else f"-{ago} s"
        painter.drawText(QPointF(x - (22 if ago == 0 else 8), plot.bottom() + 15), text)
