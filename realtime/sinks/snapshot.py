"""A snapshot of one moment: image, overlay, 16-bit map, and figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import cv2

from br2focus.models.paths import AnyPath
from br2focus.realtime.output import Output
from br2focus.realtime.result import FocusResult

from .images import save_picture
from .maps import in_16_bits
from .sink import FileSink, Render


class SnapshotWriter(FileSink):
    """Writes one result into a folder: ``picture.png``, ``overlay.png``, ``map.png``, ``snapshot.json``.

    The map is the displayed one in 16 bits, 0..65535 = P 0..1. The JSON holds the frame's index and time, its
    share in focus and sharpness, and ``facts``.

    Args:
        folder: created here; appears under its name once all four files are written.
        render: returns the picture with its overlay.
        facts: additional entries for the JSON, e.g. the model and the scores of regions.

    Raises:
        SinkError: the folder exists or cannot be written.
    """

    FAILURES: ClassVar[tuple[type[Exception], ...]] = (OSError, cv2.error)

    def __init__(self, folder: AnyPath, *, render: Render, facts: Mapping[str, Any]) -> None:
        self._render, self._facts = render, facts
        super().__init__(Output(folder, folder=True))

    def _write(self, result: FocusResult) -> None:
        folder, frame, blur = self._output.temporary, result.frame, result.measured
        save_picture(folder / "picture.png", frame.image)
        save_picture(folder / "overlay.png", self._render(result))
        save_picture(folder / "map.png", in_16_bits(result))
        figures = {
            "index": frame.index,
            "seconds": float(frame.seconds),
            "width": frame.size[0],
            "height": frame.size[1],
            "in_focus_share": blur.in_focus_share(),
            "sharpness": blur.sharpness(),
        }
        text = json.dumps(figures | dict(self._facts), indent=2) + "\n"
        (folder / "snapshot.json").write_text(text, encoding="utf-8")
