"""Every command and every piece of code in the README is run as written, in a folder with such files."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
INDENTED = re.sub(r"```.*?```", "", README, flags=re.DOTALL).splitlines()
COMMANDS = [line.split("  #")[0].strip() for line in INDENTED if line.startswith("    ")]
PROGRAMS = {"br2focus": ["-m", "br2focus.plugins.cli"], "python": []}
SMALL_CONFIG = """
name = "lite"
iterations = 1
batch = 2
size = 64
[data]
images = "images"
masks = "masks"
polarity = "blurred"
validation = 1
[network]
backbone = "mobilenet_v2"
width = 4
reduce = 4
[augment]
crop = 64
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_clip) -> Path:
    """What the README's commands name: clips, a test set, training data and its configuration."""
    root = tmp_path_factory.mktemp("readme")
    for name in (
        "clips",
        "slices",
        "test/images",
        "test/masks",
        "data/images",
        "data/masks",
        "configs",
    ):
        (root / name).mkdir(parents=True)
    (root / "examples").symlink_to(ROOT / "examples")
    make_clip(root / "clip.mp4", frames=4, size=(640, 480), audio=1)
    make_clip(root / "clips" / "one.mp4", frames=2, size=(640, 480))
    (root / "configs" / "lite.toml").write_text(SMALL_CONFIG)
    (root / "points.csv").write_text(
        "frame_id,source,second,width,height,x,y,radius,label,texture,note\n"
        "a,clip.mp4,0,640,480,80,60,9,F,1,edge\na,clip.mp4,0,640,480,500,400,9,B,0,wall\n"
    )
    (root / "pairs.csv").write_text("frame_id,sharper_index,softer_index\na,0,1\n")
    for number in range(2):
        picture = np.random.default_rng(number).integers(0, 255, (96, 128, 3)).astype(np.uint8)
        cv2.imwrite(str(root / "slices" / f"{number}.png"), picture)
    mask = np.zeros((64, 80), np.uint8)
    mask[:, 40:] = 255
    for name in ("test", "data"):
        for number in range(3):
            image = np.random.default_rng(number).integers(0, 255, (64, 80, 3)).astype(np.uint8)
            cv2.imwrite(str(root / name / "images" / f"{number}.png"), image)
            cv2.imwrite(str(root / name / "masks" / f"{number}.png"), mask)
    return root


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.split()[0] in PROGRAMS])
def test_command(folder, command):
    program, *args = shlex.split(command)
    done = subprocess.run(
        [sys.executable, *PROGRAMS[program], *args],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_is_of_a_known_kind():
    others = {c for c in COMMANDS if c.split()[0] not in PROGRAMS}
    assert others == {"make demo", "make test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{c.split()[1]}:", makefile, re.MULTILINE) for c in others)


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_stage_of_the_readme():
    frame = np.zeros((64, 80, 3), np.uint8)
    names = {"frame_bgr": frame, "x": 1, "y": 2, "width": 30, "height": 20}
    exec(BLOCKS[0], names)
    assert names["result"].blur.shape == (64, 80)


def test_the_pipeline_of_the_readme(folder, monkeypatch):
    monkeypatch.chdir(folder)
    exec(BLOCKS[1], {})
    frames = cv2.VideoCapture(str(folder / "out.mp4"))
    assert frames.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert "br2focus.realtime as br" in BLOCKS[1] and len(BLOCKS) == 2


def test_a_strict_type_checker_passes_the_readme_and_the_examples(tmp_path):
    """As a user runs it: from another folder, with what is installed and no configuration of ours."""
    given = "import numpy as np\nframe_bgr = np.zeros((4, 4, 3), np.uint8)\nx = y = width = height = 1\n"
    (tmp_path / "readme_stage.py").write_text(given + BLOCKS[0])
    (tmp_path / "readme_pipeline.py").write_text(BLOCKS[1])
    files = ["readme_stage.py", "readme_pipeline.py", *map(str, sorted((ROOT / "examples").glob("*.py")))]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_exit_codes_are_those_of_the_program():
    from br2focus.plugins.cli.exits import Exit

    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    codes = {int(n) for n in re.findall(r"\b\d+\b", " ".join(re.findall(r"^\| ([\d, ]+) \|", text, re.M)))}
    assert codes == {int(code) for code in Exit}
