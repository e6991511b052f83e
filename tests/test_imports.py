"""Imports: no cycle of any kind, and inside a function only where that saves something.

An import stands at the top of its module. One inside a function needs a reason, and the reasons are here: a package that is
optional or costs time (:data:`PACKAGES`, and each module of ours that brings one along), a module that everybody loads
(:data:`DOORS`), a room that many programs never enter (:data:`ROOMS`). ``docs/decisions/0121-imports-inside-functions.md``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parents[1]

PACKAGES = {
    # optional, or only on some systems
    "authlib": "optional; only OpenID providers need it",
    "bz2": "Python may be built without it",
    "cryptography": "optional; only signing needs it",
    "fcntl": "not on Windows",
    "fsspec": "optional for Lightning; half a second",
    "grp": "not on Windows",
    "gzip": "zlib may be missing",
    "hypothesis": "only for the conformance suites",
    "joserfc": "as authlib, with which it comes",
    "keyring": "optional",
    "lzma": "Python may be built without it",
    "matplotlib": "optional; a second",
    "modeldb_server": "optional: it stands on Flask",
    "pandas": "optional",
    "polars": "optional",
    "portalocker": "optional",
    "psycopg2": "optional; only accounts in PostgreSQL need it",
    "pyarrow": "optional",
    "pwd": "not on Windows",
    "resource": "not on Windows",
    "sklearn": "optional; seconds",
    "scipy": "optional",
    "skops": "optional",
    # costly, and seldom needed by who loads the module
    "alembic": "only tables that are upgraded need it",
    "botocore": "a hundred modules, for buckets only",
    "concurrent": "threads for buckets only",
    "importlib.metadata": "reads mail; only versions and plugins need it",
    "inspect": "only the options of stores need it",
    "lark": "only filters need it",
    "multiprocessing": "only programs that use it have to be told",
    "numpy": "as long as everything else together",
    "pickle": "only models need it",
    "platformdirs": "only where no folder is named",
    "sqlalchemy": "backends/_sql/database.py brings it where it is needed",
    "tomllib": "only where there is a file",
    "webbrowser": "only `modeldb ui`",
}
DOORS = {
    "modeldb_core._pytest_plugin": "pytest loads it in every project where ModelDB is installed",
    "modeldb_core.cli": "the console script: errors of loading are shown like others",
    "modeldb_core.provenance.timestamps": "a plugin: loaded with every store that is opened",
    "modeldb_core.context": "a plugin: loaded with every store that is opened",
    "modeldb_lightning": "a plugin, which every Trainer asks, logged or not",
    "modeldb_lightning.autologging": "as modeldb_lightning: installed before a Trainer is made",
    "modeldb_lightning.options": "as modeldb_lightning: sent to processes that log nothing",
    "modeldb_sklearn": "a plugin: loaded with every store that is opened",
    "modeldb_sklearn.options": "sent to processes of joblib that log nothing",
    "modeldb_webui": "a plugin: loaded with every store that is opened",
}
ROOMS = {
    "modeldb_core.backends._sql": "who only reads needs nothing that writes, and the other way round",
    "modeldb_core.tracking.deletion": "programs that delete nothing have nothing to do with it",
    "modeldb_core.tracking.registry": "programs that use no registered models have nothing to do with them",
}


class Lazy(NamedTuple):
    """An import inside a function."""

    importer: str
    line: int
    imported: str


def _packages() -> Iterator[tuple[str, Path]]:
    setup = ConfigParser()
    setup.read(HERE / "setup.cfg")
    folders = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    for name in setup["options"]["packages"].split():
        if "." not in name:
            yield name, HERE / folders.get(name, name)


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for name, folder in _packages():
        for path in folder.rglob("*.py"):
            parts = (name, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    assert node.module
    names = [f"{node.module}.{name.name}" for name in node.names]
    return [name if name in modules() else node.module for name in names]


def _walk(node: ast.AST, *, inside: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Iterate over the imports that run, and whether each is inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, inside
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        else:
            yield from _walk(child, inside=inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


@cache
def _imports(name: str) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    return list(_walk(modules()[name], inside=False))


@cache
def loaded_with(name: str) -> frozenset[str]:
    """Return what is loaded when a module is, itself included."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        if one in modules():
            waiting += _parents(one)
            for node, inside in _imports(one):
                waiting += [] if inside else imported(node)
    return frozenset(seen)


def _reason(lazy: Lazy) -> str | None:
    """Return the entry of the lists above that allows an import inside a function."""
    if lazy.importer in DOORS:
        return lazy.importer
    for name in sorted(loaded_with(lazy.imported) - loaded_with(lazy.importer)):
        for package in PACKAGES:
            if name == package or name.startswith(f"{package}."):
                return package
    return next((room for room in ROOMS if f"{lazy.imported}.".startswith(f"{room}.")), None)


def lazy_imports() -> list[Lazy]:
    return [
        Lazy(importer, node.lineno, name)
        for importer in modules()
        for node, inside in _imports(importer)
        if inside
        for name in imported(node)
    ]


def test_an_import_inside_a_function_saves_something() -> None:
    reasons = {lazy: _reason(lazy) for lazy in lazy_imports()}
    assert not [lazy for lazy, reason in reasons.items() if reason is None], "move these to the top of the module"
    unused = {*PACKAGES, *DOORS, *ROOMS} - set(reasons.values())
    assert not unused, "no import needs these reasons"


def _cycles(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a graph that reach themselves."""
    left = {name: set(targets) for name, targets in graph.items()}
    while ends := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in ends:
            del left[name]
    starts = left
    while unreached := [name for name in starts if not any(name in targets for targets in starts.values())]:
        starts = {name: targets for name, targets in starts.items() if name not in unreached}
    return sorted(starts)


def test_no_module_imports_itself_by_way_of_others_also_not_for_types_or_in_functions() -> None:
    graph = {
        importer: {
            name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in imported(node)
            if name in modules() and name != importer
        }
        for importer, tree in modules().items()
    }
    assert len(graph) > 300
    assert _cycles(graph) == []
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"], "it finds one that is there"
