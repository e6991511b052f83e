"""How what is really written gets damaged: bytes without their meaning, and JSON with it.

Random bytes alone do not come far: most decoders refuse them at their first look. So nearly everything here begins with
a sample of what is really written.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st

DEEP = 20_000
STRETCHED_BYTES = 1 << 16

RAW_JSON = (
    *(
        "1e999",
        "-1e999",
        "1e-999",
        "NaN",
        "-Infinity",
        "9" * 5_000,
        f"-{2**63}",
        f"{2**63}",
        f"{2**64 - 1}",
        f"{2**53}",
    ),
    *(
        "-1",
        "0",
        "-0.0",
        "1.5",
        "1e15",
        "null",
        "true",
        "[]",
        "{}",
        "[null]",
        '{"a":1,"a":2}',
        '{"":{}}',
        "[[1,2],[3]]",
    ),
    *(
        '""',
        '"\\ud800"',
        '"\\u0000"',
        '"\\u001b[2J\\u202e"',
        f'"{"x" * 5_000}"',
        '"../../etc/passwd"',
        '"٣"',
        '"a\\nb"',
    ),
    *("[" * DEEP + "]" * DEEP, "[" * 150 + "]" * 150, '{"a":' * 150 + "1" + "}" * 150, '{"a":' * DEEP),
    *('{"$int":"1"}', '{"$int":"9e9"}', '{"$float":"NaN"}', '{"$float":1}', f'{{"$blob":"{"0" * 64}","size":1}}'),
)
"""What stands in the place of a value: text, since no writer of JSON makes it all."""

NUMBERS = (0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**64 - 1)
STRANGE = ("", ".", "..", "../x", "a\0b", "\x1b[2J", "٣", "ﬁ", "x" * 5_000, "%00", "\ud800", "\ufeff", "NaN", "$int")
"""Texts that something might trip over."""


class Raw(str):
    """A piece of JSON that is written as it is."""

    __slots__ = ()


def write_json(node: Any) -> bytes:
    """Return ``node`` as JSON, with every :class:`Raw` as it is; pairs in a tuple make a map, so that keys can repeat."""
    return _text(node).encode("utf-8", "surrogatepass")


def _text(node: Any) -> str:
    if isinstance(node, Raw):
        return str.__str__(node)
    if isinstance(node, (dict, tuple)):
        pairs = node.items() if isinstance(node, dict) else node
        return "{" + ",".join(f"{json.dumps(key)}:{_text(value)}" for key, value in pairs) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(_text, node)) + "]"
    return json.dumps(node)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))]


def _edited(node: Any, path: tuple[Any, ...], edit: Callable[[Any, Any], Any]) -> Any:
    """Return ``node`` with what is at ``path`` edited; ``edit`` is given its container and key, and returns the container."""
    key, *rest = path
    if not rest:
        return edit(node, key)
    children = node.items() if isinstance(node, dict) else enumerate(node)
    made = {at: _edited(child, tuple(rest), edit) if at == key else child for at, child in children}
    return made if isinstance(node, dict) else list(made.values())


@st.composite
def other_json(draw: st.DrawFn, sample: Any) -> bytes:
    """Return JSON like ``sample`` in which some values or keys are others, missing, doubled, wrapped, or many."""
    node = sample
    for _ in range(draw(st.integers(1, 3))):
        places = _places(node)
        path = draw(st.sampled_from(places))
        if not path:
            value = Raw(draw(st.sampled_from(RAW_JSON)))
            node = value if draw(st.integers(0, 9)) == 0 else node
            continue
        node = _edited(node, path, partial(_changed, draw, sample, places))
        if isinstance(node, Raw):
            break
    return write_json(node)


def _changed(draw: st.DrawFn, sample: Any, places: list[tuple[Any, ...]], container: Any, key: Any) -> Any:
    how = draw(st.sampled_from(["replace", "replace", "replace", "move", "drop", "key", "double", "wrap", "many"]))
    if isinstance(container, dict):
        if how == "drop":
            return {name: value for name, value in container.items() if name != key}
        if how == "key":
            new = draw(st.sampled_from(STRANGE))
            return {new if name == key else name: value for name, value in container.items()}
        if how == "double":
            again = Raw(draw(st.sampled_from(RAW_JSON)))
            return Raw(_text((*container.items(), (key, again))))
    value = container[key]
    if how == "wrap":
        new: Any = [value] if draw(st.booleans()) else {"a": value}
    elif how == "many":
        times = draw(st.sampled_from([2, 100, 3_000]))
        new = [value] * min(times, STRETCHED_BYTES // max(1, len(_text(value))) + 1)
    elif how == "move":
        new = sample
        for step in draw(st.sampled_from(places)):
            try:
                new = new[step]
            except (LookupError, TypeError):
                break
    else:
        new = Raw(draw(st.sampled_from(RAW_JSON)))
    if isinstance(container, dict):
        return {**container, key: new}
    return [new if at == key else item for at, item in enumerate(container)]


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return ``whole`` with bits flipped, cut off, parts put in another place, other numbers, or stretched."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        until = draw(st.integers(at, min(len(data), at + 16)))
        match draw(st.sampled_from(["replace", "flip", "number", "number", "cut", "copy", "stretch"])):
            case "replace":
                data = data[:at] + draw(st.binary(max_size=12)) + data[until:]
            case "flip" if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
            case "number":
                form = draw(st.sampled_from(["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"]))
                number = draw(st.sampled_from(NUMBERS)) % 256 ** struct.calcsize(form)
                data = data[:at] + struct.pack(form, number) + data[at + struct.calcsize(form) :]
            case "cut":
                data = data[:at]
            case "copy":
                data = data[:until] + data[at:]
            case "stretch":
                times = draw(st.sampled_from([2, 50, STRETCHED_BYTES]))
                data = data[:at] + data[at:until] * min(times, STRETCHED_BYTES // max(1, until - at)) + data[until:]
            case _:
                pass
    return data


def zipped(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return what zlib makes of damaged content, so that the damage lies within; sometimes content that gets very long."""
    bomb = st.sampled_from([zlib.compress(bytes(32 << 20), 9), zlib.compress(b"[" * (8 << 20), 9)])
    return content.map(zlib.compress) | content.map(zlib.compress) | content.map(zlib.compress) | bomb


def texts(*samples: str) -> st.SearchStrategy[str]:
    """Return texts like the samples: with pieces in another order, doubled, strange or many."""

    @st.composite
    def made(draw: st.DrawFn) -> str:
        text = draw(st.sampled_from(samples))
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(text)))
            until = draw(st.integers(at, min(len(text), at + 20)))
            piece = draw(
                st.sampled_from(STRANGE)
                | st.text(max_size=8)
                | st.sampled_from(samples)
                | st.sampled_from(["9" * 5_000, "9" * 400, "1e999", "-", "(", "[", "'", '"', "=", "&", "\\"])
                | st.just(text[at:until] * draw(st.sampled_from([2, 50, 5_000])))
            )
            text = text[:at] + piece + text[until:]
        return text

    return made()
