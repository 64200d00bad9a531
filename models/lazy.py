"""Names of a package that are imported on first access (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: its ``__name__``.
        modules: module -> the names to import from it; "name as other" gives a name another one.
    """
    places: dict[str, tuple[str, str]] = {}
    for module, names in modules.items():
        for name in names:
            there, _, here = name.partition(" as ")
            places[here or there] = (module, there)

    def found(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, there = places[name]
        value = getattr(import_module(f"{package}.{module}"), there)
        setattr(sys.modules[package], name, value)
        return value

    return found
