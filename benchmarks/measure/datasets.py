"""The data sets that accuracy is measured on, each as a folder that `evaluate` accepts.

Their location is given by the variable BR2FOCUS_SHARED, or ``shared`` next to the repository. The rendered
ones are made on the fly and depend only on a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.paths import SHARED
from br2focus.models.evaluation.masks import Folder, MaskedFolder, Pair, Sample, UniformFolder
from br2focus.models.rendering.optics import BLURRED, IGNORED, blur, to_linear, to_srgb
from br2focus.models.rendering.scenes import FOCUSED, FOREGROUNDS, Scene, SceneMix, Scenes
from br2focus.models.rendering.test_set import rendered_set

DATA = SHARED / "data"


class DataSet(NamedTuple):
    """A description of the data set, and its folder."""

    title: str
    folder: Folder


@dataclass(frozen=True)
class LeftOut:
    """A folder without some stems."""

    folder: MaskedFolder
    stems: frozenset[str]

    def pairs(self) -> list[Pair]:
        """Return the folder's pairs except those left out."""
        return [p for p in self.folder.pairs() if p.image.stem not in self.stems]

    def read(self, pair: Pair, *, fit_mask: bool = True) -> Sample:
        """Load one of `pairs`."""
        return self.folder.read(pair, fit_mask=fit_mask)


@dataclass(frozen=True)
class Defocused:
    """Sharp photographs that are entirely out of focus, by a disk whose radius is ``share`` of the width."""

    folder: UniformFolder
    share: float

    def pairs(self) -> list[Pair]:
        """Return the photographs."""
        return self.folder.pairs()

    def read(self, pair: Pair, *, fit_mask: bool = True) -> Sample:
        """Load and blur one of `pairs`; every pixel is labelled blurred."""
        image, mask, valid = self.folder.read(pair, fit_mask=fit_mask)
        soft = to_srgb(blur(to_linear(image), self.share * image.shape[1]))
        return Sample(soft, np.ones_like(mask), valid)


@dataclass(frozen=True)
class Foregrounds:
    """Things that are thin or have holes, out of focus before sharp photographs, or vice versa."""

    folder: UniformFolder
    focused: bool
    side: int = 480
    seed: int = 2020

    def pairs(self) -> list[Pair]:
        """Return one scene per photograph and kind of foreground."""
        kinds = dict.fromkeys(FOCUSED if self.focused else FOREGROUNDS)
        return [
            Pair(p.image.with_name(f"{kind}_{p.image.name}"), None)
            for p in self.folder.pairs()
            for kind in kinds
        ]

    def read(self, pair: Pair, *, fit_mask: bool = True) -> Sample:
        """Render one of `pairs`."""
        kind, _, name = pair.image.name.partition("_")
        photo = self.folder.read(Pair(pair.image.with_name(name), None)).image
        rng = np.random.default_rng([self.seed, *pair.image.name.encode()])
        scenes = Scenes([photo], [], self.side, SceneMix())
        scene = scenes.focused(rng, kind) if self.focused else scenes.foreground(rng, kind)
        return Sample(scene.image, scene.label == BLURRED, scene.label != IGNORED)


@dataclass(frozen=True)
class Rendered:
    """The rendered test set: made from seeds only, without photographs."""

    count: int = 70
    side: int = 480
    seed: int = 11

    @cached_property
    def scenes(self) -> list[Scene]:
        """All scenes, with all kinds in turn."""
        return rendered_set(self.count, side=self.side, seed=self.seed)

    def pairs(self) -> list[Pair]:
        """Return one name per scene."""
        return [Pair(Path(f"{index}.png"), None) for index in range(self.count)]

    def read(self, pair: Pair, *, fit_mask: bool = True) -> Sample:
        """Return one of `scenes`."""
        scene = self.scenes[int(pair.image.stem)]
        return Sample(scene.image, scene.label == BLURRED, scene.label != IGNORED)


def _cuhk() -> DataSet:
    root = DATA / "cuhk"
    folder = MaskedFolder(root / "images", root / "masks", "blurred", names=root / "dbd_test_xu100.txt")
    return DataSet("CUHK, 100 test images at their own size", folder)


def _szu_bd() -> DataSet:
    root = DATA / "szu_bd"
    folder = MaskedFolder(root / "images", root / "masks", "blurred", names=root / "out_of_focus.txt")
    lines = (root / "near_duplicates_of_cuhk.txt").read_text().splitlines()
    title = "SZU-BD, defocus, without near duplicates of CUHK; part of the training, masks are coarse"
    return DataSet(title, LeftOut(folder, frozenset(line.split()[0] for line in lines)))


def _cuhk_motion() -> DataSet:
    """Return images with motion blur: it is not defocus, and no training image shows it."""
    root = DATA / "cuhk"
    folder = MaskedFolder(root / "images", root / "masks", "blurred")
    stems = {p.image.stem for p in folder.pairs()}
    others = frozenset(s for s in stems if not s.startswith("motion"))
    return DataSet("CUHK, 296 images with motion blur, masks of the motion blur", LeftOut(folder, others))


def _native() -> DataSet:
    """Return real scenes at a camera's own resolution; for validation only."""
    root = DATA / "native"
    folder = MaskedFolder(root / "images", root / "masks", "blurred", ignore=128)
    return DataSet("five DSLR scenes at 1620 x 1080, as the camera gives them", folder)


def _sharp(name: str, title: str) -> DataSet:
    return DataSet(title, UniformFolder(DATA / "sharp" / name, blurred=False))


def _defocused(name: str, title: str, share: float) -> DataSet:
    return DataSet(title, Defocused(UniformFolder(DATA / "sharp" / name, blurred=True), share))


SETS: dict[str, Callable[[], DataSet]] = {
    "cuhk": _cuhk,
    "szu_bd": _szu_bd,
    "cuhk_motion": _cuhk_motion,
    "native": _native,
    "kodak24": lambda: _sharp("kodak24", "Kodak, 24 photographs in focus"),
    "urban100": lambda: _sharp("urban100", "Urban100, 100 photographs in focus"),
    "kodak24_defocused": lambda: _defocused(
        "kodak24", "Kodak, all of every picture under a disk whose radius is 1 % of its width", 0.01
    ),
    "urban100_defocused": lambda: _defocused(
        "urban100",
        "Urban100, all of every picture under a disk whose radius is 1 % of its width",
        0.01,
    ),
    "kodak24_soft": lambda: _defocused(
        "kodak24",
        "Kodak, all of every picture under a disk whose radius is .4 % of its width",
        0.004,
    ),
    "urban100_soft": lambda: _defocused(
        "urban100",
        "Urban100, all of every picture under a disk whose radius is .4 % of its width",
        0.004,
    ),
    "foregrounds": lambda: DataSet(
        "rendered: defocused fences, leaves, fingers, stalks before Kodak's photographs",
        Foregrounds(UniformFolder(DATA / "sharp" / "kodak24", blurred=False), focused=False),
    ),
    "focused_foregrounds": lambda: DataSet(
        "rendered: fences, leaves, stalks, grass in focus before Kodak's photographs out of focus",
        Foregrounds(UniformFolder(DATA / "sharp" / "kodak24", blurred=False), focused=True),
    ),
    "rendered": lambda: DataSet("rendered: all kinds of scenes, without any photograph", Rendered()),
}
