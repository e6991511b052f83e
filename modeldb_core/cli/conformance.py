"""``modeldb conformance``: prove a store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

import click

from modeldb_core.cli.program import FOUND, INTERNAL, INTERRUPTED, OK
from modeldb_core.cli.session import examples
from modeldb_core.cli.tables import print_json
from modeldb_core.errors import InvalidArgumentError, MissingDependencyError
from modeldb_core.plugins import load_settings, open_artifacts, open_store

if TYPE_CHECKING:
    from modeldb_core.stores import ArtifactStore, MetadataStore

_SUITES = "modeldb_core.testing"
_FOLDER = "{tmp_path}"


@click.command(
    epilog=examples(
        "modeldb conformance 'sqlite:///{tmp_path}/modeldb.db' --artifacts 'file://{tmp_path}/blobs'",
        "modeldb conformance postgresql://localhost/test --examples 100",
        "modeldb conformance --artifacts s3://bucket/prefix -k put",
    )
)
@click.argument("url", metavar="[URL]", required=False)
@click.option("--artifacts", "artifact_url", metavar="URL", help="An artifact store to prove.")
@click.option("--examples", "count", metavar="N", default=20, show_default=True, help="Random histories to try.")
@click.option("-k", "expression", metavar="EXPRESSION", help="Only tests whose names match, as pytest takes it.")
@click.option("--verbose", "-v", is_flag=True, help="Name every test.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what pytest says goes to standard error.")
def conformance(
    *,
    url: str | None,
    artifact_url: str | None,
    count: int,
    expression: str | None,
    verbose: bool,
    as_json: bool,
) -> int:
    """Prove that a store keeps its contract: the conformance suites and random histories, against any URL.

    URL is a metadata store; an artifact store is given by --artifacts. The folder {tmp_path} in either is another one for
    each test; without it, the tests keep to projects and blobs of their own, and leave them behind. Options of the
    stores come from modeldb.toml as always. Exits with 1 if a test fails.
    """
    if url is None and artifact_url is None:
        msg = "no store is named; give the URL of a metadata store, or --artifacts with that of an artifact store"
        raise InvalidArgumentError(msg)
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        msg = f"proving a store needs {' and '.join(missing)}; pip install {' '.join(missing)}"
        raise MissingDependencyError(msg)
    arguments = [f"--modeldb-examples={count}"]
    if url is not None:
        _try(url, "metadata")
        arguments.append(f"--modeldb-store={url}")
    if artifact_url is not None:
        _try(artifact_url, "artifacts")
        arguments.append(f"--modeldb-artifacts={artifact_url}")
    if expression is not None:
        arguments += ["-k", expression]
    return _run_pytest([*arguments, *(["-v"] if verbose else [])], as_json=as_json)


def _try(url: str, kind: Literal["metadata", "artifacts"]) -> None:
    """Open a store once: what is wrong with the URL is one sentence, not a failure of every test."""
    with tempfile.TemporaryDirectory(prefix="modeldb-conformance-") as folder:
        url = url.replace(_FOLDER, folder)
        store: MetadataStore | ArtifactStore
        if kind == "metadata":
            store = open_store(url, load_settings(url=url))
        else:
            store = open_artifacts(url, load_settings(artifact_url=url))
        store.close()


def _run_pytest(arguments: list[str], *, as_json: bool) -> int:
    # Nothing of the folder that this happens to run in may alter what is tested, nor be left there.
    isolation = ["-c", os.devnull, f"--rootdir={Path(__file__).parents[1]}", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *isolation, "--import-mode=importlib", "-ra", "--tb=short"]
    with tempfile.TemporaryDirectory(prefix="modeldb-conformance-") as folder:
        results = Path(folder, "results.xml")
        done = subprocess.run(
            [*command, "--pyargs", _SUITES, *arguments, *([f"--junitxml={results}"] if as_json else [])],
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": folder},
            stdout=sys.stderr.fileno() if as_json else None,
            check=False,
        )
        code = {0: OK, 1: FOUND, 2: INTERRUPTED}.get(done.returncode, INTERNAL)
        if as_json:
            print_json({"ok": code == OK, **_counts(results)})
    return code


def _counts(results: Path) -> dict[str, int]:
    """Return how the tests ended, by what pytest wrote down."""
    if not results.exists():
        return {}
    suites = ElementTree.parse(results).getroot().iter("testsuite")
    names = ("tests", "failures", "errors", "skipped")
    found = [{name: int(suite.get(name, "0")) for name in names} for suite in suites]
    return {name: sum(counts[name] for counts in found) for name in names}
