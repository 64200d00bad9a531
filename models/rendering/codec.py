"""Effects of compression on a picture: JPEG, or a short clip through a real encoder and back."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

import av
import cv2
import numpy as np

from .optics import Pixels

Codec = Literal["libx264", "libx265"]
# Make the output identical every time: x264's macroblock tree depends on what its memory contained before,
# x265 on the order in which threads finish.
REPEATABLE: Mapping[Codec, Mapping[str, str]] = {
    "libx264": {"x264-params": "mbtree=0"},
    "libx265": {"x265-params": "log-level=none:pools=none:frame-threads=1"},
}
DECODERS: Mapping[Codec, Literal["h264", "hevc"]] = {"libx264": "h264", "libx265": "hevc"}


def jpeg(image: Pixels, quality: int) -> Pixels:
    """Return ``image`` (uint8 BGR) after JPEG compression with ``quality``, 0 to 100."""
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def compressed(
    image: Pixels,
    codec: Codec,
    options: Mapping[str, str],
    motion: tuple[float, float],
    frames: int,
) -> Pixels:
    """Return ``image`` as the last frame of a clip that moves towards it, after encoding and decoding.

    Args:
        image: uint8 BGR H x W x 3; the last row or column of an odd side is not encoded, because of 4:2:0.
        codec: which encoder.
        options: of the encoder, such as ``{"crf": "28"}``. Without its macroblock tree, x264 needs a CRF that
            is higher by five for the same loss. "x264-params" and "x265-params" replace those of
            `REPEATABLE`.
        motion: pixels that the picture moves from one frame to the next, in x and y.
        frames: length of the clip; 1 is only a key frame.

    Returns:
        uint8 BGR of the same size; an odd row or column is that of ``image``.
    """
    height, width = (side // 2 * 2 for side in image.shape[:2])
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
    encoder.options = {"threads": "1", **REPEATABLE[codec], **options}
    packets = []
    for number in range(frames):
        away = frames - 1 - number
        move = np.array([[1, 0, -motion[0] * away], [0, 1, -motion[1] * away]], np.float64)
        moved = cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        picture = av.VideoFrame.from_ndarray(np.asarray(moved, np.uint8), format="bgr24")
        picture.pts = number
        packets += encoder.encode(picture)
    # No container: in clips of one or two frames, x265 sets a random decoding time, which containers refuse.
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    *_, last = (
        frame for packet in [*packets, *encoder.encode(None), None] for frame in decoder.decode(packet)
    )
    result = image.copy()
    result[:height, :width] = last.to_ndarray(format="bgr24")
    return result
