"""Write docs/api.md: every public name with its signature and docstring.

    python -m benchmarks.report.api [--check]

With --check, write nothing; exit with 1 if the file is stale.
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
WIDTH = 100
ENTRY = re.compile(r"^    (\S[^:]*): (.*)$")


def described(text: str | None) -> str:
    """Convert a docstring to Markdown; its sections become lists."""
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


def signature(found: object, name: str) -> str:
    """Return ``name`` with its parameters, their types and defaults, as in the source."""
    try:
        known = inspect.signature(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return name
    shown: list[str] = []
    star = False
    for parameter in known.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown, star = [*shown, "*"], True
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        shown.append(_parameter(parameter))
    returns = _annotation(known.return_annotation) if inspect.isfunction(found) else ""
    end = f") -> {returns}" if returns else ")"
    line = f"{name}({', '.join(shown)}{end}"
    return line if len(line) <= WIDTH else f"{name}(\n    " + ",\n    ".join(shown) + f",\n{end}"


def _parameter(parameter: inspect.Parameter) -> str:
    text = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        text = ("*" if parameter.kind is parameter.VAR_POSITIONAL else "**") + text
    if annotation := _annotation(parameter.annotation):
        text += f": {annotation}"
    if parameter.default is parameter.empty:
        return text
    simple = isinstance(parameter.default, str | int | float | tuple | None)
    return f"{text} = {parameter.default!r}" if simple else f"{text} = ..."


def _annotation(annotation: object) -> str:
    return (
        "" if annotation is inspect.Parameter.empty else str(annotation).removeprefix("'").removesuffix("'")
    )


def members(found: type) -> Iterator[tuple[str, object]]:
    """Yield the documented methods and properties of a class itself, in the order of its file."""
    for name, member in vars(found).items():
        plain = member.func if isinstance(member, cached_property) else member
        plain = plain.fget if isinstance(plain, property) else plain
        plain = plain.__func__ if isinstance(plain, classmethod | staticmethod) else plain
        public = name == "__call__" or not name.startswith("_")
        if public and inspect.isfunction(plain) and plain.__doc__:
            yield name, member


def entry(name: str, found: object) -> Iterator[str]:
    """Yield the section of one name, and those of its members."""
    if isinstance(found, str):
        yield f"### {name}\n\nThe version, a string."
        return
    error = inspect.isclass(found) and issubclass(found, Exception)
    bare = error or getattr(found, "_is_protocol", False)
    code = "" if bare else f"```python\n{signature(found, name)}\n```\n\n"
    yield f"### {name}\n\n{code}{described(found.__doc__)}"
    if not inspect.isclass(found) or error:
        return
    for member, value in members(found):
        shown = name.lower() if member == "__call__" else f".{member}"
        if isinstance(value, property | cached_property):
            getter = value.func if isinstance(value, cached_property) else value.fget
            returns = _annotation(inspect.signature(getter).return_annotation) if getter else ""
            title, doc = f"{shown}: {returns}", getter.__doc__ if getter else ""
        else:
            title, doc = signature(value, shown), value.__doc__
        title = " ".join(title.split()).replace("( ", "(").replace(",)", ")")
        yield f"#### `{title}`\n\n{described(doc)}"


def page(packages: Sequence[str] = PACKAGES) -> str:
    """Return the whole document."""
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
    """Write or check the document; return 0 if it is (now) up to date, else 1."""
    parser = argparse.ArgumentParser(description="Write docs/api.md.")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if stale")
    check, text = parser.parse_args(arguments).check, page()
    if check:
        return int(not file.exists() or file.read_text() != text)
    file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
