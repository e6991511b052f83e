"""Protobuf descriptors and message classes of the v1 API."""

from __future__ import annotations

import re
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from google.protobuf import descriptor_pb2, struct_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.message import Message

Fields: TypeAlias = Any
"""A message whose fields are those that ``api.json`` has; no checker of types knows them."""
_FIELD = re.compile(
    r"(?P<repeated>repeated )?(?P<type>\S+) (?P<name>\w+) = (?P<number>\d+)( in (?P<oneof>\w+))?(?P<deprecated> deprecated)?"
)
_MAP = re.compile(r"map<(?P<key>\w+),(?P<value>[\w.]+)>")
_OF_GOOGLE = "google/protobuf/struct.proto"
_LABELS = descriptor_pb2.FieldDescriptorProto
_SCALARS: Mapping[str, int] = MappingProxyType(
    {
        name: getattr(_LABELS, f"TYPE_{name.upper()}")
        for name in ("string", "bool", "bytes", "int32", "int64", "uint32", "uint64", "float", "double")
    }
)

API: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    orjson.loads(files("modeldb_v1.schema").joinpath("api.json").read_bytes())
)
"""What ``api.json`` says, by file."""


def _names(part: str) -> Iterator[tuple[str, str]]:
    """Iterate over the full names of what the files have in ``part``, each with its file."""
    for file, content in API.items():
        for name in content.get(part, ()):
            yield f"{content['package']}.{name}", file


_ENUMS = dict(_names("enums"))
_MESSAGES = dict(_names("messages"))


def _file_descriptor(file: str) -> FileDescriptorProto:
    content = API[file]
    proto = descriptor_pb2.FileDescriptorProto(name=file, package=content["package"], syntax="proto3")
    messages: dict[str, DescriptorProto] = {}
    for name, fields in content.get("messages", {}).items():
        _fill(_message(proto, messages, name), f"{content['package']}.{name}", fields)
    for name, values in content.get("enums", {}).items():
        above, _, own = name.rpartition(".")
        enum = (_message(proto, messages, above) if above else proto).enum_type.add(name=own)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, calls in content.get("services", {}).items():
        service = proto.service.add(name=name)
        for call, (request, response, *_) in calls.items():
            service.method.add(name=call, input_type=f".{request}", output_type=f".{response}")
    proto.dependency.extend(sorted({_file_of(name) for name in _named(proto)} - {file}))
    return proto


def _message(proto: FileDescriptorProto, known: dict[str, DescriptorProto], name: str) -> DescriptorProto:
    """Return the message of a name, which may stand in another one."""
    if name not in known:
        above, _, own = name.rpartition(".")
        known[name] = _message(proto, known, above).nested_type.add() if above else proto.message_type.add()
        known[name].name = own
    return known[name]


def _fill(message: DescriptorProto, full_name: str, fields: list[str]) -> None:
    for text in fields:
        match = _FIELD.fullmatch(text)
        assert match is not None, text
        field = message.field.add(name=match["name"], number=int(match["number"]))
        is_list = match["repeated"] is not None
        if map_of := _MAP.fullmatch(match["type"]):
            is_list = True
            entry = message.nested_type.add(name=f"{match['name'].title().replace('_', '')}Entry")
            entry.options.map_entry = True
            for number, part in enumerate(("key", "value"), 1):
                each = entry.field.add(name=part, number=number, label=_LABELS.LABEL_OPTIONAL)
                _set_type(each, map_of[part])
            field.type, field.type_name = _LABELS.TYPE_MESSAGE, f".{full_name}.{entry.name}"
        else:
            _set_type(field, match["type"])
        field.label = _LABELS.LABEL_REPEATED if is_list else _LABELS.LABEL_OPTIONAL
        if match["deprecated"]:
            field.options.deprecated = True
        if oneof := match["oneof"]:
            names = [each.name for each in message.oneof_decl]
            if oneof not in names:
                message.oneof_decl.add(name=oneof)
                names.append(oneof)
            field.oneof_index = names.index(oneof)


def _set_type(field: FieldDescriptorProto, name: str) -> None:
    if name in _SCALARS:
        field.type = _SCALARS[name]  # type: ignore[assignment]  # a number of that enum
        return
    field.type = _LABELS.TYPE_ENUM if name in _ENUMS else _LABELS.TYPE_MESSAGE
    field.type_name = f".{name}"


def _named(proto: FileDescriptorProto) -> Iterator[str]:
    """Iterate over the types that a file names."""
    todo = list(proto.message_type)
    while todo:
        message = todo.pop()
        todo += message.nested_type
        own = {f".{proto.package}.{message.name}.{each.name}" for each in message.nested_type if each.options.map_entry}
        yield from (field.type_name for field in message.field if field.type_name and field.type_name not in own)
    for service in proto.service:
        for method in service.method:
            yield method.input_type
            yield method.output_type


def _file_of(type_name: str) -> str:
    """Return the file of a type; that of the message in which an entry of a map stands."""
    name = type_name.removeprefix(".")
    while name:
        if (file := _MESSAGES.get(name) or _ENUMS.get(name)) is not None:
            return file
        name = name.rpartition(".")[0]
    return _OF_GOOGLE


def _pool() -> DescriptorPool:
    """Return the descriptors in a pool of their own: a program may have loaded those of the original client as well."""
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    protos = {file: _file_descriptor(file) for file in API}
    order = TopologicalSorter({file: set(proto.dependency) & protos.keys() for file, proto in protos.items()})
    for file in order.static_order():
        pool.AddSerializedFile(protos[file].SerializeToString())
    return pool


POOL = _pool()
"""The descriptors of every message, enum and service."""


@cache
def message_class(name: str) -> type[Message]:
    """Return the class of a message by its full name, such as ``ai.verta.modeldb.Project``; of that package without it."""
    return GetMessageClass(POOL.FindMessageTypeByName(_full_name(name)))


@cache
def enum_type(name: str) -> EnumDescriptor:
    """Return the descriptor of an enum, such as ``OperatorEnum.Operator``."""
    return POOL.FindEnumTypeByName(_full_name(name))


@cache
def enum_values(name: str) -> Mapping[str, int]:
    """Return the numbers of an enum by name."""
    return MappingProxyType({value.name: value.number for value in enum_type(name).values})


def _full_name(name: str) -> str:
    return name if name.startswith(("ai.", "google.")) else f"ai.verta.modeldb.{name}"
