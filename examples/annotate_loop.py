"""Focus peaking in your own OpenCV loop: read with cv2, annotate, write with cv2.

python examples/annotate_loop.py clip.mp4 peaking.mp4
"""

import sys

import cv2

from br2focus.plugins.opencv import FocusStage


def main(source: str, target: str) -> None:
    capture = cv2.VideoCapture(source)
    rate = capture.get(cv2.CAP_PROP_FPS) or 30
    writer = None
    with FocusStage(smoothing="adaptive", refine="fast") as stage:
        number = 0
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            result = stage(frame, seconds=number / rate)
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                if not writer.isOpened():
                    sys.exit(f"cannot write {target}")
            writer.write(result.overlay("peaking"))
            number += 1
    capture.release()
    if writer is None:
        sys.exit(f"no frame in {source}")
    writer.release()
    print(f"{number} frames written to {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: annotate_loop.py CLIP OUTPUT.mp4")
    main(sys.argv[1], sys.argv[2])
