"""Write docs/api.md: every public name with its signature and docstring.

    python -m benchmarks.report.api [--check]

--check writes nothing, and exits with 1 where the file is stale.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType

from benchmarks.paths import DOCS

PACKAGES = ("br2focus.realtime", "br2focus.plugins.opencv", "br2focus.models")
FILE = DOCS / "api.md"
HEAD = """# The library

What is promised, made from the docstrings by `python -m benchmarks.report.api`. Everything else in the
packages may change. [Architecture](architecture.md) says how the parts work together.
"""
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):$")
ENTRY = re.compile(r"^    (\S[^:]*): (.*)$")


def described(text: str | None) -> str:
    """A docstring as Markdown: its sections become lists."""
    lines, inside = [], False
    for line in inspect.cleandoc(text or "").splitlines():
        line = re.sub(r"``([^`]*)``", r"`\1`", line)
        if SECTION.match(line):
            lines += [f"*{line[:-1]}*", ""]
            inside = True
        elif inside and (entry := ENTRY.match(line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif inside and line.startswith("    "):
            lines.append("  " + line.strip() if lines[-1] else f"- {line.strip()}")
        else:
            inside = inside and not line
            lines.append(line)
    return "\n".join(lines)


def signature(found: object) -> str:
    """Names and defaults of the parameters; types are in the text."""
    try:
        known = inspect.signature(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    plain = []
    for parameter in known.parameters.values():
        simple = isinstance(parameter.default, str | int | float | tuple | None)
        default = parameter.default if simple or parameter.default is parameter.empty else ...
        plain.append(parameter.replace(annotation=parameter.empty, default=default))
    if plain and plain[0].name in ("self", "cls"):
        del plain[0]
    text = str(known.replace(parameters=plain, return_annotation=known.empty))
    return text.replace("Ellipsis", "...")


def members(found: type) -> Iterator[tuple[str, object]]:
    """The documented methods and properties that a class has itself, in the order of its file."""
    for name, member in vars(found).items():
        plain = member.func if isinstance(member, cached_property) else member
        plain = plain.fget if isinstance(plain, property) else plain
        plain = plain.__func__ if isinstance(plain, classmethod | staticmethod) else plain
        public = name == "__call__" or not name.startswith("_")
        if public and inspect.isfunction(plain) and plain.__doc__:
            yield name, member


def entry(name: str, found: object) -> Iterator[str]:
    """The section of one name."""
    if isinstance(found, str):
        yield f"### `{name}`\n\nThe version, a string."
        return
    error = inspect.isclass(found) and issubclass(found, Exception)
    plain = error or getattr(found, "_is_protocol", False)
    title = name if plain else name + signature(found)
    yield f"### `{title}`\n\n{described(found.__doc__)}"
    if not inspect.isclass(found) or error:
        return
    for member, value in members(found):
        method = inspect.isfunction(value)
        title = signature(value) if method else ""
        shown = f"{name.lower()}{title}" if member == "__call__" else f".{member}{title}"
        doc = value.func.__doc__ if isinstance(value, cached_property) else value.__doc__
        yield f"#### `{shown}`\n\n{described(doc)}"


def page(packages: Sequence[str] = PACKAGES) -> str:
    """The whole document."""
    parts, seen = [HEAD], set()
    for package in packages:
        module: ModuleType = importlib.import_module(package)
        parts.append(f"## `{package}`\n\n{inspect.cleandoc(module.__doc__ or '')}\n")
        for name in sorted(module.__all__, key=str.lower):
            if name not in seen:
                parts += [f"{text}\n" for text in entry(name, getattr(module, name))]
            seen.add(name)
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None, *, file: Path = FILE) -> int:
    """Write or check the document; 0 when it is (now) up to date, 1 when not."""
    parser = argparse.ArgumentParser(description="Write docs/api.md.")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when stale")
    check, text = parser.parse_args(arguments).check, page()
    if check:
        return int(not file.exists() or file.read_text() != text)
    file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
