"""``docs/backends.md`` can be followed to the letter: from an empty folder to a store that is installed, proved and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from modeldb_core.plugins import plugin_manager

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "backends.md"
EXAMPLE = ROOT / "examples" / "third_party_store"
IN_PAGE = "/tmp/modeldb-ledger-example"
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```\n", re.DOTALL)

# In place of pip: the wheel of the folder, built and unpacked where this test alone finds it. It comes from no registry.
PIP = """#!{python}
import glob, importlib.util, os, sys, zipfile
command, *wanted = sys.argv[1:]
assert command == "install", sys.argv
if wanted == ["."]:
    from setuptools import build_meta
    out = os.environ["SITE"] + "-wheels"
    os.makedirs(out)
    build_meta.build_wheel(out)
    (wheel,) = glob.glob(out + "/*.whl")
    zipfile.ZipFile(wheel).extractall(os.environ["SITE"])
else:
    assert all(importlib.util.find_spec(name.replace("-", "_")) for name in wanted), wanted
"""


class Block(NamedTuple):
    file: str
    language: str
    text: str


def blocks() -> list[Block]:
    found = PAGE.read_text(encoding="utf-8")
    walk = found[found.index("## From an empty folder") : found.index("## What the contract of a metadata store wants")]
    return [Block(match["file"] or "", match["language"], match["text"]) for match in BLOCK.finditer(walk)]


def files() -> dict[str, str]:
    """Return the files that the page writes; one that it shows in parts is put together."""
    written: dict[str, str] = {}
    for block in blocks():
        if block.file:
            written[block.file] = "\n".join(filter(None, [written.get(block.file), block.text]))
    return written


def without_blank_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_page_builds_the_example() -> None:
    written = files()
    for name, text in written.items():
        if name not in ("modeldb.toml", "train.py"):
            assert without_blank_lines(text) == without_blank_lines((EXAMPLE / name).read_text(encoding="utf-8")), name
    kept = {str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*.py")} | {"pyproject.toml"}
    assert kept - set(written) == {"tests/test_files.py"}


@pytest.mark.thorough  # installs packages into an environment of its own
def test_the_page_can_be_followed_from_an_empty_folder(tmp_path: Path) -> None:
    folder, tools, site = tmp_path / "empty", tmp_path / "bin", tmp_path / "site"
    for made in (folder, tools):
        made.mkdir()
    pip = tools / "pip"
    pip.write_text(PIP.format(python=sys.executable))
    pip.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        "SITE": str(site),
        "MODELDB_CAPTURE_ENABLED": "false",
    }
    said = []
    for block in blocks():
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(block.text.replace(IN_PAGE, str(tmp_path / "data")) + "\n")
            continue
        assert block.language == "sh"
        if "pytest tests" in block.text:  # the reader is sent there for these
            (folder / "tests" / "test_files.py").write_text((EXAMPLE / "tests" / "test_files.py").read_text())
        done = subprocess.run(
            ["sh", "-ec", block.text],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout[-5000:]}"
        said.append(done.stdout)
    tests, conformance, use = said[-3:]
    assert re.search(r"\d{3} passed(, \d+ skipped)? in", tests), tests[-3000:]
    assert "ledger://{tmp_path}/store (modeldb_ledger.metadata:LedgerStore; options: none)" in conformance
    assert "skipped" in conformance  # only what needs a look behind the store's back
    assert re.search(r"modeldb_ledger +modeldb-ledger 1.0 +loaded", use)
    assert "first" in use
    assert (tmp_path / "data" / "ledger").stat().st_size > 0


def test_the_example_leaks_into_no_other_test() -> None:
    assert "modeldb_ledger" not in plugin_manager().infos
    assert "modeldb_ledger" not in sys.modules


def test_all_built_in_schemes_are_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("## The stores there are") : page.index("## From an empty folder")]
    own = {scheme for (_, scheme), (_, info) in plugin_manager().backends().items() if info.is_own}
    assert {scheme for scheme in own if not re.search(rf"`{scheme}(://|`)", table)} == set()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE.read_text(encoding="utf-8")))
def test_links_of_the_page_lead_somewhere(target: str) -> None:
    assert (PAGE.parent / target).exists()
