"""What compression does to a picture: JPEG, or a short clip through a real encoder, and back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Literal

import av
import cv2
import numpy as np

from .optics import Pixels

Codec = Literal["libx264", "libx265"]


def jpeg(image: Pixels, quality: int) -> Pixels:
    """``image`` (uint8 BGR) through JPEG of ``quality``, 0 to 100."""
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def compressed(
    image: Pixels,
    codec: Codec,
    options: Mapping[str, str],
    motion: tuple[float, float],
    frames: int,
) -> Pixels:
    """``image`` as the last frame of a clip that moves towards it, encoded and decoded.

    Args:
        image: uint8 BGR H x W x 3; odd sides lose their last row or column to 4:2:0.
        codec: which encoder.
        options: of the encoder, such as ``{"crf": "28"}``.
        motion: pixels that the picture moves from one frame to the next, in x and y.
        frames: length of the clip; 1 is a key frame alone.

    Returns:
        uint8 BGR of the same size; an odd row or column is that of ``image``.
    """
    height, width = (side // 2 * 2 for side in image.shape[:2])
    data = io.BytesIO()
    with av.open(data, "w", format="matroska") as box:
        stream = box.add_stream(codec, rate=25, options={"threads": "1", **options})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            away = frames - 1 - number
            move = np.array([[1, 0, -motion[0] * away], [0, 1, -motion[1] * away]], np.float64)
            moved = cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
            picture = av.VideoFrame.from_ndarray(np.asarray(moved, np.uint8), format="bgr24")
            box.mux(stream.encode(picture))
        box.mux(stream.encode())
    data.seek(0)
    result = image.copy()
    with av.open(data, "r") as decoded:
        *_, last = decoded.decode(video=0)
    result[:height, :width] = last.to_ndarray(format="bgr24")
    return result
