"""Files of one run that another run reads: fetched, verified, and recorded as a link between the two."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import runs
from modeldb_core.commands.edits import check_living
from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.model.values import check_key
from modeldb_core.runtime import disk, owned
from modeldb_core.stores.references import find_run
from modeldb_core.tracking import artifacts as artifact_kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.commands.operation import Operation
    from modeldb_core.stores.reading import ReadableBlobs
    from modeldb_core.tracking.reader import RunReader

MAX_FILES = 1000
"""Of a folder that is used; each of its files is named on the run that used it."""

Entries = dict[str, "Mapping[str, Any]"]


def fetch(
    run: RunReader, source: RunReader | str, path: str, to: str | os.PathLike[str] | None
) -> tuple[Path, Operation]:
    """Fetch an artifact of another run for ``run``; return where it lies, and what records that it was used.

    :meth:`RunEditor.use_artifact` says what is raised.
    """
    client = run.client
    client.settle()
    entity = find_run(client.store, check_key(source if isinstance(source, str) else source.run_id, "run"))
    if entity.entity_id == run.run_id:
        msg = f"run {run.run_id} would use a file of its own; read it with download_artifact or read_artifact"
        raise InvalidArgumentError(msg)
    check_living(entity)
    entries = _chosen(artifact_kinds.files_of(entity.artifacts), check_key(path, "path"), entity.entity_id)
    name = next(iter(entries)) if len(entries) == 1 and path not in _folders(entries) else path
    if to is not None:
        found = artifact_kinds.download(entries, name, Path(to), client.blobs)
    else:
        found = _cached(client.settings.cache_dir / "used", entries, name, client.blobs)
    return found, runs.use_artifacts(run.run_id, entity.entity_id, entries)


def _chosen(files: Mapping[str, Mapping[str, Any]], path: str, run_id: str) -> Entries:
    """Return the files that are meant, by path: one, or all of a folder."""
    name = artifact_kinds.find_path(files, path)
    found = {key: entry for key, entry in files.items() if key == name or key.startswith(f"{name}/")}
    if name in found:
        found = {name: found[name]}
    if not found:
        msg = f"run {run_id} has no artifact {path!r}; it has {sorted(files)[:50] or 'none'}"
        raise NotFoundError(msg)
    if len(found) > MAX_FILES:
        msg = f"artifact {path!r} has {len(found):,} files; expected at most {MAX_FILES:,}: use those that are needed"
        raise InvalidArgumentError(msg)
    return found


def _folders(entries: Entries) -> set[str]:
    return {key[:at] for key in entries for at in range(len(key)) if key[at] == "/"}


def _cached(folder: Path, entries: Entries, name: str, blobs: ReadableBlobs) -> Path:
    """Return the artifact in a folder that is named by its content; what is there already is verified."""
    content = "\n".join(f"{entry['digest']} {key}" for key, entry in sorted(entries.items()))
    place = folder / hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()
    owned.make_private(place)
    last = name.rpartition("/")[2]
    target = place / (last if last.strip(". ") and "\\" not in last and len(last) < 200 else "artifact")
    if name in entries:
        if not _is(target, entries[name]["digest"]):
            artifact_kinds.download(entries, name, target, blobs)
        return target
    paths = {target / key[len(name) + 1 :]: entry["digest"] for key, entry in entries.items()}
    if not all(_is(path, digest) for path, digest in paths.items()):
        artifact_kinds.download(entries, name, target, blobs)
    for path in target.rglob("*"):
        if not path.is_dir() and path not in paths:
            msg = f"{path} is no part of the artifact {name!r}, in whose place of the cache it lies; remove it"
            raise IntegrityError(msg)
    return target


def _is(path: Path, digest: str) -> bool:
    """Return whether a file has the content of that digest."""
    try:
        with os.fdopen(disk.open_regular(path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
