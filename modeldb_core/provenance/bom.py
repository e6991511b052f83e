"""Bills of material: what a run or a model was made of, as a CycloneDX ML-BOM 1.6 (https://cyclonedx.org/capabilities/mlbom/).

Made from the record alone: the same record gives the same document. What the record does not say is a property
``modeldb:missing``, and the compositions say that the lists are not complete.
"""

from __future__ import annotations

import re
import uuid
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modeldb_core.log.display import flat, is_own
from modeldb_core.log.json_documents import time_text
from modeldb_core.provenance.text import quoted
from modeldb_core.runtime import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.provenance.record import Input, Part, Record, Resolve

SPEC = "1.6"
MAX_TEXT = 1024
"""Characters of a version and of a value: of a longer one the beginning is given, which three dots say."""
_SUBJECT = "subject"
_SCP = re.compile(r"[\w.-]+@([\w.-]+):(.+)")


def make_bom(record: Record, resolve: Resolve) -> dict[str, Any]:
    """Return the bill of materials of a run or a version of a model, as JSON data."""
    entity = record.entity
    components = [
        *_once((*(_file(part) for part in record.files), *(_file(part) for part in record.used))),
        *_once(_input(each) for each in record.inputs),
        *_platform(record),
        *(_package(name, version, record.sources.get(name, "")) for name, version in record.packages.items()),
    ]
    refs = [component["bom-ref"] for component in components]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:modeldb:{entity.KIND}:{entity.entity_id}:{entity.revision}")
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": time_text(entity.updated_at or entity.created_at),
            "tools": {"components": [{"type": "application", "name": "modeldb-core", "version": __version__}]},
            "component": _subject(record, resolve),
            "properties": [_property("modeldb:missing", text) for text in record.missing],
        },
        "components": components,
        "dependencies": [{"ref": _SUBJECT, "dependsOn": refs}, *({"ref": ref} for ref in refs)],
        "compositions": [{"aggregate": "incomplete" if record.missing else "unknown", "assemblies": [_SUBJECT]}],
    }


def _subject(record: Record, resolve: Resolve) -> dict[str, Any]:
    entity, run = record.entity, record.run
    said = [("modeldb:kind", entity.KIND), ("modeldb:id", entity.entity_id)]
    if run is not None and run is not entity:
        said.append(("modeldb:run", run.entity_id))
    if run is not None and run.code.get("commit"):
        said.append(("modeldb:commit", str(run.code["commit"])))
    subject: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _SUBJECT,
        "name": record.name,
        "properties": [_property(*pair) for pair in said],
        "modelCard": _card(record, resolve),
    }
    if record.version:
        subject["version"] = _short(record.version)
    if entity.description:
        subject["description"] = entity.description
    if len(record.files) == 1:
        subject["hashes"] = [_sha256(record.files[0].digest)]
    if run is not None and (url := _url(run.code.get("remote"))):
        subject["externalReferences"] = [{"type": "vcs", "url": url}]
    return subject


def _card(record: Record, resolve: Resolve) -> dict[str, Any]:
    run = record.run
    data = [{"ref": _ref(each)} for each in record.inputs if each.kind == "dataset_version"]
    card: dict[str, Any] = {"modelParameters": {"datasets": _unique(data)}}
    if run is None:
        return card
    card["quantitativeAnalysis"] = {
        "performanceMetrics": [
            {"type": _short(key), "value": _short(str(resolve(value)))}
            for key, value in sorted(run.metrics.items())
            if not is_own(key)
        ]
    }
    hyperparameters = {key: resolve(value) for key, value in run.hyperparameters.items()}
    card["properties"] = [
        _property(f"modeldb:hyperparameter:{key}", str(value))
        for key, value in sorted(flat(hyperparameters), key=itemgetter(0))
    ]
    return card


def _file(part: Part) -> dict[str, Any]:
    said = [("modeldb:size_bytes", str(part.size_bytes))] if part.size_bytes is not None else []
    said += [("modeldb:run", part.run_id)] if part.run_id else []
    component: dict[str, Any] = {
        "type": "file",
        "bom-ref": f"file:{quoted(part.run_id)}:{part.digest}:{quoted(part.path, '/')}",
        "name": part.path,
        "hashes": [_sha256(part.digest)],
        "properties": [_property(*pair) for pair in said],
    }
    if re.fullmatch(r"[-+a-z0-9.]+/[-+a-z0-9.]+", part.media_type):
        component["mime-type"] = part.media_type
    return component


def _input(each: Input) -> dict[str, Any]:
    is_model = each.kind == "model_version"
    said = [("modeldb:kind", each.kind or "unknown"), ("modeldb:id", each.entity_id), ("modeldb:role", each.role)]
    said += [("modeldb:digest", each.digest)] if each.digest else []
    said += [] if each.is_here else [("modeldb:missing", "it is not in the store")]
    component: dict[str, Any] = {
        "type": "machine-learning-model" if is_model else "data",
        "bom-ref": _ref(each),
        "name": each.name,
        "properties": [_property(*pair) for pair in said],
    }
    if each.version:
        component["version"] = _short(each.version)
    if each.kind == "dataset_version":
        component["data"] = [{"type": "dataset", "name": each.name}]
    return component


def _platform(record: Record) -> Iterator[dict[str, Any]]:
    environment: Mapping[str, Any] = record.run.environment if record.run is not None else {}
    if isinstance(version := environment.get("python"), str):
        name = str(environment.get("implementation") or "python")
        yield {"type": "platform", "bom-ref": "python", "name": name, "version": _short(version)}


def _package(name: str, version: str, source: str) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"package:{quoted(name)}@{quoted(version)}",
        "name": name,
        "version": _short(version),
    }
    if not source:  # an index had it; which one, the record does not say
        component["purl"] = f"pkg:pypi/{quoted(name)}@{quoted(version)}"
    else:
        component["properties"] = [_property("modeldb:source", source)]
    return component


def _once(components: Iterator[dict[str, Any]] | tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return components, each reference once."""
    return list({component["bom-ref"]: component for component in components}.values())


def _unique(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({str(item): item for item in items}.values())


def _ref(each: Input) -> str:
    return f"{each.kind or 'unknown'}:{quoted(each.entity_id)}"


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": _short(name), "value": _short(value)}


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def _url(remote: object) -> str:
    """Return where a repository is, as a URL; "" where what git has for it is none."""
    if not isinstance(remote, str):
        return ""
    if scp := _SCP.fullmatch(remote):
        return f"ssh://git@{scp[1]}/{quoted(scp[2], '/')}"
    try:
        parts = urlsplit(remote)
    except ValueError:
        return ""
    return quoted(remote, safe=":/?#[]@!$&'()*+,;=%~-._") if parts.scheme in ("https", "http", "ssh", "git") else ""
