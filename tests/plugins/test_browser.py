"""An annotated file plays in a browser: Chromium loads it, knows its size and length, and shows a frame."""

import json
import re
import shutil
import subprocess

import pytest

from br2focus.plugins.cli import run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = """<!doctype html><video id="v" src="out.mp4" muted></video><pre id="seen">waiting</pre>
<script>
const v = document.getElementById("v");
const say = (error) => {
  const canvas = new OffscreenCanvas(8, 8).getContext("2d");
  if (!error) canvas.drawImage(v, 0, 0, 8, 8);
  const light = canvas.getImageData(0, 0, 8, 8).data.reduce((a, b) => a + b, 0) - 64 * 255;
  document.getElementById("seen").textContent = JSON.stringify(
    {width: v.videoWidth, height: v.videoHeight, duration: v.duration, error, light});
};
v.onerror = () => say(v.error.message || "error");
v.onseeked = () => say(null);
v.onloadeddata = () => { v.currentTime = v.duration / 2; };
</script>"""
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom",
]  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian package chromium)")
@pytest.mark.parametrize("audio", [0, 1])
def test_plays_in_a_browser(make_clip, model, tmp_path, audio):
    clip = make_clip(tmp_path / "clip.mkv", frames=45, size=(160, 120), audio=audio)
    assert run(["annotate", str(clip), "-o", str(tmp_path / "out.mp4"), "--model", model]) == 0
    (tmp_path / "page.html").write_text(PAGE)
    page = (tmp_path / "page.html").as_uri()
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [str(CHROMIUM), *OPTIONS, profile, page], capture_output=True, text=True, timeout=120
    )
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)
    assert seen, done.stderr[-2000:]
    report = json.loads(seen[1].replace("&quot;", '"'))
    assert report["error"] is None
    assert (report["width"], report["height"]) == (160, 120)
    assert report["duration"] == pytest.approx(1.5, abs=0.2)
    assert report["light"] > 0
