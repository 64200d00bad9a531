"""The picture: painted in the screen's own pixels, zoomed, panned, with regions drawn by mouse or touch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PyQt6.QtCore import QPointF, QRectF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QRegion,
    QWheelEvent,
)
from PyQt6.QtWidgets import QWidget

from br2focus.realtime.frame import Image, Roi
from br2focus.realtime.sources.live.connection import State, Status

from .bridge import Shown
from .hud import LATE_STATES, Badge, paint_badges, paint_lines, paint_state
from .palette import GROUND, series_colour
from .placement import Placement, at_corner, free_name, inside, moved, place, spanned, tapped

ZOOMS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LABEL = 22.0  # height of a region's label
TAP = 5  # device pixels that a finger may slip
REACH = 10  # device pixels around the corner by which a region is resized
WHEEL_STEP = 120  # eighths of a degree, one notch of a wheel
DIM = QColor(0, 0, 0, 140)


class PictureView(QWidget):
    """Shows the newest picture. What is zoomed, panned or dimmed is the view alone, never the result.

    Attributes:
        lines, badges: written over the picture, empty for none.
        status, state: of the source, and its text in large letters ("" while all is well).
        clean: the frame without overlay, regions and text.
        before: the frame without overlay.
    """

    rois_changed = pyqtSignal(object)
    view_changed = pyqtSignal()

    def __init__(self, painted: Callable[[Shown, float], None]) -> None:
        super().__init__()
        self._painted = painted
        self._shown: Shown | None = None
        self._told: Shown | None = None
        self._scaled: tuple[object, QImage] | None = None
        self.scale: float | None = None
        self.centre = (0.0, 0.0)
        self.rois: tuple[Roi, ...] = ()
        self.selected = ""
        self.lines: Sequence[str] = ()
        self.badges: Sequence[Badge] = ()
        self.status = Status(State.CONNECTING, time.monotonic())
        self.state = ""
        self.clean = self.before = False
        self._drag: _Drag | None = None
        self._turned = 0
        self._plate = QRectF()  # what the figures cover
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(320, 180)
        self.setMouseTracking(False)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Picture with focus overlay")

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room for a small camera's picture."""
        return QSize(960, 600)

    @property
    def shown(self) -> Shown | None:
        """What is on the screen."""
        return self._shown

    def show_result(self, shown: Shown) -> None:
        """Paint ``shown`` at the next occasion."""
        before, self._shown = self._shown, shown
        if before is None or before.result.frame.size != shown.result.frame.size:
            width, height = shown.result.frame.size
            self.centre = (width / 2, height / 2)
        self.update()

    def clear(self) -> None:
        """Forget the picture: another source comes."""
        self._shown = self._scaled = None
        self.update()

    # --- where the picture lies ---------------------------------------------------------------

    @property
    def placement(self) -> Placement | None:
        """Where the picture lies, None without one."""
        if self._shown is None:
            return None
        height, width = self._image(self._shown).shape[:2]
        ratio = self.devicePixelRatioF()
        area = (max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio)))
        return place((width, height), area, self.scale, self.centre)

    def zoom_to(self, scale: float | None) -> None:
        """Show at ``scale`` device pixels a pixel, None to fit."""
        self.scale = scale
        if self.placement is not None:  # nothing of the picture is hidden by where the view was
            self.centre = self.placement.centre
        self.view_changed.emit()
        self.update()

    def punch_in(self) -> None:
        """One to one in device pixels, around the selected region, and back."""
        chosen = next((roi for roi in self.rois if roi.name == self.selected), None)
        if self.scale is None and chosen is not None:
            self.centre = (chosen.x + chosen.width / 2, chosen.y + chosen.height / 2)
        self.zoom_to(1.0 if self.scale is None else None)

    def step_zoom(self, direction: int, at: tuple[float, float] | None = None) -> None:
        """The next larger or smaller scale; the picture's point under device pixel ``at`` stays there."""
        before = self.placement
        if before is None:
            return
        nearer = [zoom for zoom in ZOOMS if (zoom - before.scale) * direction > 0.01 * before.scale]
        if not nearer:
            return
        scale = min(nearer, key=lambda zoom: abs(zoom - before.scale))
        if at is not None:
            x, y = before.to_picture(*at)
            self.centre = (
                x + (before.area[0] / 2 - at[0]) / scale,
                y + (before.area[1] / 2 - at[1]) / scale,
            )
        self.zoom_to(scale)

    def pan(self, x: float, y: float) -> None:
        """Move the view by a share of what is visible."""
        placement = self.placement
        if placement is None or self.scale is None:
            return
        width, height = (side / placement.scale for side in placement.area)
        self._centre_at(self.centre[0] + x * width, self.centre[1] + y * height)

    def _centre_at(self, x: float, y: float) -> None:
        self.centre = (x, y)
        if self.placement is not None:
            self.centre = self.placement.centre
        self.update()

    # --- painting -----------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Picture, regions, text; tells when a new picture was painted."""
        begun = time.monotonic()
        painter = QPainter(self)
        painter.fillRect(self.rect(), GROUND)
        shown, placement = self._shown, self.placement
        if shown is not None and placement is not None:
            image = self._device_image(shown, placement)
            ratio = self.devicePixelRatioF()
            x, y = placement.to_device(*placement.visible()[:2])
            painter.drawImage(QPointF(round(x) / ratio, round(y) / ratio), image)
        self._paint_text(painter)
        if shown is not None and placement is not None and not self.clean:
            self._paint_rois(painter, placement)
        painter.end()
        if shown is not None and shown is not self._told:
            self._told = shown
            self._painted(shown, begun)

    def _image(self, shown: Shown) -> Image:
        return shown.result.frame.image if self.clean or self.before else shown.picture

    def _device_image(self, shown: Shown, placement: Placement) -> QImage:
        """The visible part in device pixels; Qt draws it as it is, whatever the screen's ratio."""
        key = (id(shown), self.clean or self.before, placement)
        if self._scaled is None or self._scaled[0] != key:
            self._scaled = key, _scaled(self._image(shown), placement)
            self._scaled[1].setDevicePixelRatio(self.devicePixelRatioF())
        return self._scaled[1]

    def _paint_rois(self, painter: QPainter, placement: Placement) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        figures = self._plate.toAlignedRect()
        painter.setClipRegion(QRegion(self.rect()).subtracted(QRegion(figures)))
        ratio = self.devicePixelRatioF()
        drawn = self._drag.roi if self._drag else None
        for number, roi in enumerate((*self.rois, *([drawn] if drawn else [])), 1):
            x, y = placement.to_device(roi.x, roi.y)
            side = (roi.width * placement.scale / ratio, roi.height * placement.scale / ratio)
            box = QRectF(x / ratio, y / ratio, *side)
            chosen = roi.name == self.selected and bool(roi.name)
            for colour, width in ((QColor("black"), 4.0), (series_colour(number), 2.0)):
                painter.setPen(QPen(colour, width + chosen))
                painter.drawRect(box)
            if label := self.label(roi):
                above = QRectF(box.left(), box.top() - LABEL, box.width(), LABEL)
                covers = above.top() < 0 or above.intersects(self._plate)
                top = box.bottom() + 2 if covers else above.top()
                paint_lines(painter, QPointF(box.left(), top), [label])

    def label(self, roi: Roi) -> str:
        """Name, score and best of a region, of the very frame that is shown."""
        values = self._shown.scores.get(roi.name) if self._shown is not None else None
        return f"{roi.name} {values[0]:.2f}  best {values[1]:.2f}" if values else roi.name

    def _paint_text(self, painter: QPainter) -> None:
        area = QRectF(self.rect())
        late = self.status.state in LATE_STATES
        if self.state:
            if late or self._shown is not None:
                painter.fillRect(area, DIM)
            paint_state(painter, area, self.state, self.status.reason, alarm=late)
        shown = [badge for badge in self.badges if badge.always or not self.clean]
        lines = [] if self.clean else self.lines
        self._plate = top = paint_lines(painter, QPointF(8, 8), lines) if lines else QRectF()
        crowded = top.right() + 160 > area.width()
        paint_badges(painter, area.width() - 8, top.bottom() + 8 if crowded else 8, shown)

    # --- mouse and touch ----------------------------------------------------------------------

    def _at(self, event: QMouseEvent | QWheelEvent) -> tuple[float, float]:
        """Device pixels."""
        ratio, point = self.devicePixelRatioF(), event.position()
        return point.x() * ratio, point.y() * ratio

    def _point(self, placement: Placement, at: tuple[float, float]) -> tuple[float, float]:
        """The frame's pixel under device pixel ``at``; side by side, both halves are the same frame."""
        x, y = placement.to_picture(*at)
        width = self._shown.result.frame.size[0] if self._shown is not None else placement.picture[0]
        return (x - width if width <= x < placement.picture[0] else x), y

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Begin a region, move or resize one, or pan. With Shift always a new one."""
        placement = self.placement
        if event is None or placement is None or self._shown is None or self.clean:
            return
        at = self._at(event)
        point = self._point(placement, at)
        if event.button() != Qt.MouseButton.LeftButton:
            self._drag = _Drag(at, point, None, pans=True, centre=self.centre)
            return
        reach = REACH / placement.scale
        newest = list(reversed(self.rois))
        fresh = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        corner = None if fresh else next((r for r in newest if at_corner(r, point, reach)), None)
        held = None if fresh else corner or next((r for r in newest if inside(r, point)), None)
        self._drag = _Drag(at, point, held, resizes=corner is not None)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Go on with it."""
        drag, placement, shown = self._drag, self.placement, self._shown
        if event is None or drag is None or placement is None or shown is None:
            return
        at = self._at(event)
        drag.slipped = drag.slipped or max(abs(at[0] - drag.at[0]), abs(at[1] - drag.at[1])) > TAP
        if not drag.slipped:
            return
        size = shown.result.frame.size
        by = ((at[0] - drag.at[0]) / placement.scale, (at[1] - drag.at[1]) / placement.scale)
        end = (drag.point[0] + by[0], drag.point[1] + by[1])
        if drag.pans:
            self._centre_at(drag.centre[0] - by[0], drag.centre[1] - by[1])
        elif drag.held is None:
            drag.roi = spanned(drag.point, end, size)
        elif drag.resizes:
            roi = spanned((drag.held.x, drag.held.y), end, size)
            if roi is not None:
                self._replace(drag.held.name, roi._replace(name=drag.held.name))
        else:
            self._replace(drag.held.name, moved(drag.held, by, size))
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Finish it: a tap selects a region or places one."""
        drag, self._drag = self._drag, None
        if drag is None or drag.pans or self._shown is None:
            return
        if drag.held is not None:
            self.select(drag.held.name)
        elif drag.slipped:
            if drag.roi is not None:
                self.add_roi(drag.roi)
        elif inside(Roi("", 0, 0, *self._shown.result.frame.size), drag.point):
            self.add_roi(tapped(drag.point, self._shown.result.frame.size))
        self.update()

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802
        """Zoom where the pointer is; a touchpad's small steps add up to one of a wheel."""
        if event is None:
            return
        self._turned += event.angleDelta().y()
        steps = int(self._turned / WHEEL_STEP)
        self._turned -= steps * WHEEL_STEP
        for _ in range(abs(steps)):
            self.step_zoom(1 if steps > 0 else -1, self._at(event))

    # --- regions ------------------------------------------------------------------------------

    def add_roi(self, roi: Roi | None = None) -> None:
        """Add a region, in the middle of what is visible unless it is given."""
        if self._shown is None:
            return
        placement = self.placement
        middle = placement.centre if placement is not None else self.centre
        roi = roi or tapped(middle, self._shown.result.frame.size)
        named = roi._replace(name=free_name(self.rois))
        self._set_rois((*self.rois, named), named.name)

    def select(self, name: str) -> None:
        """Make ``name`` the region that keys act on; "" for none."""
        self.selected = name
        self.update()

    def select_next(self) -> None:
        """Go through the regions."""
        names = [roi.name for roi in self.rois]
        if names:
            at = names.index(self.selected) if self.selected in names else -1
            self.select(names[(at + 1) % len(names)])

    def change_selected(self, change: Callable[[Roi, tuple[int, int]], Roi]) -> None:
        """Replace the selected region by ``change(region, size of the picture)``."""
        for roi in self.rois:
            if roi.name == self.selected and self._shown is not None:
                self._replace(roi.name, change(roi, self._shown.result.frame.size))

    def remove(self, name: str | None = None) -> None:
        """Remove the region ``name``, or all of them."""
        kept = () if name is None else tuple(roi for roi in self.rois if roi.name != name)
        self._set_rois(kept, kept[-1].name if kept else "")

    def _replace(self, name: str, roi: Roi) -> None:
        self._set_rois(tuple(roi if r.name == name else r for r in self.rois), name)

    def _set_rois(self, rois: tuple[Roi, ...], selected: str) -> None:
        self.rois, self.selected = rois, selected
        self.rois_changed.emit(rois)
        self.update()


class _Drag:
    """A button held down: where it began, in device and in picture pixels, and what it holds."""

    def __init__(
        self,
        at: tuple[float, float],
        point: tuple[float, float],
        held: Roi | None,
        *,
        pans: bool = False,
        resizes: bool = False,
        centre: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.at, self.point, self.held = at, point, held
        self.pans, self.resizes, self.centre = pans, resizes, centre
        self.slipped = False
        self.roi: Roi | None = None


def _scaled(image: Image, placement: Placement) -> QImage:
    """The visible part of ``image`` in device pixels, as a QImage that owns its pixels."""
    x, y, width, height = placement.visible()
    part = image[y : y + height, x : x + width]
    scale = placement.scale
    if scale != 1:
        sides = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR if scale < 2 else cv2.INTER_NEAREST
        part = np.asarray(cv2.resize(part, sides, interpolation=method), np.uint8)
    height, width = part.shape[:2]
    made = QImage(width, height, QImage.Format.Format_RGB32)
    bits = made.bits()
    assert bits is not None
    bits.setsize(made.sizeInBytes())
    memory = np.frombuffer(bits, np.uint8)  # type: ignore[call-overload]  # PyQt's pointer is a buffer
    rows = memory.reshape(height, made.bytesPerLine() // 4, 4)
    cv2.cvtColor(part, cv2.COLOR_BGR2BGRA, dst=rows[:, :width])
    return made
