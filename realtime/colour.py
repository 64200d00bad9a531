"""Colour conversion between YUV video frames of any format and BGR, with the correct matrix and range.

Unspecified tags get the defaults that players use: BT.709 for at least 720 lines or 1280 columns, BT.601
below, limited range. RGB and gray have no matrix. PQ and HLG video is converted like SDR, without tone
mapping: highlights look flat and colours pale.

Higher bit depths are rounded to 8 bits, not truncated. The largest error against exact arithmetic is 2 of
255.
"""

from __future__ import annotations

from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from .bands import in_bands
from .frame import Image
from .video_info import Colour

UNSTATED, RGB = 2, 0
HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics by H.273 code point
_TO_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # swscale has a single number for BT.601
# Common planar formats with their chroma subsampling factors, horizontal and vertical.
_PLANAR = {"420p": (2, 2), "422p": (2, 1), "444p": (1, 1)}
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.3, 0.11),
    5: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
# All other formats go through planar RGB, the only output that swscale computes both exactly and fast.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_EXPAND = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


class _Set(NamedTuple):
    matrix: int
    primaries: int
    transfer: int


_HD, _SD, _PAL, _UHD = _Set(1, 1, 1), _Set(6, 6, 6), _Set(5, 5, 6), _Set(9, 9, 14)


def tags(frame: av.VideoFrame) -> Colour:
    """Return the colour tags of a decoded frame; RGB and ``yuvj`` formats are full range by definition."""
    name = frame.format.name
    is_rgb = bool(frame.format.is_rgb)
    full = is_rgb or name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    if name.startswith("gray") and frame.color_range == ColorRange.UNSPECIFIED:
        full = True
    matrix = RGB if is_rgb else int(frame.colorspace)
    return Colour(matrix, full, int(frame.color_primaries), int(frame.color_trc))


def resolved(colour: Colour, size: tuple[int, int]) -> Colour:
    """Return ``colour`` with every unspecified value filled in, so that an output can be tagged.

    A matrix that cannot be written (RGB, unspecified, unknown) is replaced: by BT.2020 if the primaries are
    BT.2020, else according to the ``size`` (width, height) of the picture. RGB then becomes limited range.
    """
    width, height = size
    guess = _HD if width >= 1280 or height >= 720 else _PAL if height == 576 else _SD
    if colour.primaries == _UHD.primaries:
        guess = _UHD
    known = colour.matrix in _TO_SWSCALE
    return Colour(
        matrix=(9 if colour.matrix == 10 else colour.matrix) if known else guess.matrix,
        full_range=colour.full_range and colour.matrix != RGB,
        primaries=colour.primaries if colour.primaries not in (0, UNSTATED) else guess.primaries,
        transfer=colour.transfer if colour.transfer not in (0, UNSTATED) else guess.transfer,
    )


def to_bgr(frame: av.VideoFrame, reformatter: VideoReformatter) -> Image:
    """Convert a decoded frame to BGR.

    Args:
        frame: any pixel format and bit depth, including odd sizes.
        reformatter: use one per file; it caches the converter between frames.

    Returns:
        uint8 BGR H x W x 3, contiguous, owning its memory.
    """
    colour = tags(frame)
    if frame.format.name.startswith("gray"):
        return _gray_to_bgr(frame, reformatter, full_range=colour.full_range)
    matrix = _TO_SWSCALE[resolved(colour, (frame.width, frame.height)).matrix]
    smaller = _PLANAR.get(frame.format.name.removeprefix("yuvj").removeprefix("yuv"))
    if smaller is not None:
        planes = [_pixels(plane) for plane in frame.planes[:3]]
        return _eight_bit_planar(planes, _to_bgr_matrix(matrix, colour.full_range), smaller)
    if frame.format.name == "nv12":  # hardware decoder output: 4:2:0 with interleaved Cb and Cr
        luma, pairs = _pixels(frame.planes[0]), _pixels(frame.planes[1], bytes_each=2)
        planes = [luma, *(pairs[:, start::2] for start in (0, 1))]
        return _eight_bit_planar(planes, _to_bgr_matrix(matrix, colour.full_range), (2, 2))
    planar = reformatter.reformat(
        frame,
        format="gbrp",
        interpolation=_EXACT,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=ColorRange.JPEG if colour.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )
    green, blue, red = (_pixels(plane) for plane in planar.planes)
    return cv2.merge((blue, green, red))  # type: ignore[return-value]


def _to_bgr_matrix(matrix: int, full_range: bool) -> NDArray[np.float32]:
    """Return the 3 x 4 matrix from 8-bit Y, Cb, Cr to B, G, R."""
    red, blue = _WEIGHTS[matrix]
    green = 1 - red - blue
    black, span, chroma = (0, 255, 255) if full_range else (16, 219, 224)
    to_red, to_blue = 2 * (1 - red), 2 * (1 - blue)
    rows = np.array(
        [
            [1, to_blue, 0],
            [1, -to_blue * blue / green, -to_red * red / green],
            [1, 0, to_red],
        ]
    )
    rows *= 255 / np.array([span, chroma, chroma])
    return np.hstack([rows, -rows @ [[black], [128], [128]]]).astype(np.float32)


def _eight_bit_planar(planes: list[Image], matrix: NDArray[np.float32], smaller: tuple[int, int]) -> Image:
    # Exact, without overflow, and takes a third of the time of swscale's exact mode. A chroma sample is
    # replicated to its 2 x 2 pixels, so converting back to 4:2:0 restores it.
    luma, *chroma = planes
    across, down = smaller
    height, width = luma.shape
    image = np.empty((height, width, 3), np.uint8)

    def convert(rows: slice) -> None:
        parts = [luma[rows]]
        for plane in chroma:
            part = plane[rows.start // down : -(-rows.stop // down)]
            size = (part.shape[1] * across, part.shape[0] * down)
            large = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)
            parts.append(large[: len(parts[0]), :width])  # type: ignore[arg-type]
        cv2.transform(cv2.merge(parts), matrix, image[rows])

    in_bands(height, convert)
    return image


def _gray_to_bgr(frame: av.VideoFrame, reformatter: VideoReformatter, *, full_range: bool) -> Image:
    # swscale treats all gray input as full range, regardless of its options
    gray = _pixels(reformatter.reformat(frame, format="gray", threads=1).planes[0])
    if not full_range:
        gray = _EXPAND[gray]
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]


def _pixels(plane: av.video.plane.VideoPlane, *, bytes_each: int = 1) -> Image:
    """Return an 8-bit plane as a uint8 H x W view."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
    return rows[:, : plane.width * bytes_each]  # type: ignore[no-any-return]


def _half_chroma(image: Image, to_bgr: NDArray[np.float32]) -> av.VideoFrame:
    """Return a yuv420p frame with chroma averaged over 2 x 2 pixels, in a quarter of swscale's time."""
    back = np.linalg.inv(to_bgr[:, :3].astype(np.float64))
    forth = np.hstack([back, -back @ to_bgr[:, 3:]]).astype(np.float32)
    height, width = image.shape[:2]
    data, area = np.empty(height * width * 3 // 2, np.uint8), height * width
    luma = data[:area].reshape(height, width)
    chroma = data[area:].reshape(2, height // 2, width // 2)

    def convert(rows: slice) -> None:
        band = cv2.transform(image[rows], forth)
        cv2.extractChannel(band, 0, luma[rows])
        half = cv2.resize(band, (width // 2, len(band) // 2), interpolation=cv2.INTER_AREA)
        for number, plane in enumerate(chroma, 1):
            cv2.extractChannel(half, number, plane[rows.start // 2 : rows.stop // 2])

    in_bands(height, convert)
    return av.VideoFrame.from_ndarray(data.reshape(height * 3 // 2, width), format="yuv420p")


def from_bgr(image: Image, colour: Colour, pix_fmt: str, reformatter: VideoReformatter) -> av.VideoFrame:
    """Convert an image to an encoder frame and tag it with ``colour``.

    Args:
        image: uint8 BGR H x W x 3; both sides must be even if ``pix_fmt`` subsamples chroma.
        colour: unspecified values are filled in first (see `resolved`).
        pix_fmt: FFmpeg's name of a YUV format.
        reformatter: use one per output; it caches the converter between frames.
    """
    colour = resolved(colour, (image.shape[1], image.shape[0]))
    full = colour.full_range or pix_fmt.startswith("yuvj")
    matrix = _TO_SWSCALE[colour.matrix]
    if pix_fmt == "yuv420p":
        frame = _half_chroma(image, _to_bgr_matrix(matrix, full))
    else:
        frame = reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24"),
            format=pix_fmt,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
            threads=1,
        )
    frame.colorspace = colour.matrix
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
    return frame
