"""Arguments of a request, checked against the route's table before its handler sees them.

Every text, list, number and body has a limit, an argument that the table does not know is refused (a misspelt
``filter`` must not return everything), and one that is given twice too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from werkzeug.exceptions import UnsupportedMediaType

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.numbers import to_float
from modeldb_core.model.values import from_json
from modeldb_server.bodies import Received
from modeldb_server.responses import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flask import Request

    from modeldb_server.routes import Parameter, Route

MAX_BODY_DEPTH = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FLAGS = {"1": True, "true": True, "0": False, "false": False}
_QUOTES = "\"'`"


def read_arguments(route: Route, request: Request) -> dict[str, Any]:
    """Return the arguments that the query string and the body of ``request`` give to ``route``.

    Raises:
        InvalidArgumentError: an argument is unknown, missing, repeated, of the wrong type or too long.
        UnsupportedMediaType: a body is needed and is not JSON.
    """
    arguments = _query_arguments(route.parameters, request)
    if route.body_type != JSON:
        raw = request.environ["wsgi.input"]
        arguments["content"] = raw if isinstance(raw, Received) else request.stream
    elif route.body:
        arguments.update(_fields(route.body, _body(request), "the body"))
    elif request.content_length:
        msg = f"{route.method} {request.path} takes no body; leave it out"
        raise InvalidArgumentError(msg)
    return arguments


def _query_arguments(parameters: tuple[Parameter, ...], request: Request) -> dict[str, Any]:
    _check_names(parameters, list(request.args), "query parameter")
    arguments: dict[str, Any] = {}
    for parameter in parameters:
        texts = request.args.getlist(parameter.name)
        if len(texts) > 1 and parameter.type != "texts":
            msg = f"{parameter.name} is given {len(texts)} times; give it once"
            raise InvalidArgumentError(msg)
        if not texts:
            arguments[parameter.name] = _missing(parameter)
        elif parameter.type == "texts":
            arguments[parameter.name] = _texts(parameter, [name for text in texts for name in split_names(text)])
        else:
            arguments[parameter.name] = _from_text(parameter, texts[0])
    return arguments


def _from_text(parameter: Parameter, text: str) -> Any:  # noqa: ANN401 - as the table says
    if parameter.type == "text":
        return _text(parameter, text)
    if parameter.type == "flag":
        if text.lower() not in _FLAGS:
            msg = f"{parameter.name} is {text[:40]!r}; expected 1 or 0"
            raise InvalidArgumentError(msg)
        return _FLAGS[text.lower()]
    if parameter.type == "time":
        return _time(parameter, text)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        msg = f"{parameter.name} is {text[:40]!r}; expected a whole number"
        raise InvalidArgumentError(msg)
    return _integer(parameter, int(text))


def split_names(text: str) -> list[str]:
    """Return the names in ``a,metrics."x, y",b``: commas separate, except within quotes."""
    names, start, quote = [], 0, ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character == ",":
            names.append(text[start:index])
            start = index + 1
    names.append(text[start:])
    return [name.strip() for name in names if name.strip()]


def _body(request: Request) -> Any:  # noqa: ANN401 - JSON data
    if request.mimetype != JSON:
        raise UnsupportedMediaType(description=f"the body must be JSON: send it with Content-Type: {JSON}")
    try:
        data = orjson.loads(request.get_data())
    except orjson.JSONDecodeError as error:
        msg = f"the body is not valid JSON: {error.msg} at character {error.pos}"
        raise InvalidArgumentError(msg) from None
    _check_depth(data)
    return data


def _check_depth(data: object) -> None:
    level = [data]
    for _ in range(MAX_BODY_DEPTH):
        level = [item for container in level for item in _items(container)]
        if not level:
            return
    msg = f"the body is nested deeper than {MAX_BODY_DEPTH} levels"
    raise InvalidArgumentError(msg)


def _items(container: object) -> Iterable[object]:
    if isinstance(container, dict):
        return container.values()
    return container if isinstance(container, list) else ()


def _fields(parameters: tuple[Parameter, ...], data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        msg = f"{where} is not a JSON object"
        raise InvalidTypeError(msg)
    _check_names(parameters, list(data), f"field of {where}")
    return {
        parameter.name: _from_json(parameter, data[parameter.name])
        if data.get(parameter.name) is not None
        else _missing(parameter)
        for parameter in parameters
    }


def _from_json(parameter: Parameter, value: object) -> Any:  # noqa: ANN401 - as the table says
    name = parameter.name
    if parameter.type == "text" and isinstance(value, str):
        return _text(parameter, value)
    if parameter.type == "flag" and isinstance(value, bool):
        return value
    if parameter.type == "integer" and isinstance(value, int) and not isinstance(value, bool):
        return _integer(parameter, value)
    if parameter.type == "texts" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return _texts(parameter, value)
    if parameter.type in _READERS:
        return _READERS[parameter.type](parameter, value)
    if parameter.type == "objects" and isinstance(value, list):
        _check_count(parameter, len(value))
        return [_fields(parameter.items, item, f"{name}[{index}]") for index, item in enumerate(value)]
    expected = {
        "text": "a text",
        "flag": "true or false",
        "integer": "a whole number",
        "texts": "a list of texts",
        "objects": "a list of objects",
    }
    msg = f"{name} is of the wrong type; expected {expected[parameter.type]}"
    raise InvalidTypeError(msg)


def _object(parameter: Parameter, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{parameter.name} is of the wrong type; expected an object"
        raise InvalidTypeError(msg)
    _check_count(parameter, len(value))
    return {name: from_json(item) for name, item in value.items()}


def _number(parameter: Parameter, value: object) -> float:
    number = from_json(value) if isinstance(value, dict) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        msg = f'{parameter.name} is {repr(value)[:40]}; expected a number, or for example {{"$float": "NaN"}}'
        raise InvalidTypeError(msg)
    return to_float(number, parameter.name)


def _numbers(parameter: Parameter, value: object) -> list[float]:
    return [_number(parameter, item) for item in _list(parameter, value)]


def _integers(parameter: Parameter, value: object) -> list[int]:
    integers: list[Any] = [from_json(item) if isinstance(item, dict) else item for item in _list(parameter, value)]
    for item in integers:
        if type(item) is not int:
            msg = f"{parameter.name} holds {repr(item)[:40]}; expected whole numbers"
            raise InvalidTypeError(msg)
        _integer(parameter, item)
    return integers


def _list(parameter: Parameter, value: object) -> list[Any]:
    if not isinstance(value, list):
        msg = f"{parameter.name} is of the wrong type; expected a list"
        raise InvalidTypeError(msg)
    _check_count(parameter, len(value))
    return value


def _time(parameter: Parameter, value: object) -> int:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or time.year < 1970:
        msg = f"{parameter.name} is {repr(value)[:40]}; expected a time since 1970 such as '2026-01-31T12:00:00Z'"
        raise InvalidArgumentError(msg)
    return int((time - _EPOCH) / timedelta(microseconds=1))


_READERS: Mapping[str, Callable[[Parameter, object], Any]] = {
    "object": _object,
    "number": _number,
    "numbers": _numbers,
    "integers": _integers,
    "time": _time,
}
"""How the fields of some types are read from a JSON body."""


def _missing(parameter: Parameter) -> Any:  # noqa: ANN401 - as the table says
    if parameter.required:
        msg = f"{parameter.name} is missing: {parameter.description}"
        raise InvalidArgumentError(msg)
    return parameter.default


def _text(parameter: Parameter, text: str) -> str:
    if len(text) > parameter.max_length:
        msg = f"{parameter.name} has {len(text):,} characters; at most {parameter.max_length:,} are allowed"
        raise InvalidArgumentError(msg)
    if parameter.is_raw:
        return text
    if "\0" in text:
        msg = f"{parameter.name} holds a NUL character; remove it"
        raise InvalidArgumentError(msg)
    if parameter.required and not text:
        msg = f"{parameter.name} is empty: {parameter.description}"
        raise InvalidArgumentError(msg)
    if parameter.choices and text not in parameter.choices:
        msg = f"{parameter.name} is {text[:40]!r}; expected one of {', '.join(parameter.choices)}"
        raise InvalidArgumentError(msg)
    return text


def _texts(parameter: Parameter, texts: list[str]) -> tuple[str, ...]:
    _check_count(parameter, len(texts))
    return tuple(_text(parameter, text) for text in texts)


def _integer(parameter: Parameter, number: int) -> int:
    if not parameter.minimum <= number <= parameter.maximum:
        msg = f"{parameter.name} is {number}; expected {parameter.minimum:,} to {parameter.maximum:,}"
        raise InvalidArgumentError(msg)
    return number


def _check_count(parameter: Parameter, count: int) -> None:
    if count > parameter.max_items:
        msg = f"{parameter.name} has {count:,} items; at most {parameter.max_items:,} are allowed"
        raise InvalidArgumentError(msg)


def _check_names(parameters: tuple[Parameter, ...], names: list[str], what: str) -> None:
    known = [parameter.name for parameter in parameters]
    for name in names:
        if name not in known:
            msg = f"{what} {name[:40]!r} is unknown; known: {', '.join(known) or 'none'}"
            raise InvalidArgumentError(msg)
