"""Environments that uv builds from a record: real uv, a folder of wheels, no index."""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.errors import ReproductionError
from modeldb_core.reproduction.command import Command
from modeldb_core.reproduction.environments import Environment, build, plan_environment
from modeldb_core.reproduction.record import Place, Recording


def wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel with one module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"print('{name} {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: not-there\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def recording(packages: dict[str, str], **other: Any) -> Recording:
    """Return a record of a run with these packages."""
    given: dict[str, Any] = {
        "command": Command((), "script", "train.py", ()),
        "is_given": False,
        "place": Place("/code", "."),
        "executable_folder": "",
        "commit": "",
        "remote": "",
        "patch": "",
        "source": None,
        "script": "",
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "packages": packages,
        "sources": {},
        "datasets": {},
        "gaps": (),
    }
    return Recording(**{**given, **other})


def made(record: Recording, links: Path, folder: Path) -> Environment:
    options = ["--no-index", "--offline", "--find-links", str(links)]
    folder.mkdir()
    return build(plan_environment(record, "auto", options=options), record, folder)


def test_an_environment_has_exactly_the_recorded_packages(tmp_path: Path) -> None:
    wheel(tmp_path, "tiny_thing", "1.0")
    wheel(tmp_path, "tiny_thing", "1.1")
    found = made(recording({"tiny-thing": "1.0"}), tmp_path, tmp_path / "own")
    assert (found.differences, found.is_here) == ((), False)
    run = [found.python, "-c", "import tiny_thing, sys; print(sys.version_info[:3])"]
    out = subprocess.run(run, capture_output=True, text=True, timeout=240, check=True).stdout
    assert out == f"tiny_thing 1.0\n{tuple(sys.version_info[:3])}\n"


def test_another_version_of_python_is_said(tmp_path: Path) -> None:
    wheel(tmp_path, "tiny_thing", "1.0")
    major, minor, _ = platform.python_version_tuple()
    found = made(recording({"tiny-thing": "1.0"}, python=f"{major}.{minor}.200"), tmp_path, tmp_path / "own")
    assert found.differences[0].startswith(f"cpython {major}.{minor}.200 (here cpython {major}.{minor}.")


def test_without_an_index_it_says_what_is_missing(tmp_path: Path) -> None:
    wheel(tmp_path, "tiny_thing", "1.0")
    record = recording({"tiny-thing": "1.0", "numpy": "0.0.1", "lost": "7.0"})
    with pytest.raises(ReproductionError, match="not every recorded package can be installed") as caught:
        made(record, tmp_path, tmp_path / "own")
    said = str(caught.value)
    assert "lost 7.0 (here not installed)" in said
    assert "numpy 0.0.1 (here " in said
    assert "--find-links" in said


def test_a_package_that_would_have_to_be_built_is_not(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with tarfile.open(tmp_path / "tiny_thing-1.0.tar.gz", "w:gz") as archive:
        for path, text in {
            "setup.py": f"open({str(mark)!r}, 'w').close()\n",
            "PKG-INFO": "Metadata-Version: 2.1\nName: tiny_thing\nVersion: 1.0\n",
        }.items():
            member = tarfile.TarInfo(f"tiny_thing-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    with pytest.raises(ReproductionError, match="can be installed.*no usable wheels"):
        made(recording({"tiny-thing": "1.0"}), tmp_path, tmp_path / "own")
    assert not mark.exists()
