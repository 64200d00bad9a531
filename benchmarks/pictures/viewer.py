"""Pictures of the viewer for README and docs/live.md, from the built-in focus pull.

    python -m benchmarks.pictures.viewer [--model NAME]

Writes docs/viewer.jpg (a focus pull with its graph), viewer_modes.jpg (every overlay), viewer_lost.jpg,
viewer_keys.jpg, and viewer_1to1.jpg (punch-in at device pixel ratio 2, in a separate process).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PyQt6.QtGui import QAction
from PyQt6.QtTest import QTest

from benchmarks.paths import DOCS
from br2focus.models.rendering.clips import SUBJECT, best_focus
from br2focus.plugins.qt import application, theme
from br2focus.plugins.qt.start import Start
from br2focus.plugins.qt.window import Window
from br2focus.realtime.errors import SourceError
from br2focus.realtime.frame import Roi
from br2focus.realtime.settings import ViewSettings
from br2focus.realtime.sources.live.connection import ReconnectPolicy
from br2focus.realtime.sources.live.open import LiveOptions
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource
from br2focus.realtime.sources.live.test_source import RATE, FocusPullSource
from br2focus.realtime.sources.source import Source

ROIS = (Roi("face", 370, 110, 80, 80), Roi("wall", 60, 60, 90, 110))
SIZE = (1120, 760)
MODES = ("peaking", "heat", "mask", "outline", "side_by_side", "none")
QUALITY = 88


def wait(milliseconds: int) -> None:
    """Run the event loop for a while."""
    QTest.qWait(milliseconds)  # type: ignore[arg-type, call-arg]  # PyQt6 types it as a method


def wait_until(there: Callable[[], bool], seconds: float = 60) -> None:
    """Let the window run until ``there()`` is true."""
    until = time.monotonic() + seconds
    while not there():
        if time.monotonic() > until:
            raise SystemExit("that never came")
        wait(5)


def opened(model: str, open_source: Callable[[str, LiveOptions], Source]) -> Window:
    """Return a window that shows a picture."""
    settings = ViewSettings(model=model, device="cpu", rois=ROIS)
    window = Window(Start("test", settings, Path(tempfile.gettempdir()), open_source=open_source))
    window.resize(*SIZE)
    window.show()
    wait_until(lambda: window.picture.shown is not None, 120)
    return window


def act(window: Window, name: str) -> None:
    """Trigger the action of a key."""
    window.findChild(QAction, name).trigger()


def grab(window: Window) -> np.ndarray:
    """Return the window as BGR."""
    image = window.grab().toImage()
    bits = image.constBits()
    assert bits is not None
    pixels = np.frombuffer(bits.asstring(image.sizeInBytes()), np.uint8).reshape(image.height(), -1, 4)
    return np.array(pixels[:, : image.width(), :3])


def save(name: str, picture: np.ndarray) -> None:
    """Write a picture into docs/."""
    cv2.imwrite(str(DOCS / name), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(DOCS / name)


def at_best_focus(window: Window, pull: FocusPullSource) -> None:
    """Wait until the picture shown has the person in focus."""
    [second] = best_focus(pull.clip.spec, SUBJECT)
    period = 2 * (len(pull.clip) - 1)
    wanted = round(float(second * RATE))

    def there() -> bool:
        shown = window.picture.shown
        if shown is None:
            return False
        index = shown.result.frame.index % period
        return min(abs(index - wanted), abs(period - index - wanted)) <= 2

    wait_until(there)


def pull_and_modes(model: str) -> None:
    """Show the graph over several pulls, then every mode and the keys."""
    pull = FocusPullSource()
    pull.render_all()
    window = opened(model, lambda *_: pull)
    if not theme.is_dark():
        theme.toggle()
    wait(14_000)
    at_best_focus(window, pull)
    save("viewer.jpg", grab(window))
    act(window, "toggle_sheet")
    save("viewer_keys.jpg", grab(window))
    act(window, "leave")
    views = []
    for mode in MODES:
        act(window, f"show_{mode}")
        wait(300)
        at_best_focus(window, pull)
        part = window.picture.geometry()
        picture = grab(window)[part.top() : part.bottom(), part.left() : part.right()]
        views.append(cv2.resize(picture, (480, 330), interpolation=cv2.INTER_AREA))
    save("viewer_modes.jpg", np.vstack([np.hstack(views[:3]), np.hstack(views[3:])]))
    window.close()
    window.end()


def lost(model: str) -> None:
    """Show a camera that is unplugged."""
    pulls: list[FocusPullSource] = []

    def open_source() -> Source:
        if pulls:
            raise SourceError("camera Webcam: gives no pictures any more; unplugged?")
        pulls.append(FocusPullSource())
        return pulls[0]

    window = opened(
        model, lambda *_: ReconnectingSource(open_source, "camera Webcam", ReconnectPolicy(longest=1))
    )
    wait(2000)
    act(window, "show_heat")
    wait(1500)
    pulls[0].close()
    wait(7300)
    save("viewer_lost.jpg", grab(window))
    window.close()
    window.end()


def punched_in(model: str) -> None:
    """Show the picture 1:1 on a screen with two device pixels per point."""
    pull = FocusPullSource()
    pull.render_all()
    window = opened(model, lambda *_: pull)
    window.resize(SIZE[0] // 2, SIZE[1] // 2)
    for name in ("toggle_panel", "toggle_graph", "toggle_hud", "next_region", "punch_in"):
        act(window, name)
    wait(500)
    at_best_focus(window, pull)
    save("viewer_1to1.jpg", grab(window))
    window.close()
    window.end()


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lite")
    parser.add_argument("--dense", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    running = application()
    if args.dense:
        punched_in(args.model)
        return
    pull_and_modes(args.model)
    lost(args.model)
    command = [sys.executable, "-m", "benchmarks.pictures.viewer", "--dense", "--model", args.model]
    subprocess.run(command, env=os.environ | {"QT_SCALE_FACTOR": "2"}, check=True)
    running.quit()


if __name__ == "__main__":
    main()
