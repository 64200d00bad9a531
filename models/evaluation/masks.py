"""Folders of images with blur masks, read into one convention: True = blurred, some pixels ignored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.models.errors import FocusError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
SHAPE_TOLERANCE = 0.02

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class FolderError(FocusError, FileNotFoundError):
    """A folder, a list of names, or an image or mask named in the list is missing."""


class UnreadableError(FocusError, ValueError):
    """An image or its mask cannot be used; the others in the folder can."""


class Pair(NamedTuple):
    """An image and its mask on disk; the mask is None if the whole folder has one label."""

    image: Path
    mask: Path | None


class Sample(NamedTuple):
    """An image (uint8 BGR H x W x 3), its mask (bool, True = blurred), and where the mask is valid."""

    image: Image
    mask: Mask
    valid: Mask


class Folder(Protocol):
    """A folder that can be evaluated: `MaskedFolder` or `UniformFolder`."""

    def pairs(self) -> list[Pair]:
        """Return every image of the folder, in a fixed order."""

    def read(self, pair: Pair, *, fit_mask: bool = True) -> Sample:
        """Load one of `pairs`."""


@dataclass(frozen=True)
class MaskedFolder:
    """A folder of images and a folder of masks with the same stems.

    Attributes:
        images, masks: the folders.
        polarity: meaning of white in the masks.
        ignore: gray value of pixels without a label, or None.
        names: a text file with one stem per line that selects and orders the images, or None for all.
    """

    images: Path
    masks: Path
    polarity: Literal["blurred", "focused"]
    ignore: int | None = None
    names: Path | None = None

    def pairs(self) -> list[Pair]:
        """Return every image with its mask, sorted by stem or in the order of ``names``.

        Raises:
            FolderError: a folder, the list, or the image or mask of a name is missing, or a name has two.
        """
        images, masks = _by_stem(self.images), _by_stem(self.masks)
        stems = _listed(self.names, images) if self.names else sorted(images)
        _require(stems, images, f"image in {self.images}")
        _require(stems, masks, f"mask in {self.masks}")
        return [Pair(images[s], masks[s]) for s in stems]

    def read(self, pair: Pair, *, fit_mask: bool = True) -> Sample:
        """Load one pair.

        Args:
            pair: one of `pairs`.
            fit_mask: resize a mask of another size to the image's; otherwise it keeps its own size.

        Raises:
            UnreadableError: a file is not a readable image, the two differ in shape, the mask has the values
                0 and 1 instead of 0 and 255, or none of its pixels has a label.
        """
        image, gray = _load(pair.image, cv2.IMREAD_COLOR), _load_mask(pair)
        height, width = image.shape[:2]
        _check_mask(gray, (height, width), pair)
        if fit_mask and gray.shape != (height, width):
            gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        valid = np.ones(gray.shape, np.bool_) if self.ignore is None else gray != self.ignore
        if not valid.any():
            raise UnreadableError(f"no pixel of {pair.mask} has a label: all are {self.ignore}")
        white = gray > 127
        return Sample(image, white if self.polarity == "blurred" else ~white, valid)


@dataclass(frozen=True)
class UniformFolder:
    """A folder of images without masks that are entirely sharp, or entirely blurred.

    Attributes:
        images: the folder.
        blurred: the label of every pixel.
        names: a text file with one stem per line that selects and orders the images, or None for all.
    """

    images: Path
    blurred: bool
    names: Path | None = None

    def pairs(self) -> list[Pair]:
        """Return every image, sorted by stem or in the order of ``names``.

        Raises:
            FolderError: the folder, the list, or a listed image is missing, or a name has two.
        """
        images = _by_stem(self.images)
        stems = _listed(self.names, images) if self.names else sorted(images)
        _require(stems, images, f"image in {self.images}")
        return [Pair(images[s], None) for s in stems]

    def read(self, pair: Pair, *, fit_mask: bool = True) -> Sample:
        """Load one image; the mask always has its size.

        Raises:
            UnreadableError: the file is not a readable image.
        """
        image = _load(pair.image, cv2.IMREAD_COLOR)
        mask = np.full(image.shape[:2], self.blurred, np.bool_)
        return Sample(image, mask, np.ones_like(mask))


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FolderError(f"no such folder: {folder}")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in IMAGE_SUFFIXES or file.name.startswith("."):
            continue
        if file.stem in found:
            both = f"{found[file.stem].name} and {file.name}"
            raise FolderError(f"{folder} has {both}: images and masks need a folder each")
        found[file.stem] = file
    return found


def _listed(names: Path, images: dict[str, Path]) -> list[str]:
    """Return the stems in a list; a line may have a suffix, and a stem may contain dots."""
    try:
        lines = [line.strip() for line in names.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(f"cannot read the list of names {names}: {error}") from error
    return [line if line in images else _stem(line) for line in lines if line]


def _stem(line: str) -> str:
    path = Path(line)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _require(stems: list[str], files: Iterable[str], what: str) -> None:
    missing = [s for s in stems if s not in files]
    if missing:
        raise FolderError(f"{len(missing)} of {len(stems)} names have no {what}, first {missing[0]}")
    if not stems:
        raise FolderError(f"there is no {what}")


def _load(path: Path, mode: int) -> Image:
    try:
        image = cv2.imread(str(path), mode)
    except cv2.error as error:  # for example, more pixels than OpenCV's limit
        raise UnreadableError(f"cannot read {path}: {error.err}") from error
    if image is None:
        raise UnreadableError(f"not a readable image: {path}")
    return np.asarray(image, np.uint8)


def _load_mask(pair: Pair) -> Image:
    if pair.mask is None:
        raise UnreadableError(f"no mask is known for {pair.image}")
    return _load(pair.mask, cv2.IMREAD_GRAYSCALE)


def _check_mask(gray: Image, image_shape: tuple[int, int], pair: Pair) -> None:
    (height, width), (mask_height, mask_width) = image_shape, gray.shape
    if abs(mask_width * height - mask_height * width) > SHAPE_TOLERANCE * mask_height * width:
        raise UnreadableError(
            f"{pair.mask} is {mask_width} x {mask_height} and its image {width} x {height}: "
            "is one of them rotated or cropped?"
        )
    if gray.max() == 1:
        raise UnreadableError(f"{pair.mask} has the values 0 and 1, 0 and 255 are needed")
