"""Keep only the detections whose box is in focus.

The detector here is OpenCV's corner finder with a box around each corner, so that nothing has to be
downloaded; replace it with yours.

    python examples/focused_detections.py clip.mp4 detections.png
"""

import sys

import cv2
import numpy as np

from br2focus.plugins.opencv import FocusResult, FocusStage

Box = tuple[int, int, int, int]  # x, y, width, height


def detect(frame: np.ndarray) -> list[Box]:
    gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    side = max(frame.shape) // 16
    corners = cv2.goodFeaturesToTrack(gray, 40, qualityLevel=0.02, minDistance=side)
    if corners is None:
        return []
    return [(int(x) - side // 2, int(y) - side // 2, side, side) for x, y in corners.reshape(-1, 2)]


def in_focus(result: FocusResult, box: Box) -> bool:
    """Return whether at least half of the box is in focus."""
    x, y, width, height = box
    part = result.in_focus[max(y, 0) : y + height, max(x, 0) : x + width]
    return bool(part.size and part.mean() >= 0.5)


def main(source: str, target: str) -> None:
    capture = cv2.VideoCapture(source)
    ok, frame = capture.read()
    capture.release()
    if not ok:
        sys.exit(f"no frame in {source}")
    with FocusStage() as stage:
        result = stage(frame)
    boxes = detect(frame)
    kept = [box for box in boxes if in_focus(result, box)]
    for box in boxes:
        colour = (0, 176, 255) if box in kept else (128, 128, 128)
        cv2.rectangle(frame, box, colour, 2)
    if not cv2.imwrite(target, frame):
        sys.exit(f"cannot write {target}")
    print(f"{len(kept)} of {len(boxes)} detections are in focus, drawn in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: focused_detections.py CLIP OUTPUT.png")
    main(sys.argv[1], sys.argv[2])
