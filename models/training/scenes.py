"""Scenes at a camera's own pixels, rendered once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from br2focus.models.rendering.native import NativeScene, NativeScenes

VERSION = 3  # change it when the rendering changes; otherwise old scenes would be found


class SceneStore:
    """Scene ``k`` of a run, rendered on first access; the same for every process.

    Args:
        scenes: the renderer.
        folder: where scenes are kept.
        seed: determines the scenes.
        count: number of scenes.
    """

    def __init__(self, scenes: NativeScenes, folder: Path, seed: int, count: int) -> None:
        self.scenes, self.seed, self.count = scenes, seed, count
        pictures = (*scenes.photos, *(part for matte in scenes.mattes for part in matte))
        sums = [int(picture.sum()) for picture in (*pictures, *scenes.smooth)]
        what = [VERSION, seed, scenes.side, scenes.long_side, asdict(scenes.mix), sums]
        self.folder = folder / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]

    def __getitem__(self, number: int) -> NativeScene:
        path = self.folder / f"{number}.npz"
        try:
            with np.load(path) as kept:
                return NativeScene(kept["image"], kept["radius"], float(kept["softness"]), int(kept["width"]))
        except FileNotFoundError:
            return self._made(number, path)

    def __len__(self) -> int:
        return self.count

    def _made(self, number: int, path: Path) -> NativeScene:
        scene = self.scenes.render(np.random.default_rng((self.seed, 3, number)))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, **scene._asdict())
        partial.replace(path)
        return scene
