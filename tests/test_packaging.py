"""What is shipped: every folder, every resource, and a core that installs without Qt or a second OpenCV."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from typing import Any

import pytest

from br2focus.models import checkpoint

ROOT = Path(__file__).parents[1]
FOLDERS = ("configs", "models", "plugins", "realtime")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
VERSION = PROJECT["project"]["version"]


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """First names of what a file imports absolutely."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def name_of(requirement: str) -> str:
    """Name of a requirement in normal form: `PyQt6>=6.7` -> `pyqt6`."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- pyproject.toml -----------------------------------------------------------------------------------


def folders_with_files() -> set[Path]:
    """Folders of the product that hold code or data."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.parent for path in files if "__pycache__" not in path.parts}


def test_every_folder_is_a_listed_package() -> None:
    found = {"br2focus." + ".".join(f.relative_to(ROOT).parts) for f in folders_with_files()}
    assert found | {"br2focus"} == set(SETUPTOOLS["packages"])


def test_every_folder_has_an_init() -> None:
    missing = [folder for folder in folders_with_files() if not (folder / "__init__.py").is_file()]
    assert missing == []


def test_the_core_needs_no_qt() -> None:
    qt = [d for d in PROJECT["project"]["dependencies"] if "qt" in d.lower()]
    assert qt == []
    assert "pyqt6" in map(name_of, PROJECT["project"]["optional-dependencies"]["viewer"])


def test_what_is_imported_is_required() -> None:
    project = PROJECT["project"]
    # What the extra holds is imported in functions, by those who asked for it.
    extras = project["optional-dependencies"]["onnx"]
    required = {name_of(d) for d in [*project["dependencies"], *extras]}
    homes = packages_distributions()
    core = [path for path in sources(*FOLDERS) if "qt" not in path.parts]
    names = set().union(*map(imports, core)) - set(sys.stdlib_module_names) - {"br2focus"}
    unknown = {n for n in names if not {name_of(home) for home in homes.get(n, [])} & required}
    assert unknown == set()


def test_constraints_pin_what_is_required() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    wanted = list(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        wanted += extra
    assert {name_of(w) for w in wanted} - {name_of(pin) for pin in pins} == set()
    assert [pin for pin in pins.items() if "+" in pin[1]] == []  # a local version fits one machine


def test_one_opencv_is_installed() -> None:
    names = {dist.metadata["Name"].lower() for dist in distributions()}
    opencv = sorted(name for name in names if name.startswith("opencv-"))
    assert len(opencv) == 1, f"{opencv} write into the same folder: uninstall all, install one"


def test_nothing_imports_a_folder_by_its_bare_name() -> None:
    # `import realtime` would make second copies of its classes.
    guilty = {
        path.relative_to(ROOT): bare
        for path in sources(*FOLDERS, "benchmarks", "examples", "tests")
        if (bare := imports(path) & set(FOLDERS))
    }
    assert guilty == {}


# --- sdist, wheel, editable install -------------------------------------------------------------------

IMPORT_FROM = """
import json, site, sys
sys.path[:0] = [{first!r}]
sys.path += {site_packages!r}
site.addsitedir({first!r})
from importlib.metadata import version
from importlib.resources import files
import br2focus.configs, br2focus.models, br2focus.realtime
from br2focus.models.checkpoint import find, shipped
print(json.dumps({{
    "version": version("br2focus"),
    "places": [m.__file__ for n, m in sys.modules.items() if n.startswith("br2focus.")],
    "weights": {{name: find(name)[1] for name in shipped()}},
    "configs": sorted(f.name for f in files("br2focus.configs").iterdir() if f.name.endswith(".toml")),
}}))
"""


def imported_from(place: Path, elsewhere: Path) -> dict[str, Any]:
    """What a fresh process sees that imports br2focus from ``place``, started in another folder."""
    site_packages = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    code = IMPORT_FROM.format(first=str(place), site_packages=site_packages)
    # -S: the environment may hold an editable br2focus of its own.
    return dict(json.loads(run("-I", "-S", "-c", code, cwd=elsewhere)))


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone holds, so that building leaves nothing behind here."""
    tree = tmp_path_factory.mktemp("clone")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".ns", tree / ".ns", symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist: so both are complete."""
    out = tmp_path_factory.mktemp("dist")
    backend = "from setuptools import build_meta as b; b.build_sdist({!r})"
    run("-c", backend.format(str(out)), cwd=source_tree)
    (sdist,) = out.glob("*.tar.gz")
    options = ("--no-build-isolation", "--no-deps", "--disable-pip-version-check", "-q")
    run("-m", "pip", "wheel", *options, "-w", out, sdist, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("br2focus/")}
    kinds = {".py", ".toml", ".txt", ".safetensors", ".md", ".typed"}
    expected = {
        "br2focus/" + path.relative_to(ROOT).as_posix()
        for folder in folders_with_files()
        for path in folder.iterdir()
        if path.suffix in kinds or path.name == "SHA256SUMS"
    }
    assert inside == expected


def test_wheel_installs_and_runs_elsewhere(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    options = ("--no-deps", "--disable-pip-version-check", "-q")
    run("-m", "pip", "install", *options, "--target", target, wheel, cwd=tmp_path)
    seen = imported_from(target, tmp_path)
    assert seen["version"] == VERSION
    assert "lite.toml" in seen["configs"]
    assert seen["weights"] == checkpoint.shipped()
    assert [p for p in seen["places"] if not Path(p).is_relative_to(target)] == []
    entry = next(target.glob("*.dist-info/entry_points.txt")).read_text()
    assert "br2focus = br2focus.plugins.cli:main" in entry


def test_editable_install_runs_elsewhere(source_tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    backend = "from setuptools import build_meta as b; b.build_editable({!r})"
    run("-c", backend.format(str(tmp_path)), cwd=source_tree)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(target)
    seen = imported_from(target, tmp_path)
    assert seen["version"] == VERSION
    assert [p for p in seen["places"] if not Path(p).is_relative_to(source_tree)] == []
