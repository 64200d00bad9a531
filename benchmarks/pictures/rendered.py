"""Contact sheets of the renderer's output, with the truth under each picture.

    python -m benchmarks.pictures.rendered [--out docs]

* ``rendered_scenes.jpg``: two scenes of each kind of the rendered test set;
* ``rendered_clips.jpg``: five moments of some evaluation clips.

Truth: black in focus, white blurred, gray without a label.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.paths import DOCS
from benchmarks.pictures.maps import Picture, sheet, truth
from br2focus.models.rendering.clips import RackFocusClip, evaluation_clips
from br2focus.models.rendering.test_set import KINDS, rendered_set

SIDE = 320
MOMENTS = (0.05, 0.3, 0.5, 0.7, 0.95)
CLIPS = ("three layers", "hand-held", "pan", "noisy", "all blurred")


def scenes() -> Picture:
    """Show one column per kind: picture, truth, picture, truth."""
    columns = [rendered_set(2, side=SIDE, seed=3, kind=kind) for kind in KINDS]
    rows = [[draw for scene in pair for draw in (scene.image, truth(scene.label))] for pair in columns]
    return sheet(list(KINDS), list(zip(*rows, strict=True)))


def clips() -> Picture:
    """Show two rows per clip: frames, and their truth."""
    rows: list[list[Picture]] = []
    for name in CLIPS:
        frames, masks = zip(*_moments(name), strict=True)
        rows += [list(frames), list(masks)]
    titles = [f"{moment:.0%} of the clip" for moment in MOMENTS]
    return sheet(titles, rows, width=256)


def _moments(name: str) -> Iterator[tuple[Picture, Picture]]:
    clip = RackFocusClip(evaluation_clips()[name])
    for moment in MOMENTS:
        frame = clip.frame(round(moment * (len(clip) - 1)))
        image = frame.image.copy()
        cv2.putText(image, name, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        yield np.asarray(image, np.uint8), truth(frame.label)


def main() -> None:
    """Draw both sheets."""
    parser = argparse.ArgumentParser(description="Draw contact sheets of rendered material.")
    parser.add_argument("--out", type=Path, default=DOCS)
    out = parser.parse_args().out
    for name, picture in {"scenes": scenes(), "clips": clips()}.items():
        cv2.imwrite(str(out / f"rendered_{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
