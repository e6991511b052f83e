"""The documentation says what the code does: commands and options, settings, links, imports, methods, signatures."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

import modeldb_core as modeldb
from modeldb_core import hookspecs
from modeldb_core.cli.program import cli
from modeldb_core.plugins import load_settings
from modeldb_core.stores import Backend
from modeldb_server import ServerSettings

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "decisions"),
]
NOT_SETTINGS = {"MODELDB_CONFIG", "MODELDB_DEBUG", "MODELDB_RUN", "MODELDB_URL"}
FOREIGN = {"alembic", "fsspec", "hypothesis", "lightning", "pytorch_lightning", "ray", "torch", "xgboost"}
"""Packages of others that pages import, and that need not be installed here."""


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        if language in languages:
            yield text


def tree_of(block: str) -> ast.Module:
    """Return a block as Python reads it: a part of a class, or a signature, as what it is meant to be."""
    text = f"if True:\n{block}" if block.lstrip("\n").startswith("    ") else block
    try:
        return ast.parse(text)
    except SyntaxError:
        return ast.parse(f"def {block.strip()}: ...")


def without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


# Commands


def commands_of(page: Path) -> Iterator[list[str]]:
    """Iterate over the command lines of ``modeldb`` in a page, each as its words."""
    lines = [line.removeprefix("$ ") for block in blocks(page, "sh", "console") for line in block.splitlines()]
    yield from commands_in([*lines, *re.findall(r"`(modeldb [^`]*)`", re.sub(r"\s+", " ", without_blocks(page)))])


def commands_in(lines: Iterable[str]) -> Iterator[list[str]]:
    for line in lines:
        words = shlex.split(line.replace("\\", ""), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        words = list(itertools.takewhile(lambda word: word != "--", words))  # a command of another program follows
        if words[:1] == ["modeldb"] and len(words) > 1 and not re.search(r"[A-Z]{3}|[<>|]|\.\.\.", words[1]):
            yield words[1:]


def options_of(command: click.Command) -> set[str]:
    own = {text for option in command.params if isinstance(option, click.Option) for text in option.opts}
    return own | {text for option in command.params for text in option.secondary_opts} | {"-h", "--help"}


def hints_of(path: Path) -> Iterator[str]:
    """Iterate over the commands that the texts of a module name: what it says to people, and its documentation."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        yield from re.findall(r"`(modeldb [a-z][^`]*)`", text_of(node))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "listing":
            yield f"modeldb {text_of(node.args[0])} --url x"


def text_of(node: ast.AST) -> str:
    """Return the text of a string, with ``x`` where a value is filled in; ``""`` for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return ""


def test_every_hint_names_a_command_that_exists() -> None:
    packages = [ROOT / name for name in ("modeldb_core", "server", "integrations", "webui")]
    hints = [hint for package in packages for path in package.rglob("*.py") for hint in hints_of(path)]
    assert len(hints) > 40
    check_commands(commands_in(hints))


@each_page
def test_every_command_and_option_of_a_page_exists(page: Path) -> None:
    check_commands(commands_of(page))


def check_commands(found: Iterable[list[str]]) -> None:
    context = click.Context(cli)
    for words in found:
        if words[0].startswith("-"):
            continue
        command = cli.get_command(context, words[0].rstrip(",.:;"))
        assert command is not None, words
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            inner = command.get_command(context, rest[0])
            assert inner is not None, words
            command, rest = inner, rest[1:]
        for word in rest:
            if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word):
                assert word.partition("=")[0] in options_of(command), words


def every_command() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)

    def walk(name: str, command: click.Command | None) -> Iterator[tuple[str, click.Command]]:
        assert command is not None
        if isinstance(command, click.Group):
            for inner, found in command.commands.items():
                yield from walk(f"{name} {inner}", found)
        else:
            yield name, command

    for name in cli.list_commands(context):
        yield from walk(name, cli.get_command(context, name))


def test_every_option_in_the_page_on_commands_belongs_to_the_command_it_stands_with() -> None:
    """A paragraph begins with the commands that it is about; the options that it names are theirs, or everybody's."""
    known = dict(every_command())
    common = {"--json", "--csv", "--help", "--url", "--artifact-url"}
    text = without_blocks(ROOT / "docs" / "cli.md")
    for paragraph in re.split(r"\n\n+", text):
        named = [name for name in known if re.search(rf"\*\*`modeldb {name}\b", paragraph)]
        options = {option for name in named for option in options_of(known[name])}
        if named:
            used = set(re.findall(r"`(--[a-z-]+)", paragraph))
            assert used <= options | common, (named, used - options - common)


@pytest.mark.parametrize(
    ("name", "command"), list(every_command()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_examples_of_a_command_are_command_lines_that_it_takes(
    name: str, command: click.Command, tmp_path: Path
) -> None:
    for line in (command.epilog or "").splitlines()[2:]:
        words = list(itertools.takewhile(lambda word: word not in ("<", ">", "|"), shlex.split(line)))
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        assert words[0] == "modeldb", line
        if words[1 : 1 + len(name.split())] == name.split():
            arguments = [re.sub(r"^/(media|scratch)/.*", str(tmp_path), word) for word in words]  # must exist
            command.make_context(name, arguments[1 + len(name.split()) :]).close()


# Settings


@each_page
def test_every_setting_of_a_page_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    keys = {key for key, *_ in load_settings().describe()}
    variables = {f"MODELDB_{key.upper().replace('.', '_')}" for key in keys} | NOT_SETTINGS
    for name in set(re.findall(r"\bMODELDB_[A-Z_]*[A-Z]\b", text)):
        if not name.startswith("MODELDB_TEST_"):
            assert name in variables, name
    for name in set(re.findall(r"`((?:server|capture)\.[a-z_]+)`", text)):
        assert name in keys, name


# Links


def anchors(page: Path) -> set[str]:
    """Return the names that the headings of a page can be linked to by."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = without_blocks(page)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link
    for path in re.findall(
        r"`((?:docs|scripts|examples|benchmarks|modeldb_core|server|webui|integrations)/[\w./-]+)`", text
    ):
        assert (ROOT / path).exists(), path


# Python


@each_page
def test_every_block_of_python_is_python_and_imports_what_there_is(page: Path) -> None:
    for block in blocks(page, "python"):
        tree = tree_of(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("modeldb_"):
                if node.module.partition(".")[0] in ("modeldb_lightning", "modeldb_ledger", "modeldb_xgboost"):
                    continue  # the first needs torch; the others are built by the page
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module}.{name.name}"


def set_by(owner: object) -> set[str]:
    """Return the names of what instances of a class have beside what the class itself has."""
    classes = inspect.getmro(owner) if inspect.isclass(owner) else ()
    sources = (inspect.getsource(each) for each in classes if each.__module__.startswith("modeldb_"))
    return {name for source in sources for name in re.findall(r"self\.(\w+)", source)}


HANDLES = {"modeldb": modeldb, "run": modeldb.RunHandle, "client": modeldb.Client, "runs": modeldb.Runs}


@each_page
def test_every_method_and_argument_in_a_block_of_python_exists(page: Path) -> None:
    """Calls of the functions of the module, and of methods of what pages call ``run``, ``client`` and ``runs``."""
    for block in blocks(page, "python"):
        if "import modeldb_core as modeldb" not in block and re.search(
            r"^(from|import) (?!modeldb)", block, re.MULTILINE
        ):
            continue  # of another library, or of a plugin
        for node in ast.walk(tree_of(block)):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            owner = HANDLES.get(node.value.id)
            if owner is not None:
                assert hasattr(owner, node.attr) or node.attr in set_by(owner), (
                    f"{node.value.id}.{node.attr} in\n{block}"
                )
        for call in (node for node in ast.walk(tree_of(block)) if isinstance(node, ast.Call)):
            check_arguments(call)


def check_arguments(call: ast.Call) -> None:
    if not isinstance(call.func, ast.Attribute) or not isinstance(call.func.value, ast.Name):
        return
    function = getattr(HANDLES.get(call.func.value.id), call.func.attr, None)
    if not inspect.isfunction(function):
        return
    parameters = inspect.signature(function).parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        for keyword in call.keywords:
            assert keyword.arg is None or keyword.arg in parameters, ast.unparse(call)


# Signatures


def rows_of(page: str, heading: str) -> set[str]:
    """Return the names in the first column of the table after a heading."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    after = text[text.index(heading) :]
    table = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert table is not None
    return set(re.findall(r"^\| `(\w+)`", table[0], re.MULTILINE))


def test_the_page_on_plugins_lists_every_field_of_a_backend() -> None:
    assert rows_of("plugins.md", "#### `modeldb_register_backends()`") == set(Backend.__dataclass_fields__)


@pytest.mark.parametrize("hook", sorted(name for name in vars(hookspecs) if name.startswith("modeldb_")))
def test_the_page_on_plugins_gives_every_hook_its_signature(hook: str) -> None:
    parameters = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"#### `{hook}({parameters})`" in (ROOT / "docs" / "plugins.md").read_text("utf-8")


def test_the_page_on_the_server_names_settings_that_there_are() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "server.md").read_text("utf-8"))
    sentence = re.search(r"`ServerSettings` has a few more for programs: (.*?)\. ", text)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) <= set(ServerSettings.__dataclass_fields__)
    assert set(re.findall(r"ServerSettings\((\w+)=", text)) <= set(ServerSettings.__dataclass_fields__)


def test_the_page_on_scikit_learn_gives_the_signature_that_autolog_has() -> None:
    from modeldb_sklearn.autologging import autolog

    (block,) = (block for block in blocks(ROOT / "docs" / "sklearn.md", "python") if block.startswith("autolog("))
    (written,) = tree_of(block).body
    assert isinstance(written, ast.FunctionDef)
    names = [argument.arg for argument in (*written.args.args, *written.args.kwonlyargs)]
    assert names == list(inspect.signature(autolog).parameters)
