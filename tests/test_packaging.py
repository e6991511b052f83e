"""The wheel holds what the repository holds, under names of its own, and costs little to import."""

from __future__ import annotations

import configparser
import email
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest

from modeldb_core.runtime.notices import as_typed

ROOT = Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", "utf-8")
BIGGEST_IMPORT_KIB = 40 * 1024
FRAMEWORKS = (
    *("alembic", "click", "flask", "fsspec", "lark", "matplotlib", "numpy", "pandas", "pcodec", "pytest", "rich"),
    *("lightning", "pytorch_lightning", "sklearn", "skops", "sqlalchemy", "torch", "waitress"),
)


def _lines(section: str, option: str) -> list[str]:
    return [line.strip() for line in CONFIG[section][option].splitlines() if line.strip()]


def _package_folders() -> dict[str, Path]:
    """Return the folder of every top-level package, as setup.cfg says."""
    pairs = (line.partition(" = ") for line in _lines("options", "package_dir"))
    return {name: ROOT / folder for name, _, folder in pairs}


def _tracked(folder: Path) -> list[Path]:
    """Return the files below a folder that belong to the repository: no caches, nothing that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _module_folders() -> set[str]:
    found = set()
    for package, folder in _package_folders().items():
        for path in _tracked(folder):
            if path.suffix == ".py":
                found.add(".".join((package, *path.parent.relative_to(folder).parts)))
    return found


def test_every_package_on_disk_is_listed_in_setup_cfg() -> None:
    assert sorted(_lines("options", "packages")) == sorted(_module_folders())


def test_every_package_has_an_init_file() -> None:
    for package, folder in _package_folders().items():
        for name in _module_folders():
            if name == package or name.startswith(f"{package}."):
                inside = folder.joinpath(*name.split(".")[1:])
                assert (inside / "__init__.py").is_file(), f"{inside} would be a namespace package"


def test_every_top_level_package_is_typed() -> None:
    for package, folder in _package_folders().items():
        assert (folder / "py.typed").is_file(), package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel of a copy of the tracked files, so that nothing untracked can hide a gap."""
    source = tmp_path_factory.mktemp("source")
    for path in _tracked(ROOT):
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    out = tmp_path_factory.mktemp("wheel")
    build = (
        "import os, sys; from setuptools import build_meta; os.chdir(sys.argv[1]); build_meta.build_wheel(sys.argv[2])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(source), str(out)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.interpreter
def test_the_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    expected = {
        "/".join((package, *path.relative_to(folder).parts))
        for package, folder in _package_folders().items()
        for path in _tracked(folder)
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == expected


@pytest.mark.interpreter
def test_the_wheel_installs_no_generic_top_level_name(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert all(
        top.startswith(
            ("modeldb_core", "modeldb_lightning", "modeldb_sklearn", "modeldb_server", "modeldb_v1", "modeldb_webui")
        )
        for top in tops
    )


def test_the_wheel_carries_the_licence(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith("licenses/LICENSE"))
    assert "Apache License" in wheel.read(licence).decode()
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    assert "License-Expression: Apache-2.0" in wheel.read(metadata).decode()


def test_the_description_in_the_wheel_has_no_link_that_leads_nowhere(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    described = email.message_from_bytes(wheel.read(name))
    assert described["Description-Content-Type"] == "text/markdown"
    text = str(described.get_payload())
    assert "# ModelDB" in text
    assert "Logging and reading runs" in text
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; what it depends on comes from this one. Returns its folder of programs."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=240)
    assert wheel.filename is not None
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel.filename]
    subprocess.run(pip, check=True, timeout=240, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    # After that, or pip would find ModelDB among them and install nothing.
    (site,) = folder.glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(here))
    return folder / "bin"


def _say(command: str, folder: Path, **variables: str) -> str:
    """Return what a shell command prints, in an environment without anything of this one."""
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**kept, "PATH": "/usr/bin:/bin", "MODELDB_JOURNAL_DIR": str(folder / "journals"), **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_readme_says_works_after_installing_the_wheel(installed: Path, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (program,) = (text for text in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "start_run" in text)
    (tmp_path / "train.py").write_text(program + "print(len(best.history('loss')))\n")
    (tmp_path / "confusion.png").write_bytes(b"picture")
    path = f"{installed}:/usr/bin:/bin"
    assert _say("python -W error train.py", tmp_path, PATH=path) == "1000\n"
    for command in ("modeldb runs", "modeldb audit verify"):
        assert f"`{command}`" in readme
        assert _say(command, tmp_path, PATH=path)
    # Where the environment is not activated.
    assert "first" in _say(f"{installed}/python -m modeldb_core runs", tmp_path)


def test_the_extras_of_the_readme_are_those_there_are() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (sentence,) = re.findall(r"The extras are (.*?);", readme, re.DOTALL)
    extras = {name for name in CONFIG["options.extras_require"] if not name.startswith("test")}
    assert set(re.findall(r"`(\w+)`", sentence)) == extras
    for listed in re.findall(r"install '\.\[(.*?)\]'", readme):
        assert set(listed.split(",")) <= extras


def test_a_command_that_is_shown_can_be_typed_as_it_is(installed: Path, tmp_path: Path) -> None:
    show = "import sys; from modeldb_core.runtime.notices import command_line as c; print(c('runs', '--url', 'sqlite:///a b.db'))"
    log = "import modeldb_core as m; m.connect('sqlite:///a b.db').start_run(name='typed').finish()"
    _say(f'{installed}/python -c "{log}"', tmp_path)
    for path in ("/usr/bin:/bin", f"{installed}:/usr/bin:/bin"):
        shown = _say(f'{installed}/python -c "{show}"', tmp_path, PATH=path)
        assert shown.startswith("modeldb ") == (str(installed) in path)
        assert "typed" in _say(shown, tmp_path, PATH=path)


def test_a_hint_in_an_error_can_be_typed_as_it_is_printed(installed: Path, tmp_path: Path) -> None:
    _say(f"{installed}/python -c 'import modeldb_core as m; m.start_run(name=\"typed\").finish()'", tmp_path)
    for path in ("/usr/bin:/bin", f"{installed}:/usr/bin:/bin"):
        environment = {"PATH": path, "HOME": str(tmp_path)}
        failed = subprocess.run(
            [f"{installed}/modeldb", "show", "nosuch"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        (hint,) = re.findall("`([^`]*)`", failed.stderr)
        assert hint.startswith("modeldb ") == (str(installed) in path)
        assert "typed" in _say(hint, tmp_path, PATH=path)


def test_a_hint_at_what_a_store_has_works_from_any_folder(installed: Path, tmp_path: Path) -> None:
    store, elsewhere = tmp_path / "it's here", tmp_path / "elsewhere"
    store.mkdir()
    elsewhere.mkdir()
    log = "import modeldb_core as m; run = m.start_run('churn', name='typed'); run.log_text('x', 'note.txt'); run.finish()"
    _say(f'{installed}/python -c "{log}"', store)
    url = f"sqlite:///{store}/modeldb.db"
    for arguments, listed in (
        (["show", "nosuch"], "typed"),
        (["artifacts", "get", "typed", "nosuch"], "note.txt"),
        (["runs", "--project", "nosuch"], "churn"),
    ):
        environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path)}
        failed = subprocess.run(
            [f"{installed}/modeldb", *arguments, "--url", url],
            capture_output=True,
            text=True,
            cwd=elsewhere,
            env=environment,
            check=False,
        )
        (hint,) = re.findall("`([^`]*)`", failed.stderr)
        assert listed in _say(hint, elsewhere, PATH=environment["PATH"])


def test_a_hint_within_another_program_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", None)
    assert as_typed("in vain; run: modeldb db upgrade") == "in vain; run: modeldb db upgrade"


def test_entry_point_names_are_import_names() -> None:
    for point in entry_points(group="modeldb"):
        if point.dist is not None and point.dist.name == "modeldb-core":
            assert point.name == point.value


def test_the_core_needs_few_distributions() -> None:
    """The budget is 20 distributions for the core; markers of other platforms and extras do not count."""
    from importlib.metadata import PackageNotFoundError, version

    seen: set[str] = set()
    waiting = ["modeldb-core"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        try:
            version(name)
        except PackageNotFoundError:  # for another platform or version of Python
            continue
        seen.add(name)
        for requirement in requires(name) or []:
            text, _, marker = requirement.partition(";")
            if "extra" not in marker:
                waiting.append(re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~\[(]", text.strip())[0]).lower())
    assert len(seen) <= 20, sorted(seen)


def _after_import(statement: str) -> dict[str, object]:
    """Run a statement in a fresh interpreter; return the top-level modules it loaded and the memory it took."""
    program = (
        "import sys, json\n"
        f"{statement}\n"
        # getrusage would tell the peak of the process that forked this one.
        "peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(json.dumps({'modules': sorted(sys.modules), 'peak_kib': peak}))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.interpreter
def test_importing_the_core_loads_no_framework_and_little_else() -> None:
    result = _after_import("import modeldb_core")
    modules = set(map(str, result["modules"]))  # type: ignore[call-overload]
    assert not modules.intersection(FRAMEWORKS)
    own = {name for name in modules if name.startswith("modeldb_")}
    runtime = {"modeldb_core.runtime", "modeldb_core.runtime.exits", "modeldb_core.runtime.forks"}
    assert own == {"modeldb_core", *runtime}  # what is done at the end of a program
    baseline = set(map(str, _after_import("pass")["modules"]))  # type: ignore[call-overload]
    # logging, threading and what these bring: a training program has them anyway.
    assert len(modules - baseline) <= 25, sorted(modules - baseline)
    assert int(str(result["peak_kib"])) <= BIGGEST_IMPORT_KIB


@pytest.mark.interpreter
def test_loading_all_plugins_imports_no_framework() -> None:
    result = _after_import("from modeldb_core.plugins import plugin_manager; plugin_manager()")
    modules = set(map(str, result["modules"]))  # type: ignore[call-overload]
    assert {"modeldb_lightning", "modeldb_sklearn"} <= modules
    assert not modules.intersection(FRAMEWORKS)


@pytest.mark.interpreter
def test_every_public_name_is_there() -> None:
    import modeldb_core

    for name in modeldb_core.__all__:
        assert getattr(modeldb_core, name) is not None
    assert set(modeldb_core.__all__) <= set(dir(modeldb_core))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = modeldb_core.nonsense
