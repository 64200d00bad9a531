"""`br2focus doctor`: finds what is wrong, says what to do, and is never ended by it."""

import builtins
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from br2focus.plugins.cli import doctor, run
from br2focus.plugins.cli.doctor import remedy_for


def states(check) -> dict[str, str]:
    return {finding.what: finding.state for finding in check()}


def test_all_is_well_here(capsys):
    assert run(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    found = {finding["what"]: finding for finding in findings}
    assert all(set(finding) == {"what", "state", "text", "remedy"} for finding in findings)
    for what in (*doctor.LIBRARIES, "model lite", "model standard", "computing", "codec h264"):
        assert found[what]["state"] == "ok", found[what]
    assert {"CPU", "cameras"} <= found.keys() and "lite on cpu" in found["computing"]["text"]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("operator torchvision::nms does not exist", "constraints.txt"),
        ("libGL.so.1: cannot open shared object file: No such file", "libgl1"),
        ("libxcb-icccm.so.4: cannot open shared object file", "libxcb-icccm4"),
        ("libxcb-keysyms.so.1: cannot open shared object file", "libxcb-keysyms1"),
        ("No module named 'av'", "pip install"),
    ],
)
def test_remedies(text, remedy):
    assert remedy in remedy_for(ImportError(text))


def test_a_library_that_cannot_be_imported(monkeypatch, capsys):
    before = builtins.__import__

    def refuse(name: str, *args: object, **more: object):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist\nmore")
        return before(name, *args, **more)

    monkeypatch.setattr(doctor, "import_module", refuse)
    monkeypatch.setattr(doctor, "CHECKS", (doctor.libraries,))
    assert run(["doctor"]) == 6
    out = capsys.readouterr().out
    assert "wrong     torchvision: operator torchvision::nms does not exist\n" in out
    assert "-> torch and torchvision are of different releases" in out and "ok        av" in out


def test_two_opencv_packages(monkeypatch):
    names = ["opencv-python", "numpy", "opencv-python-headless"]
    found = [SimpleNamespace(metadata={"Name": name}) for name in names]
    monkeypatch.setattr(doctor, "distributions", lambda: found)
    [finding] = [f for f in doctor.libraries() if f.what == "OpenCV"]
    assert finding.state == "wrong" and "uninstall opencv-python-headless" in finding.remedy


def test_a_damaged_model_and_one_that_does_not_compute(monkeypatch, tmp_path):
    from br2focus.models import checkpoint
    from br2focus.models.errors import CheckpointError

    def refuse(name: str):
        raise CheckpointError(f"{name}: SHA-256 is another")

    monkeypatch.setattr(checkpoint, "find", refuse)
    assert states(doctor.models) == {
        "model lite": "wrong",
        "model standard": "wrong",
        "model native": "wrong",
        "computing": "wrong",
    }


def test_no_window_without_a_library_of_it(monkeypatch):
    def refuse(path: str):
        raise OSError("libxcb-icccm.so.4: cannot open shared object file: No such file")

    monkeypatch.setattr(doctor.ctypes, "CDLL", refuse)
    [finding] = doctor.window()
    assert finding.state == "absent" and finding.remedy == "apt-get install libxcb-icccm4"
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    [finding] = doctor.window()
    assert "viewer" in finding.remedy


def test_a_camera_without_permission(monkeypatch):
    camera = SimpleNamespace(index=0, name="Cam Link", device="/dev/none")
    monkeypatch.setattr("br2focus.realtime.sources.live.camera.list_cameras", lambda: [camera])
    [finding] = doctor.cameras()
    assert finding.state == "absent" and "video" in finding.remedy


def test_nothing_is_imported_before_it_is_looked_at():
    code = """
import sys, br2focus.plugins.cli.doctor
print([name for name in ("cv2", "torch", "av", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
