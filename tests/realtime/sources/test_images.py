"""Still images, and sorting inputs."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from br2focus.realtime.errors import SourceError
from br2focus.realtime.sources.images import ImageFiles, expand, image_size, media_kind, read_image

SUFFIXES = [".png", ".bmp", ".tiff", ".webp", ".jpg"]


def picture(size: tuple[int, int] = (40, 30)) -> np.ndarray:  # type: ignore[type-arg]
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, : size[0] // 2] = (200, 30, 60)
    image[: size[1] // 2, size[0] // 2 :] = (20, 220, 240)
    return image


def write(path: Path, image: np.ndarray) -> Path:  # type: ignore[type-arg]
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_under_any_name(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"Schärfe 漢字{suffix}", picture())
    image = read_image(path)
    assert image.shape == (30, 40, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - picture())[2:12, 2:16].max() <= 12  # JPEG and WebP lose a little
    assert image_size(path.read_bytes()) == (40, 30)
    assert media_kind(path) == "image"


def test_images_give_one_frame_each_and_may_differ_in_size(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{size[0]}.png", picture(size)) for size in [(40, 30), (8, 60)]]
    with ImageFiles(paths, rate=Fraction(5)) as source:
        frames = list(source)
        assert [frame.size for frame in frames] == [(40, 30), (8, 60)]
        assert [frame.seconds for frame in frames] == [0, Fraction(1, 5)]
        assert source.info.frames == 2
        assert len(list(source)) == 2  # again


@pytest.mark.parametrize(("orientation", "turn"), [(1, None), (3, cv2.ROTATE_180), (6, 0), (8, 2)])
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, turn: int | None) -> None:
    stored = picture()
    jpeg = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    path = tmp_path / "photo.jpg"
    path.write_bytes(with_exif(jpeg, orientation))
    upright = stored if turn is None else cv2.rotate(stored, turn)
    image = read_image(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 3


def test_sixteen_bits_gray_alpha_and_floats(tmp_path: Path) -> None:
    deep = (np.arange(256, dtype=np.uint16) * 257 + 100)[None].repeat(4, 0)
    deep[:, -1] = 65535
    image = read_image(write(tmp_path / "deep.png", deep))
    assert image.shape == (4, 256, 3)
    assert (image[0, :, 0] == np.arange(256)).all()  # 100 of 65535 is less than half a level
    deep[:] = 200 * 257 - 100
    assert (read_image(write(tmp_path / "deep.png", deep)) == 200).all()  # cut, it would be 199
    see_through = np.dstack([picture(), np.full((30, 40), 7, np.uint8)])
    assert (read_image(write(tmp_path / "alpha.png", see_through)) == picture()).all()
    real = np.array([[0.0, 0.5, 1.0, 2.0, -1.0, np.nan]], np.float32)[..., None].repeat(3, 2)
    image = read_image(write(tmp_path / "real.tiff", real))
    assert image[0, :, 1].tolist() == [0, 128, 255, 255, 0, 0]


def test_a_huge_image_is_refused_by_its_header(tmp_path: Path) -> None:
    data = bytearray(cv2.imencode(".png", picture())[1].tobytes())
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    path = tmp_path / "bomb.png"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"bomb\.png: 30000 x 30000 is over"):
        read_image(path)
    with pytest.raises(SourceError, match="over 100 pixels"):
        list(ImageFiles([write(tmp_path / "small.png", picture())], max_pixels=100))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cut_image_never_crashes(tmp_path: Path, suffix: str) -> None:
    whole = cv2.imencode(suffix, picture())[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    for length in [0, 1, 3, 9, 17, 25, 40, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        try:
            image = read_image(path)
        except SourceError as error:
            assert str(path) in str(error) and "\n" not in str(error)  # noqa: PT017 - either is right
        else:
            assert image.shape == (30, 40, 3)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ["text.png", "pipe.png", "missing.png", "."]:
        with pytest.raises(SourceError, match="not a readable image"):
            list(ImageFiles([tmp_path / name]))
    with pytest.raises(SourceError, match="no images"):
        ImageFiles([])
    with pytest.raises(SourceError, match="above 0"):
        ImageFiles([tmp_path / "text.png"], rate=Fraction(0))


def test_media_kind_goes_by_content(tmp_path: Path) -> None:
    png = write(tmp_path / "a.png", picture())
    assert media_kind(png.rename(tmp_path / "a.mp4")) == "image"
    (tmp_path / "b.png").write_bytes(b"\0\0\0\x18ftypisom")
    assert media_kind(tmp_path / "b.png") == "video"
    assert media_kind(tmp_path / "missing.jpg") == "image"
    assert media_kind(tmp_path / "missing.mp4") == "video"
    (tmp_path / "empty.jpg").touch()
    assert media_kind(tmp_path / "empty.jpg") == "image"


def test_expand(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    wanted = [tmp_path / "A.MP4", tmp_path / "b.png", tmp_path / "sub" / "c.mkv"]
    rest = [tmp_path / ".d.png", tmp_path / "e.txt", tmp_path / ".hidden" / "f.png"]
    for path in wanted + rest:
        path.touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert expand([tmp_path]) == wanted
    assert expand([tmp_path / "e.txt", tmp_path, wanted[0]]) == [tmp_path / "e.txt", *wanted]
    with pytest.raises(SourceError, match="missing: no such"):
        expand([tmp_path / "missing"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="no image and no video"):
        expand([empty])


def test_expand_takes_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
    Path(name).write_bytes(cv2.imencode(".png", picture())[1].tobytes())
    found = expand([tmp_path])
    assert len(found) == 1
    assert len(list(ImageFiles(found))) == 1
