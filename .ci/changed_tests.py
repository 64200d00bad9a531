"""Print the tests of what has changed since the last commit on main, one path per line.

A changed module has the test file of its name, if there is one, else the tests of its room.
"""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
OTHERS = {
    "README.md": "tests/test_readme.py",
    "examples/": "tests/plugins/test_opencv.py",
    "pyproject.toml": "tests/test_packaging.py",
}
CODE = ("configs", "models", "plugins", "realtime", "benchmarks")


def changed() -> list[Path]:
    """Files that differ from main, or from the last commit when on main; new ones included."""
    base = git("merge-base", "HEAD", "main") or ["HEAD"]
    names = git("diff", "--name-only", base[0]) + git("ls-files", "--others", "--exclude-standard")
    return [Path(name) for name in names if (ROOT / name).exists()]


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split()


def tests_of(path: Path) -> Path | None:
    """The test file or folder of a changed file; None if it has none."""
    if path.parts[0] == "tests":
        return path if path.name.startswith("test_") else path.parent
    for start, test in OTHERS.items():
        if path.as_posix().startswith(start):
            return Path(test)
    if path.parts[0] not in CODE or path.suffix != ".py":
        return Path("tests/benchmarks/test_api.py") if path.suffix == ".md" else None
    room = Path("tests") / path.parent
    named = room / f"test_{path.stem}.py"
    while not named.exists() and not any((ROOT / room).glob("test_*.py")):
        room = room.parent
    return named if (ROOT / named).exists() else room


def main() -> None:
    found = {str(test) for path in changed() if (test := tests_of(path)) is not None}
    print("\n".join(sorted(found - {"tests"})))


if __name__ == "__main__":
    main()
