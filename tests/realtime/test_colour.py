"""Colour conversion against exact arithmetic on the planes."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from br2focus.realtime.colour import from_bgr, resolved, tags, to_bgr
from br2focus.realtime.video_info import Colour

KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
SIZE = (256, 128)
BLOCK = 16
Planes = list[NDArray[np.int64]]


def colours(seed: int = 0) -> NDArray[np.float64]:
    """RGB blocks of one colour each, 0 to 1, with the corners of the cube among them."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (SIZE[1] // BLOCK, SIZE[0] // BLOCK, 3))
    blocks[0, :8] = [[255 * (i >> j & 1) for j in range(3)] for i in range(8)]
    return np.kron(blocks, np.ones((BLOCK, BLOCK, 1))) / 255


def levels(bits: int, *, full: bool) -> tuple[float, float, float]:
    """Black level, luma span and chroma span."""
    scale = 2 ** (bits - 8)
    return (0, 2**bits - 1, 2**bits - 1) if full else (16 * scale, 219 * scale, 224 * scale)


def encode(rgb: NDArray[np.float64], matrix: int, bits: int, *, full: bool) -> Planes:
    kr, kb = KR_KB[matrix]
    red, green, blue = np.moveaxis(rgb, 2, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    black, span, chroma = levels(bits, full=full)
    middle = 2 ** (bits - 1)
    values = (
        luma * span + black,
        (blue - luma) / 2 / (1 - kb) * chroma + middle,
        (red - luma) / 2 / (1 - kr) * chroma + middle,
    )
    return [np.clip(np.rint(value), 0, 2**bits - 1).astype(np.int64) for value in values]


def decode(planes: Planes, matrix: int, bits: int, *, full: bool) -> NDArray[np.float64]:
    kr, kb = KR_KB[matrix]
    black, span, chroma = levels(bits, full=full)
    luma = (planes[0] - black) / span
    blue = luma + 2 * (1 - kb) * (planes[1] - 2 ** (bits - 1)) / chroma
    red = luma + 2 * (1 - kr) * (planes[2] - 2 ** (bits - 1)) / chroma
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([blue, green, red], -1) * 255, 0, 255)


def frame_of(planes: Planes, pix_fmt: str, matrix: int, *, full: bool) -> av.VideoFrame:
    frame = av.VideoFrame(*SIZE, pix_fmt)
    kind = np.uint16 if "10" in pix_fmt else np.uint8
    for plane, values in zip(frame.planes, planes, strict=True):
        small = values[:: SIZE[1] // plane.height, :: SIZE[0] // plane.width]
        rows = np.zeros((plane.height, plane.line_size // kind().itemsize), kind)
        rows[:, : plane.width] = small
        plane.update(rows)  # type: ignore[arg-type]
    frame.colorspace = matrix
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    return frame


def inner(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle of every block, where chroma is not mixed with a neighbour's."""
    shape = (SIZE[1] // BLOCK, BLOCK, SIZE[0] // BLOCK, BLOCK, -1)
    return image.reshape(shape)[:, 4:12, :, 4:12]


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("pix_fmt", "bits"),
    [("yuv420p", 8), ("yuv420p10le", 10), ("yuv444p", 8), ("yuv422p10le", 10)],
)
def test_to_bgr_is_within_two_levels(pix_fmt: str, bits: int, full: bool, matrix: int) -> None:
    planes = encode(colours(), matrix, bits, full=full)
    image = to_bgr(frame_of(planes, pix_fmt, matrix, full=full), VideoReformatter())
    error = inner(image.astype(float) - decode(planes, matrix, bits, full=full))
    assert np.abs(error).max() <= 2
    assert -0.3 < error.mean() < 0.5  # truncation would darken by a half or more


def test_yuvj_is_full_range_whatever_its_tag_says() -> None:
    planes = encode(colours(), 5, 8, full=True)
    image = to_bgr(frame_of(planes, "yuvj420p", 5, full=False), VideoReformatter())
    assert np.abs(inner(image - decode(planes, 5, 8, full=True))).max() <= 2


@pytest.mark.parametrize("full", [False, True])
def test_interleaved_chroma_is_the_same_picture(full: bool) -> None:
    planar = frame_of(encode(colours(), 1, 8, full=full), "yuv420p", 1, full=full)
    luma, *chroma = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in planar.planes
    )
    pairs = np.stack(chroma, -1).reshape(len(chroma[0]), -1)
    frame = av.VideoFrame.from_ndarray(np.vstack([luma, pairs]), format="nv12")
    frame.colorspace, frame.color_range = planar.colorspace, planar.color_range
    assert (to_bgr(frame, VideoReformatter()) == to_bgr(planar, VideoReformatter())).all()


def test_one_reformatter_serves_frames_of_different_colour() -> None:
    reformatter = VideoReformatter()
    for matrix, full in [(1, False), (5, True), (9, False), (1, True), (1, False)]:
        planes = encode(colours(), matrix, 8, full=full)
        image = to_bgr(frame_of(planes, "yuv420p", matrix, full=full), reformatter)
        assert np.abs(inner(image - decode(planes, matrix, 8, full=full))).max() <= 2


@pytest.mark.parametrize("pix_fmt", ["gbrp", "rgb24", "bgra"])
def test_rgb_has_no_matrix(pix_fmt: str) -> None:
    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pix_fmt)
    frame.colorspace, frame.color_range = 1, ColorRange.MPEG
    assert (to_bgr(frame, VideoReformatter()) == image).all()
    assert tags(frame).matrix == 0


@pytest.mark.parametrize(("tag", "black", "white"), [(1, 16, 235), (2, 0, 255), (0, 0, 255)])
def test_gray(tag: int, black: int, white: int) -> None:
    frame = av.VideoFrame.from_ndarray(np.array([[black, white]], np.uint8), format="gray")
    frame.color_range = ColorRange(tag)
    assert to_bgr(frame, VideoReformatter())[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv410p", "yuv420p10le", "nv12", "yuv444p"])
@pytest.mark.parametrize("size", [(161, 121), (1, 1), (2, 2), (3, 5)])
def test_any_size(pix_fmt: str, size: tuple[int, int]) -> None:
    image = to_bgr(av.VideoFrame(*size, pix_fmt), VideoReformatter())
    assert image.shape == (size[1], size[0], 3)
    assert image.flags.c_contiguous and image.flags.owndata


@pytest.mark.parametrize(
    ("colour", "size", "expected"),
    [
        (Colour(), (1280, 720), Colour(1, False, 1, 1)),
        (Colour(), (720, 1280), Colour(1, False, 1, 1)),
        (Colour(), (640, 480), Colour(6, False, 6, 6)),
        (Colour(), (720, 576), Colour(5, False, 5, 6)),
        (Colour(9, True, 9, 16), (640, 480), Colour(9, True, 9, 16)),
        (Colour(primaries=9), (640, 480), Colour(9, False, 9, 14)),
        (Colour(0, True, 1, 13), (64, 64), Colour(6, False, 1, 13)),  # RGB, to be written as YUV
        (Colour(6, True), (1920, 1080), Colour(6, True, 1, 1)),
    ],
)
def test_resolved(colour: Colour, size: tuple[int, int], expected: Colour) -> None:
    assert resolved(colour, size) == expected


def test_an_untagged_frame_takes_its_matrix_from_its_size() -> None:
    planes = encode(colours(), 6, 8, full=False)
    frame = frame_of(planes, "yuv420p", 2, full=False)
    frame.color_range = ColorRange.UNSPECIFIED
    image = to_bgr(frame, VideoReformatter())
    assert np.abs(inner(image - decode(planes, 6, 8, full=False))).max() <= 2


@pytest.mark.parametrize("colour", [Colour(1, False, 1, 1), Colour(6, True, 6, 6), Colour(9, False, 9, 16)])
@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("yuv444p", 8), ("yuv420p10le", 10)])
def test_from_bgr_and_back(colour: Colour, pix_fmt: str, bits: int) -> None:
    rgb = colours(2)
    image = np.rint(rgb[..., ::-1] * 255).astype(np.uint8)
    frame = from_bgr(image, colour, pix_fmt, VideoReformatter())
    assert tags(frame) == colour
    luma = np.frombuffer(frame.planes[0], np.uint8 if bits == 8 else np.uint16)
    luma = luma.reshape(SIZE[1], -1)[:, : SIZE[0]].astype(int)
    exact = encode(rgb, colour.matrix, bits, full=colour.full_range)[0]
    assert np.abs(luma - exact).max() <= 1
    back = to_bgr(frame, VideoReformatter())
    assert np.abs(inner(back.astype(float) - image)).max() <= 4  # two roundings in 8 bits


def test_from_bgr_states_what_was_not_stated_and_takes_read_only_views() -> None:
    image = np.zeros((48, 128, 3), np.uint8)[:, ::2]
    image.flags.writeable = False
    assert tags(from_bgr(image, Colour(), "yuv420p", VideoReformatter())) == Colour(6, False, 6, 6)
