"""Messages as HTTP carries them: paths, query strings and JSON bodies in, JSON out, as the original proxy did it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from modeldb_core.errors import InvalidArgumentError
from modeldb_server.responses import dump_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from google.protobuf.message import Message

    from modeldb_v1.schema import Binding, CallDeclaration

_Descriptor: TypeAlias = "Any"  # the one of Python or the one of C
_WHOLE = "*"
_SHOWN = 300
_TRUTHS = {**dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)}
_TRUTHS |= dict.fromkeys(("", "0", "f", "F", "FALSE", "false", "False"), False)
_INTEGERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})


def read_message(
    call: CallDeclaration,
    binding: Binding,
    variables: Mapping[str, str],
    query: Iterable[tuple[str, str]],
    body: bytes,
) -> Message:
    """Return the request message that a request over HTTP carries.

    Args:
        call: the call.
        binding: the path by which it came.
        variables: the fields in the path, by name.
        query: names and texts of the query string.
        body: the body.

    Raises:
        InvalidArgumentError: something is not of the form that the call takes.
    """
    message = call.request()
    if binding.body == _WHOLE:
        _merge(message, _json(body, {}), "the body")
    elif binding.body:
        _merge_field(message, binding.body, _json(body, None))
    else:
        _set_query(message, query, variables)
    for name, text in variables.items():
        _set(message, name, [text])
    return message


def write_message(message: Message) -> bytes:
    """Return a message as the original proxy wrote it: names as declared, defaults left out, int64 as text."""
    return dump_json(json_format.MessageToDict(message, preserving_proto_field_name=True))


def _json(body: bytes, default: Any) -> Any:  # noqa: ANN401 - JSON data
    if not body:
        return default
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        msg = f"the body is not JSON: {error}"
        raise InvalidArgumentError(msg) from error


def _merge(message: Message, data: Any, where: str) -> None:  # noqa: ANN401 - JSON data
    if not isinstance(data, dict):
        msg = f"{where} is {orjson.dumps(data)[:60].decode(errors='replace')}; expected a JSON object"
        raise InvalidArgumentError(msg)
    try:
        json_format.ParseDict(data, message)
    except (json_format.ParseError, TypeError, ValueError, AttributeError, OverflowError) as error:
        msg = f"{where} is not a {message.DESCRIPTOR.full_name}: {str(error)[:_SHOWN]}"
        raise InvalidArgumentError(msg) from error


def _merge_field(message: Message, name: str, data: Any) -> None:  # noqa: ANN401 - JSON data
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None:
        _merge(getattr(message, name), {} if data is None else data, "the body")
        return
    if not isinstance(data, str):
        msg = f"the body is to be {name} alone, a JSON text in quotes"
        raise InvalidArgumentError(msg)
    _merge(message, {name: data}, "the body")


def _set_query(message: Message, query: Iterable[tuple[str, str]], bound: Collection[str]) -> None:
    """Set fields as a query string has them, but for those that the path holds."""
    texts: dict[str, list[str]] = {}
    for name, text in query:
        texts.setdefault(name, []).append(text)
    for name, some in texts.items():
        if not any(other == name or other.startswith(f"{name}.") for other in bound):
            _set(message, name, some)


def _set(message: Message, path: str, texts: list[str]) -> None:
    """Set the field of a dotted name to what texts mean."""
    *above, last = path.split(".")
    for name in above:
        field = _field(message.DESCRIPTOR, name, path)
        if field.message_type is None or field.is_repeated:
            raise _unknown(message.DESCRIPTOR, path)
        message = getattr(message, field.name)
        message.SetInParent()
    field = _field(message.DESCRIPTOR, last, path)
    if field.message_type is not None:
        msg = f"{path[:80]} is a message; a query string holds texts, numbers and truth values: name a field of it, as in {path[:80]}.id"
        raise InvalidArgumentError(msg)
    if field.is_repeated:
        getattr(message, field.name).extend(_value(field, text, path) for text in texts)
        return
    if len(texts) > 1:
        msg = f"{path[:80]} is given {len(texts)} times; give it once"
        raise InvalidArgumentError(msg)
    value = _value(field, texts[0], path)
    try:
        setattr(message, field.name, value)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{path[:80]} is {texts[0][:60]!r}: {str(error)[:_SHOWN]}"
        raise InvalidArgumentError(msg) from error


def _field(descriptor: _Descriptor, name: str, path: str) -> FieldDescriptor:
    field = descriptor.fields_by_name.get(name) or _by_json_name(descriptor).get(name)
    if field is None:
        raise _unknown(descriptor, path)
    return field


@cache
def _by_json_name(descriptor: _Descriptor) -> Mapping[str, FieldDescriptor]:
    return {field.json_name: field for field in descriptor.fields}


def _unknown(descriptor: _Descriptor, path: str) -> InvalidArgumentError:
    known = ", ".join(field.name for field in descriptor.fields) or "none"
    return InvalidArgumentError(f"{path[:80]!r} is not a field of {descriptor.full_name}; its fields are: {known}")


def _value(field: FieldDescriptor, text: str, path: str) -> Any:  # noqa: ANN401 - of the field's type
    kind = field.cpp_type
    try:
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return text
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return _TRUTHS[text]
        if field.enum_type is not None and text in field.enum_type.values_by_name:
            return field.enum_type.values_by_name[text].number
        if field.enum_type is not None or kind in _INTEGERS:
            number = int(text or "0")
            if field.enum_type is None or number in field.enum_type.values_by_number:
                return number
        elif kind in _FLOATS:
            return float(text or "0")
    except (KeyError, ValueError):
        pass
    msg = f"{path[:80]} is {text[:60]!r}; expected {_expected(field)}"
    raise InvalidArgumentError(msg)


def _expected(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"one of {', '.join(field.enum_type.values_by_name)}"
    return {FieldDescriptor.CPPTYPE_BOOL: "true or false"}.get(field.cpp_type, "a number")
