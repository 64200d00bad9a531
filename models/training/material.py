"""Reads the pairs and scenes of a run: what is used, held back for validation, and distrusted."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.models import checkpoint
from br2focus.models.evaluation.masks import (
    FolderError,
    MaskedFolder,
    Pair,
    Sample,
    UnreadableError,
)
from br2focus.models.rendering.native import NativeScenes
from br2focus.models.rendering.scenes import Matte, Scenes
from br2focus.models.rendering.textures import draw_texture

from .config import DataConfig, ExtraConfig, RenderedConfig, TrainingConfig
from .data import Material
from .scenes import SceneStore
from .validate import predict

FIRM = 0.8  # P, or 1 - P, above which a network's contradiction of a label counts
DISTRUSTED = 1 / 3  # contradicted share of a picture above which its mask must mark something else


def split(data: DataConfig, root: Path) -> tuple[MaskedFolder, list[Pair], list[Pair]]:
    """Return the folder, its training pairs and its validation pairs (every n-th name, the same every run).

    Raises:
        FileNotFoundError: the folders do not contain what the configuration names.
        ValueError: holding back the validation pairs would leave none to train on.
    """
    names = root / data.names if data.names else None
    folder = MaskedFolder(root / data.images, root / data.masks, data.polarity, data.ignore, names)
    pairs = folder.pairs()
    if data.validation >= len(pairs):
        raise ValueError(f"data.validation = {data.validation} of {len(pairs)} pairs leaves none to train on")
    step = len(pairs) // data.validation if data.validation else len(pairs) + 1
    held = set(range(step - 1, step * data.validation, step)) if data.validation else set()
    train = [p for i, p in enumerate(pairs) if i not in held]
    return folder, train, [pairs[i] for i in sorted(held)]


def read_material(config: TrainingConfig, root: Path, pairs: list[Pair], folder: MaskedFolder) -> Material:
    """Read everything that the crops of a run are made from into memory.

    Raises:
        FolderError: a list or folder, or a file named in one, is missing.
        UnreadableError: a file is not a picture.
        ValueError: a folder has no pair left.
        CheckpointError: the network that labels are compared with cannot be loaded.
    """
    samples = [folder.read(pair) for pair in pairs]
    extras = [(extra.share, read_extra(extra, root)) for extra in config.extra]
    scenes = None
    if config.rendered:
        scenes = config.rendered.share, read_scenes(config.rendered, root, config.augment.crop)
    native = None
    if config.native:
        native = config.native.share, read_native(config, root)
    return Material(samples, extras, scenes, native)


def read_native(config: TrainingConfig, root: Path) -> SceneStore:
    """Read the scenes at a camera's own pixels; raises what `read_scenes` raises."""
    native = config.native
    assert native
    photos = [_picture(root / name, cv2.IMREAD_COLOR) for name in _lines(native.photos)]
    if not photos:
        raise FolderError(f"{native.photos} lists no photograph")
    mattes = _read_mattes(root / native.mattes, 1600) if native.mattes else []
    rng = np.random.default_rng(config.seed)
    smooth = [draw_texture(1200, 1200, rng, kind) for kind in ("rough", "smooth") * 3]
    scenes = NativeScenes(photos, mattes, smooth, config.augment.crop, config.size, native.mix)
    return SceneStore(scenes, native.folder, config.seed, native.count)


def read_extra(extra: ExtraConfig, root: Path) -> list[Sample]:
    """Read the further pairs that ``extra`` keeps; raises what `read_material` raises."""
    names = root / extra.names if extra.names else None
    folder = MaskedFolder(root / extra.images, root / extra.masks, extra.polarity, extra.ignore, names)
    lines = _lines(root / extra.leave_out) if extra.leave_out else []
    left_out = {line.split()[0] for line in lines}
    pairs = [p for p in folder.pairs() if fnmatchcase(p.image.stem, extra.only)]
    samples = [folder.read(p) for p in pairs if p.image.stem not in left_out]
    if extra.agree:
        samples = agreeing(samples, extra.agree)
    if not samples:
        raise ValueError(f"{root / extra.images}: no pair is left to train on")
    return samples


def agreeing(samples: list[Sample], model: str) -> list[Sample]:
    """Ignore pixels that ``model`` firmly contradicts, and drop pictures that have too many of them.

    Args:
        samples: pairs whose labels may be wrong.
        model: a checkpoint by name or path.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
    """
    net, info = checkpoint.load(checkpoint.find(model)[0])
    kept = []
    for sample in samples:
        p = predict(net, sample.image, info)
        contradicted = np.where(sample.mask, p < 1 - FIRM, p > FIRM) & sample.valid
        if contradicted.sum() <= DISTRUSTED * sample.valid.sum():
            kept.append(sample._replace(valid=sample.valid & ~contradicted))
    return kept


def read_scenes(config: RenderedConfig, root: Path, side: int) -> Scenes:
    """Create the renderer for ``config``; its photographs and cut-outs have at most 800 px.

    Args:
        config: the lists and folders.
        root: what their lines and names are relative to.
        side: of the scenes in pixels.

    Raises:
        FolderError: a list or folder, or a file named in one, is missing, or no photograph is listed.
        UnreadableError: a file is not a picture, a photograph is smaller than a scene (when enlarged, what is
            labelled sharp would be soft), or a cut-out and its mask differ in size.
    """
    photos = [_photo(root / name, side) for name in _lines(config.photos)]
    if not photos:
        raise FolderError(f"{config.photos} lists no photograph")
    return Scenes(photos, _read_mattes(root / config.mattes) if config.mattes else [], side, config.mix)


def _photo(path: Path, side: int) -> NDArray[np.uint8]:
    photo = _shrunk(_picture(path, cv2.IMREAD_COLOR))
    if min(photo.shape[:2]) < side:
        raise UnreadableError(f"{path}: smaller than a scene of {side} pixels; lower augment.crop")
    return photo


def _read_mattes(folder: Path, largest: int = 800) -> list[Matte]:
    """Read cut-outs and their coverage, which is gray: `MaskedFolder` finds them but does not read them."""
    mattes = []
    for pair in MaskedFolder(folder / "images", folder / "masks", "focused").pairs():
        assert pair.mask is not None
        image = _picture(pair.image, cv2.IMREAD_COLOR)
        coverage = _picture(pair.mask, cv2.IMREAD_GRAYSCALE)
        if image.shape[:2] != coverage.shape:
            raise UnreadableError(f"{pair.mask} has another size than {pair.image}")
        mattes.append((_shrunk(image, largest), _shrunk(coverage, largest)))
    return mattes


def _lines(path: Path) -> list[str]:
    """Return the lines of a list that are not empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FolderError(f"cannot read the list {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FolderError(f"cannot read the list {path}: not UTF-8 text") from error
    return [line.strip() for line in lines if line.strip()]


def _picture(path: Path, flags: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise UnreadableError(f"{path}: missing, or not a picture")
    return np.asarray(image, np.uint8)


def _shrunk(image: NDArray[np.uint8], largest: int = 800) -> NDArray[np.uint8]:
    scale = min(1.0, largest / max(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
