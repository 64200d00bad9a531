"""Pictures of the network's maps, on rendered scenes whose truth is known.

    python -m benchmarks.pictures.maps [--model NAME] [--before NAME|FILE] [--out docs]

* ``maps_MODEL.jpg``: the ten maps of both pathways and the fused one for a few scenes;
* ``failures_MODEL.jpg``: the worst scenes: picture, truth, last map of L2H, of H2L, fused;
* ``before_MODEL.jpg`` (with ``--before``): the fused map of another checkpoint next to that of the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.paths import DOCS
from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net, Maps
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.evaluation.metrics import measure
from br2focus.models.rendering.optics import BLURRED, IGNORED
from br2focus.models.rendering.scenes import Scene
from br2focus.models.rendering.test_set import rendered_set
from br2focus.models.rlrm import resize
from br2focus.models.training.data import normalise

Picture = NDArray[np.uint8]
TILE = 144
SHOWN, WORST = 4, 6


class Network(NamedTuple):
    """A loaded checkpoint."""

    net: BR2Net
    info: ModelInfo

    @staticmethod
    def load(model: str) -> Network:
        """Load a checkpoint by name or path."""
        return Network(*checkpoint.load(checkpoint.find(model)[0]))

    @torch.inference_mode()
    def maps(self, image: Picture) -> Maps:
        """Return all eleven maps of one BGR picture at its size; its sides are multiples of 32."""
        luma = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))[None].float()
        maps = self.net(normalise(image, self.info.scale)[None], [luma])
        size = (image.shape[0], image.shape[1])
        l2h, h2l = ([resize(m, size) for m in side] for side in (maps.l2h, maps.h2l))
        fused = resize(maps.fused, size)
        if maps.blur is not None:  # the result is P of the refined map, not of the fused one
            fused = resize(maps.blur.usual_logits(max(size)), size)
        return Maps(l2h, h2l, fused)

    def fused(self, image: Picture) -> NDArray[np.float32]:
        """Return P(blurred), H x W."""
        return _p(self.maps(image).fused)


def _p(logits: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(torch.sigmoid(logits)[0, 0].numpy(), np.float32)


def _gray(p: NDArray[np.float32]) -> Picture:
    return np.dstack([np.round(p * 255).astype(np.uint8)] * 3)


def truth(label: Picture) -> Picture:
    """Convert a mask to a picture: black in focus, white blurred, gray without a label."""
    shades = np.zeros(3, np.uint8)
    shades[[BLURRED, IGNORED]] = 255, 128
    return np.dstack([shades[label]] * 3)


def _mae(p: NDArray[np.float32], scene: Scene) -> float:
    return measure(p, scene.label == BLURRED, scene.label != IGNORED).mae


def sheet(titles: Sequence[str], rows: Sequence[Sequence[Picture]], *, width: int = TILE) -> Picture:
    """Arrange pictures of one shape in rows under a line of titles; each becomes ``width`` pixels wide."""
    large = max(1.0, width / 240)  # a page shrinks a wide sheet
    head = np.full((round(18 * large), width * len(titles), 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (column * width + round(3 * large), round(13 * large))
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(head, title, place, font, 0.38 * large, (0, 0, 0), 1, cv2.LINE_AA)
    size = (width, round(width * rows[0][0].shape[0] / rows[0][0].shape[1]))
    tiles = [[cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in r] for r in rows]
    return np.vstack([head, *(np.hstack(row) for row in tiles)]).astype(np.uint8)


def pathways(network: Network, scenes: Sequence[Scene]) -> Picture:
    """Show u1..u5 of L2H, v1..v5 of H2L and the fused map of each scene."""
    titles = ["picture", "truth", *(f"L2H u{i}" for i in range(1, 6))]
    titles += [*(f"H2L v{i}" for i in range(1, 6)), "fused"]
    rows = []
    for scene in scenes:
        maps = network.maps(scene.image)
        rows.append([scene.image, truth(scene.label), *(_gray(_p(m)) for m in maps.all())])
    return sheet(titles, rows)


def failures(network: Network, scenes: Sequence[Scene]) -> Picture:
    """Show the scenes with the largest mean absolute error."""
    worst = sorted(scenes, key=lambda s: -_mae(network.fused(s.image), s))[:WORST]
    rows = []
    for scene in worst:
        maps = network.maps(scene.image)
        three = (maps.l2h[-1], maps.h2l[-1], maps.fused)
        rows.append([scene.image, truth(scene.label), *(_gray(_p(m)) for m in three)])
    return sheet(["picture", "truth", "L2H u5", "H2L v5", "fused"], rows)


def comparison(before: Network, after: Network, scenes: Sequence[Scene]) -> Picture:
    """Show the fused maps of two checkpoints where they differ most."""

    def gain(scene: Scene) -> float:
        return _mae(before.fused(scene.image), scene) - _mae(after.fused(scene.image), scene)

    ranked = sorted(scenes, key=gain)
    # The largest gains and also the largest losses: a selection of gains alone would prove nothing.
    chosen = [*ranked[::-1][:4], *ranked[:2]]
    rows = [
        [s.image, truth(s.label), _gray(before.fused(s.image)), _gray(after.fused(s.image))] for s in chosen
    ]
    return sheet(["picture", "truth", "before", "now"], rows)


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description="Draw maps of rendered scenes.")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--before", help="an earlier checkpoint to compare with")
    parser.add_argument("--out", type=Path, default=DOCS)
    options = parser.parse_args()
    network = Network.load(options.model)
    scenes = rendered_set(64, side=384, seed=7)
    both = [s for s in scenes if {0, 1} <= set(np.unique(s.label))]
    pictures = {
        "maps": pathways(network, both[:SHOWN]),
        "failures": failures(network, scenes),
    }
    if options.before:
        pictures["before"] = comparison(Network.load(options.before), network, scenes)
    for name, picture in pictures.items():
        target = options.out / f"{name}_{network.info.name}.jpg"
        cv2.imwrite(str(target), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
