"""Folders with masks: pairing, polarity, ignored pixels, one clear line for each thing wrong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from br2focus.models.evaluation.masks import (
    FolderError,
    MaskedFolder,
    Pair,
    UniformFolder,
    UnreadableError,
)
from br2focus.models.evaluation.metrics import measure, summarise

GRAY = np.zeros((6, 10), np.uint8)
GRAY[:, 6:] = 255


def save(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image)


def add(root: Path, name: str, gray: NDArray[np.uint8] = GRAY) -> None:
    save(root / "images" / f"{name}.png", np.full((6, 10, 3), 90, np.uint8))
    save(root / "masks" / f"{name}.png", gray)


def folder(root: Path, **options: object) -> MaskedFolder:
    settings = {"polarity": "blurred"} | options
    return MaskedFolder(root / "images", root / "masks", **settings)  # type: ignore[arg-type]


def stems(pairs: list[Pair]) -> list[str]:
    return [pair.image.stem for pair in pairs]


def test_all_pairs_are_sorted_and_other_files_ignored(tmp_path: Path):
    for name in ("b", "a", "c.v2"):
        add(tmp_path, name)
    (tmp_path / "images" / "notes.txt").write_text("x")
    (tmp_path / "images" / "._a.png").write_text("x")
    assert stems(folder(tmp_path).pairs()) == ["a", "b", "c.v2"]


def test_a_list_selects_and_orders(tmp_path: Path):
    for name in ("a", "b", "c.v2", "two words"):
        add(tmp_path, name)
    names = tmp_path / "list.txt"
    names.write_text("two words\n\nc.v2\r\na.png\n")
    found = folder(tmp_path, names=names).pairs()
    assert stems(found) == ["two words", "c.v2", "a"]
    assert [p.mask and p.mask.stem for p in found] == ["two words", "c.v2", "a"]


def test_polarity_flips_the_mask_and_complements_the_figures(tmp_path: Path):
    add(tmp_path, "a")
    (pair,) = folder(tmp_path).pairs()
    white = folder(tmp_path).read(pair)
    black = folder(tmp_path, polarity="focused").read(pair)
    np.testing.assert_array_equal(white.mask, GRAY > 127)
    np.testing.assert_array_equal(black.mask, ~white.mask)
    blur = np.linspace(0, 1, 60, dtype=np.float32).reshape(6, 10)
    one, other = (summarise([measure(blur, s.mask, s.valid)]) for s in (white, black))
    assert one["mae"] == pytest.approx(1 - other["mae"], abs=1e-6)  # type: ignore[operator]
    assert one["auc"] == pytest.approx(1 - other["auc"], abs=1e-12)  # type: ignore[operator]


@pytest.mark.parametrize(("level", "white"), [(0, False), (127, False), (128, True), (255, True)])
def test_white_is_more_than_half(tmp_path: Path, level: int, white: bool):
    add(tmp_path, "a", np.full_like(GRAY, level))
    (pair,) = folder(tmp_path).pairs()
    assert (folder(tmp_path).read(pair).mask == white).all()


def test_the_ignore_value_marks_invalid_pixels(tmp_path: Path):
    gray = GRAY.copy()
    gray[:, 4:6] = 128
    add(tmp_path, "a", gray)
    (pair,) = folder(tmp_path).pairs()
    sample = folder(tmp_path, ignore=128).read(pair)
    np.testing.assert_array_equal(sample.valid, gray != 128)
    assert folder(tmp_path).read(pair).valid.all()


def test_a_mask_of_another_size_is_fitted_or_kept(tmp_path: Path):
    add(tmp_path, "a", np.repeat(np.repeat(GRAY, 2, 0), 2, 1))
    (pair,) = folder(tmp_path).pairs()
    fitted, own = (folder(tmp_path).read(pair, fit_mask=fit) for fit in (True, False))
    np.testing.assert_array_equal(fitted.mask, GRAY > 127)
    assert fitted.valid.shape == (6, 10)
    assert own.mask.shape == own.valid.shape == (12, 20)


@pytest.mark.parametrize(
    ("gray", "message"),
    [
        (np.ascontiguousarray(GRAY.T), "rotated or cropped"),
        (GRAY // 255, "0 and 255 are needed"),
        (np.full_like(GRAY, 128), "no pixel of .* has a label"),
    ],
)
def test_a_mask_that_cannot_be_right_is_refused(tmp_path: Path, gray: NDArray[np.uint8], message: str):
    add(tmp_path, "a", gray)
    (pair,) = folder(tmp_path).pairs()
    with pytest.raises(UnreadableError, match=message):
        folder(tmp_path, ignore=128).read(pair)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_damaged_file_is_named(tmp_path: Path, part: str):
    add(tmp_path, "a")
    (pair,) = folder(tmp_path).pairs()
    damaged = tmp_path / part / "a.png"
    damaged.write_bytes(b"not a picture")
    with pytest.raises(UnreadableError, match=f"not a readable image: .*{part}"):
        folder(tmp_path).read(pair)


def test_a_missing_folder(tmp_path: Path):
    with pytest.raises(FolderError, match="no such folder: .*images"):
        folder(tmp_path).pairs()
    with pytest.raises(FolderError, match="no such folder"):
        UniformFolder(tmp_path / "none", blurred=False).pairs()


def test_an_image_without_a_mask_is_not_left_out_silently(tmp_path: Path):
    add(tmp_path, "a")
    add(tmp_path, "b")
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(FolderError, match="1 of 2 names have no mask in .*masks, first b"):
        folder(tmp_path).pairs()


def test_a_listed_image_that_is_missing(tmp_path: Path):
    add(tmp_path, "a")
    (tmp_path / "list.txt").write_text("a\nz\n")
    with pytest.raises(FolderError, match="1 of 2 names have no image in .*images, first z"):
        folder(tmp_path, names=tmp_path / "list.txt").pairs()
    with pytest.raises(FolderError, match="cannot read the list of names"):
        folder(tmp_path, names=tmp_path / "none.txt").pairs()


def test_empty_folders(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(FolderError, match="there is no image"):
        folder(tmp_path).pairs()


def test_images_and_masks_mixed_in_one_folder_are_refused(tmp_path: Path):
    save(tmp_path / "mixed" / "a.jpg", np.zeros((6, 10, 3), np.uint8))
    save(tmp_path / "mixed" / "a.png", GRAY)
    mixed = tmp_path / "mixed"
    with pytest.raises(FolderError, match=r"a\.jpg and a\.png.*a folder each"):
        MaskedFolder(mixed, mixed, "blurred").pairs()


@pytest.mark.parametrize("blurred", [True, False])
def test_a_folder_without_masks_has_one_label(tmp_path: Path, blurred: bool):
    add(tmp_path, "a")
    uniform = UniformFolder(tmp_path / "images", blurred)
    (pair,) = uniform.pairs()
    sample = uniform.read(pair, fit_mask=False)
    assert pair.mask is None
    assert sample.mask.shape == (6, 10) and (sample.mask == blurred).all() and sample.valid.all()
