"""Attestations: what files a run or a model consists of and how they were made, as an in-toto statement (v1).

The predicate is SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance). Its build type is
``urn:modeldb:training:v1``, which docs/lineage.md describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.log.json_documents import json_value, time_text
from modeldb_core.provenance.text import quoted
from modeldb_core.runtime import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.provenance.record import Input, Record, Resolve

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:modeldb:training:v1"


def make_statement(record: Record, resolve: Resolve) -> dict[str, Any]:
    """Return the statement about the files of a run or of a version of a model, as JSON data.

    Raises:
        InvalidArgumentError: it has no files, so there is nothing to state anything about.
    """
    if not record.files:
        msg = (
            f"{record.name!r} has no files on record, so nothing can be said of them; log a model or an artifact first"
        )
        raise InvalidArgumentError(msg)
    return {
        "_type": STATEMENT,
        "subject": [{"name": part.path, "digest": {"sha256": part.digest}} for part in record.files],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": _definition(record, resolve), "runDetails": _details(record)},
    }


def _definition(record: Record, resolve: Resolve) -> dict[str, Any]:
    run = record.run
    external: dict[str, Any] = {}
    internal: dict[str, Any] = {"entity": _name(record), "missing": list(record.missing)}
    if run is not None:
        external["hyperparameters"] = json_value({key: resolve(value) for key, value in run.hyperparameters.items()})
        for section, key in (("context", "command"), ("code", "script"), ("code", "notebook")):
            if (value := getattr(run, section).get(key)) is not None:
                external[key] = json_value(resolve(value))
        if isinstance(python := run.environment.get("python"), str):
            internal["python"] = python
        internal["uncommitted_changes"] = bool(run.code.get("dirty"))
    if record.version:
        external["model"] = {"name": record.name, "version": record.version}
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": external,
        "internalParameters": internal,
        "resolvedDependencies": list(_dependencies(record)),
    }


def _dependencies(record: Record) -> Iterator[dict[str, Any]]:
    run = record.run
    commit = run.code.get("commit") if run is not None else None
    if run is not None and isinstance(commit, str):
        remote = run.code.get("remote")
        source = {"uri": f"git+{remote}@{commit}"} if isinstance(remote, str) and "://" in remote else {"name": "code"}
        yield {**source, "digest": {"gitCommit": commit}}
    for part in record.used:
        yield {
            "name": part.path,
            "uri": f"urn:modeldb:run:{quoted(part.run_id)}",
            "digest": {"sha256": part.digest},
        }
    for each in record.inputs:
        yield _of_input(each)
    for name, version in record.packages.items():
        source_url = record.sources.get(name)
        uri = f"pkg:pypi/{quoted(name)}@{quoted(version)}"
        yield {"name": name, "uri": uri} if not source_url else {"name": name, "annotations": {"source": source_url}}


def _of_input(each: Input) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": each.name,
        "uri": f"urn:modeldb:{each.kind or 'entity'}:{quoted(each.entity_id)}",
        "annotations": {"role": each.role, **({"version": each.version} if each.version else {})},
    }
    return {**found, "digest": {"modeldb": each.digest}} if each.digest else found


def _details(record: Record) -> dict[str, Any]:
    run = record.run
    details: dict[str, Any] = {"builder": {"id": "urn:modeldb-core", "version": {"modeldb-core": __version__}}}
    if run is not None:
        times = {"startedOn": time_text(run.started_at), "finishedOn": time_text(run.finished_at)}
        metadata = {"invocationId": run.entity_id, **{name: text for name, text in times.items() if text}}
        details["metadata"] = metadata
    return details


def _name(record: Record) -> str:
    return f"{record.entity.KIND}:{record.entity.entity_id}"


def subjects_of(statement: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that a statement is about: their SHA-256 by name.

    Raises:
        IntegrityError: it is not a statement of in-toto.
    """
    try:
        if statement["_type"] != STATEMENT:
            msg = f"its type is {str(statement['_type'])[:100]!r}; expected {STATEMENT!r}"
            raise IntegrityError(msg)
        return {str(each["name"]): str(each["digest"]["sha256"]) for each in statement["subject"]}
    except (LookupError, TypeError, AttributeError) as error:
        msg = f"the statement is not one of in-toto that names files by SHA-256: {error!r:.200}"
        raise IntegrityError(msg) from error


def compare(statement: Mapping[str, Any], record: Record) -> list[str]:
    """Return in words how the files that a statement names differ from those on record now; nothing where they do not."""
    stated, recorded = subjects_of(statement), {part.path: part.digest for part in record.files}
    differences = [f"{path}: it is stated, and not on record" for path in stated if path not in recorded]
    differences += [f"{path}: it is on record, and not stated" for path in recorded if path not in stated]
    differences += [
        f"{path}: stated with {stated[path]}, and recorded with {recorded[path]}"
        for path in stated
        if path in recorded and stated[path] != recorded[path]
    ]
    return differences
