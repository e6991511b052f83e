"""What versions of data sets consist of, as messages and back: files, a query, or what a program knows of its own data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.datasets import PATH, QUERY, RAW, Content
from modeldb_core.commands.values import recorded
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.values import encode, is_digest
from modeldb_core.runtime.redaction import redact_text
from modeldb_core.trees import TreeStore
from modeldb_v1.kinds import microseconds
from modeldb_v1.schema import enum_type, enum_values
from modeldb_v1.shown_blobs import MAX_COMPONENTS
from modeldb_v1.values import from_value, to_value, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modeldb_core.model.entities import DatasetVersion
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

TYPES: Mapping[int, str] = MappingProxyType({0: RAW, 1: PATH, 2: QUERY})
"""Types of data sets by ``DatasetTypeEnum.DatasetType``."""
TYPE_NUMBERS: Mapping[str, int] = MappingProxyType({name: number for number, name in TYPES.items()})
LOCATIONS = enum_values("PathLocationTypeEnum.PathLocationType")
_SCHEMES = {"s3": "S3_FILE_SYSTEM", "s3a": "S3_FILE_SYSTEM", "hdfs": "HADOOP_FILE_SYSTEM"}
_RAW_TEXTS, _PARTS = ("object_path", "checksum"), "parts"


def type_of(number: int) -> str:
    """Return the type of a data set by its number in the v1 API.

    Raises:
        InvalidArgumentError: there is none of that number.
    """
    if number not in TYPES:
        listed = ", ".join(f"{each} ({name})" for each, name in TYPES.items())
        msg = f"dataset_type is {number}; expected {listed}"
        raise InvalidArgumentError(msg)
    return TYPES[number]


def content_from(context: ServerContext, request: Fields) -> Content:
    """Return the content that a request describes, which says nothing where it describes none.

    Raises:
        InvalidArgumentError: it describes content of another type than it says, or two files of one path.
    """
    dataset_type = type_of(request.dataset_type)
    field = request.WhichOneof("dataset_version_info")
    if field not in (None, f"{dataset_type}_dataset_version_info"):
        msg = f"dataset_type is {dataset_type}, and the request has a {field}; expected {dataset_type}_dataset_version_info"
        raise InvalidArgumentError(msg)
    message = getattr(request, f"{dataset_type}_dataset_version_info")
    content = _READERS[dataset_type](context, message)
    info = recorded(dict(content.info), "info", context.artifacts.put) if field else {}
    return content.with_info(info)


def _raw(context: ServerContext, message: Fields) -> Content:
    del context
    texts = {name: redact_text(getattr(message, name)) for name in _RAW_TEXTS}
    identity = [message.size, list(message.features), message.num_records, *texts.values()]
    return Content(
        dataset_type=RAW,
        digest=_digest(RAW, identity),
        source=texts["object_path"],
        size_bytes=message.size or None,
        record_count=message.num_records or None,
        info={
            "kind": RAW,
            **({"features": list(message.features)} if message.features else {}),
            **{name: text for name, text in texts.items() if text},
        },
    )


def _query(context: ServerContext, message: Fields) -> Content:
    del context
    source = redact_text(message.data_source_uri)
    identity = [message.query, message.execution_timestamp, source, message.num_records]
    info = {
        "kind": QUERY,
        "query": message.query,
        "query_template": message.query_template,
        **_parameters(message.query_parameters),
        "data_source_url": source,
        "executed_at": microseconds(message.execution_timestamp, "execution_timestamp"),
    }
    return Content(
        dataset_type=QUERY,
        digest=_digest(QUERY, identity),
        source=source,
        record_count=message.num_records or None,
        info={name: value for name, value in info.items() if value not in ("", 0, {})},
    )


def _parameters(messages: Sequence[Fields]) -> dict[str, Any]:
    """Return parameters by name, as our library records them; those of which two have one name, as a list."""
    types = {each.parameter_name: each.parameter_type for each in messages if each.parameter_type}
    named = {each.parameter_name: from_value(each.value) for each in messages}
    if len(named) == len(messages):
        return {"query_parameters": named, "parameter_types": types}
    listed = [[each.parameter_name, each.parameter_type, from_value(each.value)] for each in messages]
    return {"query_parameters": listed}


def _path(context: ServerContext, message: Fields) -> Content:
    base_path = redact_text(message.base_path)
    parts = [
        {
            "path": each.path,
            "size_bytes": each.size,
            "checksum": each.checksum,
            "modified_at": microseconds(each.last_modified_at_source, "last_modified_at_source"),
        }
        for each in message.dataset_part_infos
    ]
    identity = [base_path, sorted([each["path"], each["size_bytes"], each["checksum"]] for each in parts)]
    return Content(
        dataset_type=PATH,
        digest=_digest(PATH, identity),
        source=base_path,
        size_bytes=message.size or None,
        part_count=len(parts) or None,
        info={
            "kind": PATH,
            "location_type": _location_name(message.location_type),
            _PARTS: [{name: value for name, value in each.items() if value not in ("", 0)} for each in parts],
        },
        fields=_tree_of(context, base_path, parts),
    )


def _location_name(number: int) -> str:
    found = enum_type("PathLocationTypeEnum.PathLocationType").values_by_number.get(number)
    if found is None:
        msg = f"location_type is {number}; expected one of {', '.join(LOCATIONS)}"
        raise InvalidArgumentError(msg)
    name: str = found.name
    return name


def _tree_of(context: ServerContext, base_path: str, parts: list[dict[str, Any]]) -> dict[str, str]:
    """Return the tree by which pages and commands show files and what differs, where their paths can be in one."""
    entries = {_within(base_path, each["path"]): _entry(each) for each in parts}
    if not entries or len(entries) < len(parts):
        return {}
    try:
        return {"tree": TreeStore(context.artifacts).build(entries).root}
    except InvalidArgumentError:  # addresses, paths that lie elsewhere
        return {}


def _within(base_path: str, path: str) -> str:
    """Return a path as it is below another one, where it lies there."""
    if path == base_path:
        return path.rpartition("/")[2]
    return path.removeprefix(f"{base_path.rstrip('/')}/")


def _entry(part: Mapping[str, Any]) -> dict[str, Any]:
    found = {"size_bytes": part["size_bytes"]}
    if part["checksum"]:
        found["sha256" if is_digest(part["checksum"]) else "checksum"] = part["checksum"]
    return {**found, "observed": {"modified_at": part["modified_at"]}} if part["modified_at"] else found


def _digest(dataset_type: str, identity: list[Any]) -> str:
    return hashlib.sha256(encode([f"v1 {dataset_type}", *identity])).hexdigest()


_READERS = {RAW: _raw, PATH: _path, QUERY: _query}


# -- to messages ------------------------------------------------------------------------------------------------------


def fill_content(context: ServerContext, message: Fields, version: DatasetVersion) -> None:
    """Write the content of a version into its message; of one that nothing is known of, nothing."""
    info = {name: whole(value, context.artifacts) for name, value in version.info.items()}
    if version.dataset_type == PATH and (info or version.tree):
        _show_path(context, message.path_dataset_version_info, version, info)
    elif version.dataset_type == QUERY and info:
        _show_query(message.query_dataset_version_info, version, info)
    elif info:
        _show_raw(message.raw_dataset_version_info, version, info)


def location_type_of(context: ServerContext, version: DatasetVersion) -> int:
    """Return where the files of a version lie: as was said, else by the address."""
    said = whole(version.info.get("location_type"), context.artifacts)
    scheme = version.source.partition("://")[0] if "://" in version.source else ""
    return LOCATIONS.get(str(said), LOCATIONS[_SCHEMES.get(scheme, "LOCAL_FILE_SYSTEM")])


def _show_path(context: ServerContext, message: Fields, version: DatasetVersion, info: Mapping[str, Any]) -> None:
    message.SetInParent()
    message.location_type = location_type_of(context, version)
    message.size = version.size_bytes or 0
    message.base_path = version.source
    said = info.get(_PARTS)
    for part in said if isinstance(said, list) else _files(context, version):
        message.dataset_part_infos.add(
            path=str(part.get("path", "")),
            size=part.get("size_bytes", 0),
            checksum=str(part.get("checksum", "")),
            last_modified_at_source=part.get("modified_at", 0) // 1000,
        )


def _files(context: ServerContext, version: DatasetVersion) -> Iterator[dict[str, Any]]:
    if not version.tree:
        return
    tree = TreeStore(context.artifacts).open(version.tree)
    if tree.count > MAX_COMPONENTS:
        msg = f"version {version.entity_id} has {tree.count:,} files; this API lists at most {MAX_COMPONENTS:,}, the other one all of them"
        raise InvalidArgumentError(msg)
    for location, entry in tree.items():
        observed = entry.get("observed") or {}
        yield {
            "path": location,
            "size_bytes": entry.get("size_bytes", 0),
            "checksum": entry.get("sha256") or entry.get("checksum") or "",
            "modified_at": observed.get("modified_at") or 0,
        }


def _show_query(message: Fields, version: DatasetVersion, info: Mapping[str, Any]) -> None:
    message.SetInParent()
    message.query = str(info.get("query", ""))
    message.query_template = str(info.get("query_template", ""))
    message.data_source_uri = version.source
    message.execution_timestamp = max(0, int(info.get("executed_at") or 0)) // 1000
    message.num_records = version.record_count or 0
    types, parameters = (info.get(name) or {} for name in ("parameter_types", "query_parameters"))
    if isinstance(parameters, Mapping):
        parameters = [[name, types.get(name, 0), value] for name, value in parameters.items()]
    for name, number, value in parameters:
        to_value(message.query_parameters.add(parameter_name=str(name), parameter_type=number).value, value)


def _show_raw(message: Fields, version: DatasetVersion, info: Mapping[str, Any]) -> None:
    message.SetInParent()
    message.size = version.size_bytes or 0
    message.num_records = version.record_count or 0
    message.object_path = str(info.get("object_path") or version.source)
    message.checksum = str(info.get("checksum") or ("" if info.get("kind") == RAW else version.digest))
    message.features.extend(_features(info))


def _features(info: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of columns: as was said, else of the schema that describes a table."""
    said = info.get("features")
    if isinstance(said, list):
        return map(str, said)
    schema = info.get("schema")
    columns = schema.get("columns") if isinstance(schema, Mapping) else None
    if not isinstance(columns, list):
        return ()
    return [str(each["name"]) for each in columns if isinstance(each, Mapping) and "name" in each]
