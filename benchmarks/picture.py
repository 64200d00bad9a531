"""The picture of the README: the demo clip at three moments of its focus pull, as heat map and peaking.

python benchmarks/picture.py out/demo.mp4 docs/demo.jpg
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from br2focus.plugins.opencv import FocusStage
from br2focus.realtime.overlay import OverlayStyle
from br2focus.realtime.video_file import VideoFile

MOMENTS = (0.07, 0.37, 0.67)  # of the clip: focus near, in the middle, far
WIDTH = 480


def main(clip: str, target: str) -> None:
    """Write the contact sheet: one column a moment, rows picture, heat, peaking."""
    with VideoFile(Path(clip)) as source:
        frames = [frame.image for frame in source]
    style = OverlayStyle(legend=False)
    columns = []
    with FocusStage(device="cpu") as stage:
        for moment in MOMENTS:
            result = stage(frames[round(moment * (len(frames) - 1))])
            rows = [result.overlay("none"), result.overlay("heat", style)]
            rows.append(result.overlay("peaking", style))
            height = WIDTH * rows[0].shape[0] // rows[0].shape[1]
            small = [cv2.resize(r, (WIDTH, height), interpolation=cv2.INTER_AREA) for r in rows]
            columns.append(np.vstack(small))
    cv2.imwrite(target, np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main(*sys.argv[1:3])
