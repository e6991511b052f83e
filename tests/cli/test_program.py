"""The group of commands: help, version, errors in a sentence, exit codes, plugins' commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from modeldb_core.cli import program
from modeldb_core.cli.program import _COMMANDS, CommandGroup, cli, exit_code_of
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidArgumentError,
    MissingDependencyError,
    NotFoundError,
    PermissionDeniedError,
    QuerySyntaxError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from tests.cli.conftest import Command, Scene

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def every_command() -> list[tuple[str, ...]]:
    context = click.Context(cli)

    def walk(path: tuple[str, ...], command: click.Command | None) -> list[tuple[str, ...]]:
        assert command is not None
        inner = command.commands.items() if isinstance(command, click.Group) else []
        return [path, *(found for name, each in inner for found in walk((*path, name), each))]

    return [found for name in _COMMANDS for found in walk((name,), cli.get_command(context, name))]


def test_help_lists_every_command(command: Command) -> None:
    result = command("--help")
    assert result.code == 0
    for name, (_, text) in _COMMANDS.items():
        assert f"  {name} " in result.out
        assert text in result.out


def test_help_imports_nothing_heavy() -> None:
    program_text = (
        "import sys\nfrom modeldb_core.cli import program\nprogram.run(['--help'])\n"
        "heavy = {'sqlalchemy', 'numpy', 'rich', 'flask', 'lark', 'fsspec', 'alembic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program_text], check=True, timeout=60, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_and_is_documented(command: Command, path: tuple[str, ...]) -> None:
    result = command(*path, "--help")
    assert result.code == 0
    loaded = cli.get_command(click.Context(cli), path[0])
    if len(path) >= 2 or not isinstance(loaded, click.Group):
        assert "Examples:" in result.out
    assert f"`modeldb {' '.join(path)}" in DOCS.read_text("utf-8")


def test_every_short_help_is_the_commands_own_first_sentence() -> None:
    context = click.Context(cli)
    for name in _COMMANDS:
        loaded = cli.get_command(context, name)
        assert loaded is not None
        assert loaded.help


def test_the_version_is_that_of_the_distribution(command: Command) -> None:
    from importlib.metadata import version

    assert command("--version").out == f"modeldb {version('modeldb-core')}\n"


def test_a_misspelt_command_is_corrected(command: Command) -> None:
    result = command("runz")
    assert result.code == program.USAGE
    assert "Did you mean 'runs'?" in result.err


def test_an_unknown_option_is_a_usage_error(command: Command) -> None:
    assert command("runs", "--nonsense").code == program.USAGE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QuerySyntaxError("x"), 2),
        (InvalidArgumentError("x"), 2),
        (StoreUnavailableError("x"), 3),
        (StoreReadOnlyError("x"), 3),
        (StoreVersionError("x"), 3),
        (PermissionDeniedError("x"), 3),
        (NotFoundError("x"), 4),
        (ConfigurationError("x"), 5),
        (MissingDependencyError("x"), 5),
        (IntegrityError("x"), 1),
    ],
)
def test_exit_codes_of_errors(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code  # type: ignore[arg-type]


def test_exit_codes_are_documented() -> None:
    text = DOCS.read_text("utf-8")
    for code, meaning in program.EXIT_CODES.items():
        assert f"| {code} | {meaning}" in text


def test_a_missing_store_is_one_sentence_and_makes_no_file(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["runs"], ["projects"], ["show", "x"], ["audit", "verify"], ["audit", "log"]):
        result = command(*arguments)
        assert result.code == program.STORE
        assert result.err.startswith(f"Error: there is no store at {tmp_path}/modeldb.db;")
        assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_does_not_parse_is_pointed_at(command: Command, scene: Scene) -> None:
    result = command("runs", "metrics.auc >> 0.9")
    assert result.code == program.USAGE
    lines = result.err.splitlines()
    assert lines[-2] == "  metrics.auc >> 0.9"
    assert lines[-1].index("^") == 2 + "metrics.auc >".index(">") + 1


def test_a_bad_setting_is_told_with_its_file(command: Command, scene: Scene) -> None:
    scene.folder.joinpath("modeldb.toml").write_text("prject = 'x'")
    result = command("runs")
    assert result.code == program.CONFIGURATION
    assert "did you mean 'project'?" in result.err


def test_an_unforeseen_error_is_one_sentence_unless_debugging(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("out of luck")

    @click.command()
    def runs() -> None:
        broken()

    monkeypatch.setattr(CommandGroup, "_load", lambda self, name: runs)
    result = command("runs")
    assert result.code == program.INTERNAL
    assert result.err.startswith("Error: RuntimeError: out of luck.")
    monkeypatch.setenv("MODELDB_DEBUG", "1")
    program.run(["runs"])
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_has_had_enough_is_no_error(scene: Scene) -> None:
    shell = f"{{ {sys.executable} -m modeldb_core.cli audit log --json; echo $? >&2; }} | head -n 1"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "0\n"


def test_the_installed_command_runs(scene: Scene) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("modeldb"), "runs", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert json.loads(done.stdout)["total"] == 3


def test_plugins_add_commands_but_replace_none(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    from modeldb_core import hookimpl
    from modeldb_core.plugins import PluginManager

    @click.command("greet", help="Say hello.")
    def greet() -> None:
        click.echo("hello")

    @click.command("runs")
    def runs() -> None:
        click.echo("mine now")

    plugin = types.ModuleType("greeting")

    @hookimpl
    def modeldb_register_commands(group: click.Group) -> None:
        group.add_command(greet)
        group.add_command(runs)

    plugin.modeldb_register_commands = modeldb_register_commands  # type: ignore[attr-defined]
    manager = PluginManager()
    manager.add(plugin, "greeting")
    monkeypatch.setattr(program, "plugin_manager", lambda: manager)
    group = CommandGroup("modeldb")
    monkeypatch.setattr(program, "cli", group)
    with pytest.warns(UserWarning, match="command 'runs' is left out"):
        assert group.list_commands(click.Context(group))[-1] == "greet"
    assert command("greet").out == "hello\n"


def test_the_command_of_the_plugins_page_works_as_it_stands_there(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    from modeldb_core.plugins import PluginManager

    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")
    (source,) = re.findall(r"```python\n(# acme_tags\.py.*?)```", page, re.DOTALL)
    plugin = types.ModuleType("acme_tags")
    exec(compile(source, "acme_tags.py", "exec"), vars(plugin))
    manager = PluginManager()
    manager.add(plugin, "acme_tags")
    with monkeypatch.context() as patched:
        patched.setattr(program, "plugin_manager", lambda settings=None: manager)
        patched.setattr(program, "cli", CommandGroup("modeldb"))
        group = program.cli
        assert group.list_commands(click.Context(group))[-1] == "praise"
    run_id = scene.first
    monkeypatch.setattr(program, "cli", group)
    assert command("praise", run_id).out.endswith("is good\n")
    assert "good" in json.loads(command("show", run_id, "--json").out)["tags"]
    refused = command("praise", "nothing")
    assert refused.code == program.exit_code_of(NotFoundError(""))
    assert "nothing" in refused.err
