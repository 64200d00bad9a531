"""The document of the library is that of the code, and names every public name."""

import importlib
import re
from pathlib import Path

from benchmarks.report import api

ROOT = Path(__file__).parents[2]


def test_the_document_is_up_to_date() -> None:
    assert api.main(["--check"]) == 0, "run python -m benchmarks.report.api"


def test_every_public_name_has_a_section_with_text() -> None:
    page = api.page()
    for package in api.PACKAGES:
        for name in importlib.import_module(package).__all__:
            [section] = re.findall(rf"^### {name}\n(.*?)(?=^#|\Z)", page, flags=re.M | re.S)
            text = re.sub(r"```.*?```", "", section, flags=re.S).strip()
            assert len(text) > 10, name


def test_a_stale_document_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "api.md"
    assert api.main(["--check"], file=file) == 1
    assert api.main([], file=file) == 0 and api.main(["--check"], file=file) == 0


def test_sections_of_docstrings_become_lists() -> None:
    text = api.described("Does it.\n\nArgs:\n    a: one\n        more.\n    b, c: ``two``.\n\nNote.")
    assert text == "Does it.\n\n*Args*\n\n- `a`: one\n  more.\n- `b, c`: `two`.\n\nNote."


def test_links_of_the_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
            assert "://" in link or (document.parent / link).exists(), f"{document.name}: {link}"
