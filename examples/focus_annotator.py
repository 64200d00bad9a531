"""A `supervision` annotator: a box with a score for each detection, bright in focus, gray out of focus.

    annotator = FocusAnnotator()
    scene = annotator.annotate(scene, detections)      # like every annotator of supervision

The detector here is OpenCV's corner finder, so that nothing has to be downloaded; replace it with yours.

    python examples/focus_annotator.py photo.png annotated.png
"""

import sys

import cv2
import numpy as np
import supervision as sv
from supervision.annotators.base import BaseAnnotator

from br2focus.plugins.opencv import FocusStage


class FocusAnnotator(BaseAnnotator):
    """Draws how sharp each detection is.

    Args:
        stage: computes the map of the scene; by default one with the model `lite`.
        in_focus: score from which a detection counts as in focus, 0 to 1.
    """

    def __init__(self, stage: FocusStage | None = None, in_focus: float = 0.5) -> None:
        self.stage, self.in_focus = stage or FocusStage(), in_focus

    def annotate(self, scene: np.ndarray, detections: sv.Detections) -> np.ndarray:
        """Draw on ``scene`` (uint8 BGR H x W x 3) and return it; detections outside it are skipped."""
        scores = self.stage(scene).scores(detections.xyxy)
        for box, score in zip(detections.xyxy.round().astype(int).tolist(), scores, strict=True):
            if np.isnan(score):
                continue
            colour = (0, 176, 255) if score >= self.in_focus else (128, 128, 128)
            cv2.rectangle(scene, box[:2], box[2:], colour, 2)
            cv2.putText(scene, f"{score:.2f}", (box[0], box[1] - 6), 0, 0.5, colour, 1, cv2.LINE_AA)
        return scene


def detect(scene: np.ndarray) -> sv.Detections:
    gray = cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)
    side = max(scene.shape) // 16
    corners = cv2.goodFeaturesToTrack(gray, 40, qualityLevel=0.02, minDistance=side)
    if corners is None:
        return sv.Detections.empty()
    middle = corners.reshape(-1, 2)
    return sv.Detections(xyxy=np.hstack([middle - side / 2, middle + side / 2]))


def main(source: str, target: str) -> None:
    scene = cv2.imread(source)
    if scene is None:
        sys.exit(f"cannot read {source}")
    detections = detect(scene)
    if not cv2.imwrite(target, FocusAnnotator().annotate(scene, detections)):
        sys.exit(f"cannot write {target}")
    print(f"{len(detections)} detections drawn in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: focus_annotator.py PICTURE OUTPUT.png")
    main(sys.argv[1], sys.argv[2])
