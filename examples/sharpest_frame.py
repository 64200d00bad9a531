"""Pick the frame of a clip with the most in focus, and save it.

python examples/sharpest_frame.py clip.mp4 best.png
"""

import sys

import cv2

from br2focus.plugins.opencv import FocusStage


def main(source: str, target: str) -> None:
    capture = cv2.VideoCapture(source)
    best_score, best_number, best = -1.0, -1, None
    number = 0
    with FocusStage() as stage:
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            score = stage(frame).score()
            if score > best_score:
                best_score, best_number, best = score, number, frame
            number += 1
    capture.release()
    if best is None:
        sys.exit(f"no frame in {source}")
    if not cv2.imwrite(target, best):
        sys.exit(f"cannot write {target}")
    print(f"frame {best_number} of {number}: score {best_score:.3f}, saved to {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: sharpest_frame.py CLIP OUTPUT.png")
    main(sys.argv[1], sys.argv[2])
