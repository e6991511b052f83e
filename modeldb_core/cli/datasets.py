"""``modeldb dataset``: data sets and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from modeldb_core.cli.completion import complete_dataset
from modeldb_core.cli.output import echo
from modeldb_core.cli.progress import stages_bar
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, print_pairs, print_table, size
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entities import Dataset, DatasetVersion
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query
from modeldb_core.stores import numbering
from modeldb_core.tracking.data.sources import path as path_data
from modeldb_core.tracking.dataset_versions import DatasetHandle, VersionHandle, find_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modeldb_core.tracking.data.comparing import Changed, DatasetDiff

_SHOWN = 20  # files of each list of a diff
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_name = click.argument("name", shell_complete=complete_dataset)


def _dataset(session: Session, name: str) -> DatasetHandle:
    return DatasetHandle(session, name)


@click.group()
def dataset() -> None:
    """List, add, compare and check out versions of data sets.

    NAME@VERSION is a version: churn/train@v3 or churn/train@latest.
    """


@dataset.command("list", epilog=examples("modeldb dataset list", "modeldb dataset list --json"))
@_json
@with_session
def list_(session: Session, *, as_json: bool) -> None:
    """List the data sets, with their latest versions."""
    workspace_id = session.store.identify(("workspace", session.settings.workspace))[-1]
    found = pages(session.store, Query("dataset", order_by="name", within=workspace_id))
    listed = [(cast("Dataset", each), _latest(session, each.entity_id)) for each in found]
    if as_json:
        print_json({"datasets": [{**entity_document(one), "latest_version": last.version} for one, last in listed]})
    elif listed:
        rows = [
            [one.name, one.dataset_type, last.version, _bytes(last.size_bytes), last.created_at or one.created_at]
            for one, last in listed
        ]
        print_table(["data set", "type", "latest", "size", "since"], rows, right=["latest", "size"])
    else:
        echo("There is no data set yet.", err=True)


@dataset.command(epilog=examples("modeldb dataset versions churn/train", "modeldb dataset versions churn/train --json"))
@_name
@_json
@with_session
def versions(session: Session, *, name: str, as_json: bool) -> None:
    """List the versions of a data set, the latest first."""
    handle = _dataset(session, name)
    _ = handle.entity  # raises where there is none
    found = handle.versions()
    if as_json:
        print_json({"versions": [entity_document(each.entity) for each in found]})
        return
    rows = [
        [
            f"v{each.version}" if each.version else "-",
            _bytes(each.entity.size_bytes),
            each.entity.part_count,
            each.entity.record_count,
            "yes" if each.entity.is_kept else "",
            each.digest[:12],
            each.entity.owner,
            each.entity.created_at,
        ]
        for each in found
    ]
    columns = ["version", "size", "files", "records", "kept", "digest", "added by", "at"]
    print_table(columns, rows, right=["size", "files", "records"])


@dataset.command(epilog=examples("modeldb dataset show churn/train", "modeldb dataset show churn/train@v3 --json"))
@click.argument("reference", metavar="NAME[@VERSION]", shell_complete=complete_dataset)
@click.option("--files", is_flag=True, help="List its files too.")
@_json
@with_session
def show(session: Session, *, reference: str, files: bool, as_json: bool) -> None:
    """Show a version of a data set; default: the latest."""
    version = find_reference(reference, session)
    listed = dict(version.parts()) if files else {}
    if as_json:
        document = entity_document(version.entity)
        document["info"] = session.resolve(dict(version.entity.info))
        print_json({**document, **({"files": listed} if files else {})})
        return
    entity = version.entity
    facts = (
        ("id", entity.entity_id),
        ("description", entity.description),
        ("type", entity.dataset_type),
        ("digest", entity.digest),
        ("source", entity.source),
        ("size", _bytes(entity.size_bytes)),
        ("files", entity.part_count),
        ("records", entity.record_count),
        ("kept", "yes" if entity.is_kept else "no"),
        ("tags", entity.tags),
        ("added by", entity.owner),
        ("at", entity.created_at),
    )
    print_pairs(version.reference, ((name, value) for name, value in facts if value not in ("", None, ())))
    if listed:
        echo("")
        rows = [
            [location, _bytes(each.get("size_bytes")), str(each.get("sha256") or each.get("checksum") or "")[:12]]
            for location, each in listed.items()
        ]
        print_table(["file", "size", "checksum"], rows, right=["size"])


@dataset.command(
    epilog=examples(
        "modeldb dataset add churn/train data/train --keep",
        "modeldb dataset add churn/raw s3://bucket/raw --exclude '*.tmp'",
    )
)
@_name
@click.argument("path")
@click.option("--keep", is_flag=True, help="Keep the files themselves, each content once, to check them out later.")
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Names or paths that are no part of it; repeatable.")
@click.option("-m", "--description", metavar="TEXT", default="", help="What the version is, in words.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A label; repeatable.")
@_json
@with_session
def add(
    session: Session,
    *,
    name: str,
    path: str,
    keep: bool,
    exclude: tuple[str, ...],
    description: str,
    tags: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add a version: size, checksum and time of each file at PATH, a folder, a file or an address such as s3://bucket/data.

    Where the latest version has the same files, that is said, and nothing is added. What did not change is not read again.
    """
    handle = _dataset(session, name)
    before = _latest(session, handle.dataset_id)
    with stages_bar() as bar:
        version = handle.log_version(
            path_data(path, keep=keep, exclude=exclude),
            description=description,
            tags=tags,
            progress=lambda done, total, _: bar("Reading files", done, total),
        )
    is_new = version.version_id != before.entity_id
    read = version.read
    if as_json:
        counts = {"files_read": read.hashed, "bytes_read": read.hashed_bytes, "files_sent": read.sent}
        print_json({**entity_document(version.entity), "is_new": is_new, **counts})
        return
    what = "added" if is_new else "is what is there; nothing was added"
    files = f"{version.entity.part_count:,} files, {_bytes(version.entity.size_bytes)}"
    echo(f"{version.reference} {what}: {files}; {read.hashed:,} of them read.")


@dataset.command(
    epilog=examples("modeldb dataset diff churn/train v1 v2", "modeldb dataset diff churn/train v1 --json")
)
@_name
@click.argument("before", metavar="VERSION")
@click.argument("after", metavar="[VERSION]", default="latest")
@_json
@with_session
def diff(session: Session, *, name: str, before: str, after: str, as_json: bool) -> None:
    """Show what differs from one version to another, by default to the latest."""
    found = _dataset(session, name).diff(before, after)
    if as_json:
        print_json(found.as_json())
        return
    lines = list(_lines(found))
    if found.is_same or not lines:
        echo(
            f"v{found.before} and v{found.after} of {name} have the same content."
            if found.is_same
            else "Nothing that is known differs."
        )
    for line in lines:
        echo(line)


@dataset.command(epilog=examples("modeldb dataset checkout churn/train@v3 data/v3"))
@click.argument("reference", metavar="NAME[@VERSION]", shell_complete=complete_dataset)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace what lies in the folder.")
@_json
@with_session
def checkout(session: Session, *, reference: str, folder: Path, overwrite: bool, as_json: bool) -> None:
    """Write the content of a version, which was kept, into a new folder: all of it, or nothing."""
    version: VersionHandle = find_reference(reference, session)
    with stages_bar() as bar:
        target = version.checkout(
            folder, overwrite=overwrite, progress=lambda done, total: bar("Writing files", done, total)
        )
    if as_json:
        print_json({"dataset_version_id": version.version_id, "version": version.version, "path": str(target)})
    else:
        echo(f"{version.reference} is in {target}.")


# -- inside ------------------------------------------------------------------------------------------------------------


def _latest(session: Session, dataset_id: str) -> DatasetVersion:
    found = numbering.latest(session.store, "dataset_version", dataset_id)
    return found if isinstance(found, DatasetVersion) else DatasetVersion(entity_id="")


def _bytes(number: object) -> str:
    return size(number) if isinstance(number, int) else ""


def _lines(found: DatasetDiff) -> Iterator[str]:
    yield from _listed("+", {name: _bytes(length) for name, length in found.added.items()})
    yield from _listed("-", {name: _bytes(length) for name, length in found.removed.items()})
    yield from _listed("~", {name: _pair(each, _bytes) for name, each in found.changed.items()})
    yield from _listed("+ column", found.columns_added)
    yield from _listed("- column", found.columns_removed)
    yield from _listed("~ column", {name: _pair(each) for name, each in found.columns_changed.items()})
    for column, changes in found.statistics.items():
        yield from _listed(f"~ {column}:", {name: _pair(each) for name, each in changes.items()})
    yield from _listed("~", {name.replace("_", " "): _pair(each) for name, each in found.values.items()})


def _listed(mark: str, items: Any) -> Iterator[str]:  # noqa: ANN401 - a map to texts
    for name, text in list(items.items())[:_SHOWN]:
        yield f"{mark} {name}  {text}".rstrip()
    if len(items) > _SHOWN:
        yield f"{mark} {len(items) - _SHOWN:,} more; --json lists all"


def _pair(changed: Changed, shown: Callable[[object], str] = str) -> str:
    return f"{shown(changed.before)} -> {shown(changed.after)}"
