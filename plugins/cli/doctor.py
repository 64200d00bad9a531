"""``br2focus doctor``: reports what works, what is missing, and how to get it."""

from __future__ import annotations

import ctypes
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import click

from br2focus.realtime.errors import first_line

from .exits import Exit, report_options

State = Literal["ok", "absent", "wrong"]
LIBRARIES = ("torch", "torchvision", "kornia", "numpy", "av", "cv2", "openvino")
REINSTALL = "reinstall: pip install -c constraints.txt -e '.[viewer]'"
REMEDIES = {  # part of an error message -> what to do
    "nms": f"torch and torchvision are of different releases; {REINSTALL}",
    "libGL": "apt-get install libgl1 libglib2.0-0",
    "libglib": "apt-get install libgl1 libglib2.0-0",
    "libgthread": "apt-get install libgl1 libglib2.0-0",
    "libEGL": "apt-get install libegl1",
    "libxkbcommon": "apt-get install libxkbcommon-x11-0",
    "libxcb-cursor": "apt-get install libxcb-cursor0",
    "libxcb-icccm": "apt-get install libxcb-icccm4",
    "libxcb-image": "apt-get install libxcb-image0",
    "libxcb-keysyms": "apt-get install libxcb-keysyms1",
    "libxcb-render-util": "apt-get install libxcb-render-util0",
    "libxcb": "apt-get install libxcb-randr0 libxcb-shape0 libxcb-sync1 libxcb-xfixes0 libxcb-xkb1",
    "libfontconfig": "apt-get install libfontconfig1",
    "libfreetype": "apt-get install libfreetype6",
    "libdbus": "apt-get install libdbus-1-3",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: what was checked.
        state: "ok"; "absent" if br2focus works without it; "wrong" if it does not.
        text: what was found.
        remedy: what to do, or "" if there is nothing to do.
    """

    what: str
    state: State
    text: str
    remedy: str = ""


@click.command("doctor", epilog="Example: br2focus doctor")
@report_options
def command(as_json: bool, debug: bool) -> int:
    """Check what br2focus needs: libraries, models, processor, GPU, encoders, window, cameras.

    Computes one frame the same way as all other commands; on a new machine this takes about twenty seconds.
    Exits with code 6 if something is wrong, but not if something optional is absent.
    """
    found = []
    for check in CHECKS:
        for finding in check():
            found.append(finding)
            if not as_json:
                click.echo(_line(finding))
    if as_json:
        click.echo(json.dumps({"findings": [asdict(finding) for finding in found]}))
    return Exit.COMPUTE if any(finding.state == "wrong" for finding in found) else Exit.DONE


def libraries() -> Iterator[Finding]:
    """Check that each library can be imported, and report its version."""
    yield Finding("br2focus", "ok", f"{_version('br2focus')}, Python {platform.python_version()}")
    for name in LIBRARIES:
        try:
            _import(name)
        except Exception as error:
            yield Finding(name, "wrong", first_line(error), remedy_for(error))
        else:
            yield Finding(name, "ok", _version(_distribution(name)))
    several = _opencv_packages()
    if len(several) > 1:
        first, *others = several
        yield Finding(
            "OpenCV",
            "wrong",
            f"{' and '.join(several)} overwrite each other",
            f"pip uninstall {' '.join(others)}, then reinstall {first}",
        )
    if not find_spec("onnxruntime"):
        yield Finding(
            "onnxruntime", "absent", "a second way to compute on a CPU", "pip install 'br2focus[onnx]'"
        )


def processor() -> Iterator[Finding]:
    """Report the CPU, and the GPUs if any can be used."""
    from .bench.machine import machine

    here = machine("cpu")
    cores, can = here["cores"], ", ".join(here["cpu_features"]) or "no AVX2: slow"
    yield Finding("CPU", "ok", f"{here['cpu']}, {cores} cores, {can}, {here['memory_gb']} GB")
    try:
        import torch

        for number in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(number).total_memory
            text = f"{torch.cuda.get_device_name(number)}, {memory / 1e9:.0f} GB"
            yield Finding(f"GPU {number}", "ok", text)
        if torch.cuda.is_available():
            return
        if Path("/proc/driver/nvidia/version").exists():
            text = f"a driver is there, but PyTorch {torch.__version__} cannot use it"
            yield Finding("GPU", "absent", text, REINSTALL)
            return
    except Exception as error:
        yield Finding("GPU", "absent", first_line(error))
        return
    yield Finding("GPU", "absent", "no NVIDIA GPU; the CPU computes")


def models() -> Iterator[Finding]:
    """Check every shipped file against its hash, and run one frame through the default model."""
    from br2focus.models import checkpoint

    for name in checkpoint.shipped():
        try:
            _, digest = checkpoint.find(name)
        except Exception as error:
            yield Finding(f"model {name}", "wrong", first_line(error), REINSTALL)
        else:
            yield Finding(f"model {name}", "ok", f"SHA-256 {digest}")
    try:
        import numpy as np

        from br2focus.realtime.engine.engine import Engine
        from br2focus.realtime.engine.settings import EngineSettings
        from br2focus.realtime.folders import cache_folder

        engine = Engine(EngineSettings())
        engine(np.zeros((360, 640, 3), np.uint8))
        yield Finding("computing", "ok", f"{engine.info.name} on {engine.device}")
        folder = cache_folder()
        if not os.access(folder, os.W_OK):
            yield Finding(
                "cache",
                "absent",
                f"{folder} cannot be written: every start converts the model again",
                "set BR2FOCUS_CACHE to a folder of yours",
            )
        else:
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            yield Finding("cache", "ok", f"{folder}, {size / 1e6:.0f} MB")
    except Exception as error:
        yield Finding("computing", "wrong", first_line(error), remedy_for(error))


def encoders() -> Iterator[Finding]:
    """Check the codecs of ``annotate --codec``."""
    try:
        import av

        from br2focus.realtime.sinks.codecs import CODECS

        for name, codec in CODECS.items():
            try:
                av.Codec(codec.encoder, "w")
            except Exception:
                state: State = "wrong" if name == "h264" else "absent"
                text = f"this PyAV has no {codec.encoder}"
                yield Finding(f"codec {name}", state, text, "pip install --force-reinstall av")
            else:
                yield Finding(f"codec {name}", "ok", codec.encoder)
    except Exception as error:
        yield Finding("codecs", "wrong", first_line(error), remedy_for(error))


def window() -> Iterator[Finding]:
    """Check Qt, the libraries that its window needs, and the screen."""
    spec = find_spec("PyQt6")
    if spec is None or spec.origin is None:
        yield Finding(
            "window",
            "absent",
            "PyQt6 is not installed: br2focus live --headless alone",
            "pip install 'br2focus[viewer]'",
        )
        return
    # Whichever library is missing, Qt blames libxcb-cursor0; the dynamic loader names the right one.
    plugin = Path(spec.origin).parent / "Qt6" / "plugins" / "platforms" / "libqxcb.so"
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        yield Finding("window", "absent", first_line(error), remedy_for(error))
        return
    yield Finding("window", "ok", f"PyQt6 {_version('PyQt6')}")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        yield Finding(
            "screen",
            "absent",
            "neither DISPLAY nor WAYLAND_DISPLAY is set",
            "br2focus live --headless needs none",
        )


def cameras() -> Iterator[Finding]:
    """Report the connected cameras and whether they may be used."""
    try:
        from br2focus.realtime.sources.live.camera import list_cameras

        found = list_cameras()
    except Exception as error:
        yield Finding("cameras", "absent", first_line(error), remedy_for(error))
        return
    for camera in found:
        if os.access(camera.device, os.R_OK | os.W_OK):
            yield Finding(f"camera {camera.index}", "ok", camera.name)
        else:
            text = f"{camera.name}: no permission"
            remedy = "sudo usermod -aG video $USER, then log in again"
            yield Finding(f"camera {camera.index}", "absent", text, remedy)
    if not found:
        yield Finding("cameras", "absent", "none is plugged in; br2focus live test needs none")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    libraries,
    processor,
    models,
    encoders,
    window,
    cameras,
)


def remedy_for(error: Exception) -> str:
    """Return what to do about an error of an import or a computation."""
    text = str(error)
    return next((remedy for sign, remedy in REMEDIES.items() if sign in text), REINSTALL)


def _import(name: str) -> None:
    if name == "openvino":
        from br2focus.realtime.engine.backends.openvino import library

        library()
    else:
        import_module(name)


def _distribution(module: str) -> str:
    return {"cv2": next(iter(_opencv_packages()), "opencv-python")}.get(module, module)


def _opencv_packages() -> list[str]:
    """Return the installed packages that write into cv2's folder, the one with windows first."""
    names = {str(found.metadata["Name"]).lower() for found in distributions()}
    return sorted(name for name in names if name.startswith("opencv-") and "python" in name)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of unknown version"


def _line(finding: Finding) -> str:
    remedy = f"\n{'':10}-> {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:8}  {finding.what}: {finding.text}{remedy}"
