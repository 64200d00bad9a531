"""The legend that explains an overlay's colours."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from br2focus.realtime.frame import Image
from br2focus.realtime.overlay_style import OverlayKind

COLOUR_MAP = cv2.COLORMAP_VIRIDIS  # readable with any type of colour vision, and in gray
FONT = cv2.FONT_HERSHEY_SIMPLEX


def put_legend(image: Image, kind: OverlayKind, model: str, colour: tuple[int, int, int]) -> None:
    """Draw the legend into the lower left corner of ``image`` in place; skipped if the image is too small."""
    patch = legend(kind, model, max(image.shape[0] / 720, 0.5), colour)
    height, width = patch.shape[:2]
    margin = height // 3
    if image.shape[0] >= 3 * height and image.shape[1] >= width + 2 * margin:
        image[-height - margin : -margin, margin : margin + width] = patch


@lru_cache(maxsize=1)
def colour_table() -> Image:
    """Return the colours of 256 focus levels, BGR 256 x 1 x 3; OpenCV would rebuild them in every call."""
    return u8(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], COLOUR_MAP))


def load_font() -> None:
    """Load the font, which takes about 20 ms; may be called from any thread."""
    cv2.getTextSize("", FONT, 0.5, 1)


@lru_cache(maxsize=16)
def legend(kind: OverlayKind, model: str, scale: float, colour: tuple[int, int, int]) -> Image:
    """Return a small plate with the meaning of the colours and the name of the model."""
    size, pad = 0.5 * scale, round(8 * scale)
    named = f"br2focus {model}".strip()
    words = ["blurred", "in focus", named] if kind in ("heat", "side-by-side") else [kind, named]
    boxes = [cv2.getTextSize(word, FONT, size, 1)[0] for word in words]
    bar = round(90 * scale) if len(words) == 3 else round(18 * scale)
    height = boxes[0][1] + 2 * pad
    plate = np.full((height, sum(b[0] for b in boxes) + bar + (len(words) + 2) * pad, 3), 24, np.uint8)
    x = pad
    for number, (word, box) in enumerate(zip(words, boxes, strict=True)):
        cv2.putText(plate, word, (x, height - pad), FONT, size, (235, 235, 235), 1, cv2.LINE_AA)
        x += box[0] + pad
        if number == 0:
            plate[pad:-pad, x : x + bar] = _swatch(kind, bar, colour)
            x += bar + pad
    return plate


def _swatch(kind: OverlayKind, width: int, colour: tuple[int, int, int]) -> Image:
    if kind in ("heat", "side-by-side"):
        ramp = np.linspace(0, 255, width).astype(np.uint8)[None]
        return u8(cv2.applyColorMap(ramp, colour_table()))
    shown = (96, 96, 96) if kind == "mask" else colour
    return np.full((1, width, 3), shown, np.uint8)


def u8(image: object) -> Image:
    """Return ``image`` as a uint8 array for type checkers, since OpenCV's return types are unspecific."""
    return np.asarray(image, np.uint8)
