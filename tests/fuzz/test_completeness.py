"""No function takes apart what others have made without being tried with what they should not have made."""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from modeldb_core.errors import ModelDBWarning
from tests.fuzz.decoders import DECODERS
from tests.fuzz.versioned import VERSIONED
from tests.fuzz.wholes import WHOLES

PACKAGES = ("modeldb_core", "modeldb_server", "modeldb_webui", "modeldb_sklearn", "modeldb_lightning")
TAKES_APART = frozenset(
    {
        "loads",
        "load",
        "unpack",
        "unpack_from",
        "frombuffer",
        "decompress",
        "decompressobj",
        "simple_decompress",
        "fromhex",
    }
    | {"simple_decompress_into", "b64decode", "urlsafe_b64decode", "fromisoformat", "parse_qsl", "parse_qs", "urlsplit"}
    | {"ZipFile", "reader", "literal_eval", "JSONDecoder"}
)
"""Names of calls that make something of bytes or text."""
ELSEWHERE = {
    # Tried by other tests of this folder
    "modeldb_core.backends.remote.": "answers of a server: test_http.py",
    "modeldb_server.": "requests: test_http.py",
    "modeldb_core.audit.verifier.": "what exports hold: tests/movement/test_verifier.py",
    "modeldb_core.provenance.timestamps.": "answers of authorities: tests/core/test_checkpoints.py",
    # Not made by others
    "modeldb_core.cli.audit_log._moment": "an option of a command, which the user of this program gives",
    "modeldb_core.backends._sql.parts.Part.segments": "calls what is tried",
    "modeldb_core.backends._sql.parts.StoredSeries.segments": "calls what is tried",
    "modeldb_core.backends.objects.compaction.": "numbers in rows of the replica, which this machine wrote",
    "modeldb_core.backends.blobs.fsspec_files._stated": "a time that a library of a storage states",
    "modeldb_core.movement.bundle_writer.BundleWriter.": "digests that were checked",
    "modeldb_core.movement.marking.Mentioned._merge": "digests that a pattern found",
    "modeldb_core.plugins.manager.PluginManager._load": "loads a module",
    "modeldb_core.tracking.data.parts.folder_digest": "digests that this program made",
    "modeldb_core.tracking.data.reading.Reader.find": "a path that this program was given",
    "modeldb_core.tracking.dataset_versions.VersionHandle.load": "calls what is tried",
    "modeldb_core.tracking.used_datasets.UsedDataset.load": "calls what is tried",
    "modeldb_core.tracking.description.contents.": "what this program logs, by its digest",
    "modeldb_core.tracking.description.datasets.": "likewise",
    "modeldb_core.tracking.data.kept._comes_back": "reads what it has just written",
    "modeldb_core.tracking.description.digests.": "likewise",
    "modeldb_lightning.datasets.": "likewise",
    "modeldb_core.tracking.description.model_formats._load_pickle": "who loads a pickle asks for it by name",
    "modeldb_sklearn.modeldb_load_model": "calls what is tried",
    "modeldb_core.testing.": "a test",
}


def _functions() -> Iterator[tuple[str, str, int]]:
    """Iterate over (name, file, first line) of the functions that take something apart."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            module = ".".join((package, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
            yield from _within(ast.parse(path.read_text("utf-8")), module, str(path))


def _within(node: ast.AST, name: str, path: str) -> Iterator[tuple[str, str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own = f"{name}.{child.name}"
            if any(_takes_apart(inner) for inner in ast.walk(child)):
                yield own, path, (child.decorator_list[0] if child.decorator_list else child).lineno
            yield from _within(child, own, path)
        else:
            yield from _within(child, f"{name}.{child.name}" if isinstance(child, ast.ClassDef) else name, path)


def _takes_apart(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in TAKES_APART


def _reached() -> set[tuple[str, int]]:
    """Return file and first line of every function that the samples of all decoders run."""
    reached: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            reached.add(frame.f_code)

    with warnings.catch_warnings(action="ignore", category=ModelDBWarning):
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            for decoder in (*DECODERS, *VERSIONED, *WHOLES):
                decoder.decode(decoder.sample)
        finally:
            sys.setprofile(before)
    return {(code.co_filename, code.co_firstlineno) for code in reached}


def test_every_function_that_takes_something_apart_is_tried() -> None:
    reached = _reached()
    left = sorted(
        name
        for name, path, line in _functions()
        if (path, line) not in reached and not any(name.startswith(known) for known in ELSEWHERE)
    )
    assert left == []
