"""An annotated file plays in a browser: Chromium loads it, knows its size and length, and shows a frame."""

import json
import queue
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from br2focus.plugins.cli import run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = """<!doctype html><video id="v" src="out.mp4" muted></video>
<script>
const v = document.getElementById("v");
const say = (error) => {
  const canvas = new OffscreenCanvas(8, 8).getContext("2d");
  if (!error) canvas.drawImage(v, 0, 0, 8, 8);
  const light = canvas.getImageData(0, 0, 8, 8).data.reduce((a, b) => a + b, 0) - 64 * 255;
  fetch("/report", {method: "POST", body: JSON.stringify(
    {width: v.videoWidth, height: v.videoHeight, duration: v.duration, error, light})});
};
v.onerror = () => say(v.error.message || "error");
v.onended = () => say(null);
v.oncanplaythrough = () => v.play();
</script>"""
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and takes one report."""

    def __init__(self, *args, reports, **options):
        self.reports = reports
        super().__init__(*args, **options)

    def do_POST(self):
        self.reports.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def seen_by_chromium(folder) -> dict:
    """Open ``folder``'s page in Chromium and wait for what it reports."""
    reports: queue.Queue[bytes] = queue.Queue()
    handler = partial(Handler, directory=str(folder), reports=reports)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}/page.html"
        command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={folder / 'profile'}", page]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return json.loads(reports.get(timeout=120))
        finally:
            browser.terminate()
            browser.wait(20)
            server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian package chromium)")
@pytest.mark.parametrize("sound", [0, 1])
def test_plays_in_a_browser(make_clip, model, tmp_path, sound):
    clip = make_clip(tmp_path / "clip.mkv", frames=25, size=(160, 120), audio=sound)
    assert run(["annotate", str(clip), "-o", str(tmp_path / "out.mp4"), "--model", model]) == 0
    (tmp_path / "page.html").write_text(PAGE)
    report = seen_by_chromium(tmp_path)
    assert report["error"] is None
    assert (report["width"], report["height"]) == (160, 120)
    assert report["duration"] == pytest.approx(1.0, abs=0.1)
    assert report["light"] > 0
