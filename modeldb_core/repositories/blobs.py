"""What a location of a commit holds: code, data, configuration or an environment, each in a form that can be compared.

A blob is written into the tree of its commit as an *entry*: a small one with its content, a larger one with the digest
under which the artifact store has it. Equal blobs have equal entries, so two trees are compared without opening one.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from modeldb_core.errors import IntegrityError, InvalidArgumentError, InvalidTypeError
from modeldb_core.model.values import Value, check_key, decode, encode, is_digest, normalize, type_name, write_key
from modeldb_core.runtime.redaction import redact_text, redact_value

if TYPE_CHECKING:
    from modeldb_core.stores import BlobInfo

Entry: TypeAlias = Mapping[str, Any]
"""A blob as a tree holds it: ``kind``, then ``content`` or ``digest`` and ``size_bytes``, and ``tree`` where it has parts."""

OBSERVED, _ORDER = "observed", "order"
CODE, DATA, CONFIG, ENVIRONMENT = "code", "data", "config", "environment"
INLINE_BYTES = 1024
"""A content whose written form is longer is stored as a blob of its own."""
MAX_CONTENT_BYTES = 64 << 20
"""Of one content, when it is read: what is larger belongs into a tree of parts."""

_Check: TypeAlias = "tuple[str, Callable[[Any], bool]]"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and key for key in value)


def _is_map_of_texts(value: object) -> bool:
    return isinstance(value, dict) and _is_map(value) and all(map(_is_text, value.values()))


def _is_map_of_maps(value: object) -> bool:
    return isinstance(value, dict) and _is_map(value) and all(map(_is_map, value.values()))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_ranges(value: object) -> bool:
    parts = {"begin", "end", "step"}
    return _is_map_of_maps(value) and all(
        each.keys() <= parts and {"begin", "end"} <= each.keys() and all(map(_is_number, each.values()))
        for each in value.values()  # type: ignore[attr-defined]
    )


def _is_sets(value: object) -> bool:
    return (
        isinstance(value, dict) and _is_map(value) and all(isinstance(each, list) and each for each in value.values())
    )


_TEXT: _Check = ("text", _is_text)
_TEXTS: _Check = ("a list of texts", _is_texts)
_FLAG: _Check = ("true or false", lambda value: isinstance(value, bool))
_MAP: _Check = ("a map from names to values", _is_map)
_MAP_OF_TEXTS: _Check = ("a map from names to texts", _is_map_of_texts)
_MAP_OF_MAPS: _Check = ("a map from names to maps", _is_map_of_maps)
_RANGES: _Check = ('a map from names to {"begin", "end", "step"}, which are numbers', _is_ranges)
_SETS: _Check = ("a map from names to lists of the values to choose from", _is_sets)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields that the content of a blob has.

    Attributes:
        fields: each with what it holds.
        by_key: the fields that are maps and are compared and merged key by key; the others are wholes.
        is_open: whether it may have more fields.
        is_whole: whether a merge takes all of it from one side: half of one snapshot and half of another is neither.
    """

    fields: Mapping[str, _Check]
    by_key: frozenset[str] = frozenset()
    is_open: bool = False
    is_whole: bool = False


_RUNNING: Mapping[str, _Check] = {"variables": _MAP_OF_TEXTS, "command": _TEXTS}
_GIT: Mapping[str, _Check] = {
    "remote": _TEXT,
    "commit": _TEXT,
    "branch": _TEXT,
    "tag": _TEXT,
    "dirty": _FLAG,
    "diff": _TEXT,
    "untracked": _TEXTS,
}
_COMPONENTS: Mapping[str, _Check] = {"components": _MAP_OF_MAPS}

FORMS: Mapping[str, Mapping[str, Form]] = MappingProxyType(
    {
        CODE: {
            "git": Form(_GIT, is_open=True, is_whole=True),
            "notebook": Form({"path": _TEXT, "sha256": _TEXT, "git": _MAP, **_COMPONENTS}, is_open=True, is_whole=True),
        },
        DATA: {
            "path": Form(_COMPONENTS, frozenset({"components"}), is_open=True, is_whole=True),
            "s3": Form(_COMPONENTS, frozenset({"components"}), is_open=True, is_whole=True),
            "query": Form({"query": _TEXT, "source": _TEXT, "parameters": _MAP}, is_open=True, is_whole=True),
            "raw": Form({}, is_open=True, is_whole=True),
        },
        CONFIG: {
            "": Form(
                {"hyperparameters": _MAP, "ranges": _RANGES, "sets": _SETS},
                frozenset({"hyperparameters", "ranges", "sets"}),
            )
        },
        ENVIRONMENT: {
            "python": Form(
                {
                    "python": _TEXT,
                    "implementation": _TEXT,
                    "platform": _TEXT,
                    "packages": _MAP_OF_TEXTS,
                    "requirements": _MAP_OF_TEXTS,
                    "constraints": _MAP_OF_TEXTS,
                    **_RUNNING,
                },
                frozenset({"packages", "requirements", "constraints", "variables"}),
            ),
            "docker": Form({"repository": _TEXT, "tag": _TEXT, "sha": _TEXT, **_RUNNING}, frozenset({"variables"})),
            "variables": Form(_RUNNING, frozenset({"variables"})),
        },
    }
)
"""The forms of each kind by their ``type``; a configuration has one only, and no type."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The typed content of one location.

    Attributes:
        kind: code, data, config or environment.
        content: as :data:`FORMS` has it.
        tree: the root of the content tree of its parts, for data that has many; "" where there is none.
        order: in which order somebody listed what maps of the content hold, where that matters to them. It is kept, but is
            no part of the content: blobs that differ in it alone are equal.

    Raises:
        InvalidArgumentError: the kind or its type is unknown, or the content does not have the form of that.
    """

    kind: str
    content: Mapping[str, Value]
    tree: str = ""
    order: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        given: object = self.content
        kind: object = self.kind
        if not isinstance(kind, str):
            msg = f"the kind of a blob is of type {type_name(kind)}; expected one of {', '.join(FORMS)}"
            raise InvalidTypeError(msg)
        if self.kind not in FORMS:
            msg = f"blob kind {self.kind!r:.60} is unknown; expected one of {', '.join(FORMS)}"
            raise InvalidArgumentError(msg)
        if not isinstance(given, Mapping):
            msg = (
                f"the content of a {self.kind} blob is of type {type_name(given)}; expected a map from names to values"
            )
            raise InvalidTypeError(msg)
        if self.tree and not is_digest(self.tree):
            msg = f"tree {self.tree!r:.80} is not the digest of a content tree: 64 hexadecimal digits"
            raise InvalidArgumentError(msg)
        content = normalize({key: value for key, value in given.items() if value is not None}, f"{self.kind} blob")
        assert isinstance(content, dict)
        _check_form(self.kind, content := _redacted(self.kind, content))
        object.__setattr__(self, "content", MappingProxyType(_sorted(content)))

    @property
    def form(self) -> Form:
        """The form of its content."""
        return FORMS[self.kind][str(self.content.get("type", ""))]

    def plain(self) -> dict[str, Any]:
        """Return it as one map: ``kind`` and the fields of its content, and ``tree``."""
        return {"kind": self.kind, **self.content, **({"tree": self.tree} if self.tree else {})}


def blob_of(value: object, what: str) -> Blob:
    """Return what a location is to hold: a blob as it is, a map with a ``kind`` as that, and another map as a configuration.

    Raises:
        InvalidTypeError: it is something else.
        InvalidArgumentError: it does not have the form of its kind.
    """
    if isinstance(value, Blob):
        return value
    as_blob = getattr(value, "as_blob", None)
    if callable(as_blob):
        found = as_blob()
        if isinstance(found, Blob):
            return found
    if isinstance(value, Mapping):
        return Blob(CONFIG, {"hyperparameters": dict(value)})
    msg = (
        f"{what} is of type {type_name(value)}; expected a map of settings, or what git_snapshot(), notebook(), path(), "
        f"query(), configuration(), python_environment() or docker_environment() returns"
    )
    raise InvalidTypeError(msg)


def from_plain(data: object, what: str) -> Blob:
    """Return the blob of which :meth:`Blob.plain` is ``data``.

    Raises:
        InvalidArgumentError: it is not one.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        msg = f"{what} does not say which kind it is; expected a map with 'kind': one of {', '.join(FORMS)}"
        raise InvalidArgumentError(msg)
    content = {key: value for key, value in data.items() if key not in ("kind", "tree")}
    return Blob(data["kind"], content, data.get("tree") or "")


def to_entry(blob: Blob, put: Callable[[BinaryIO], BlobInfo]) -> dict[str, Any]:
    """Return the entry of a blob; ``put`` stores a content that is too long for it."""
    content = dict(blob.content)
    entry: dict[str, Any] = {"kind": blob.kind}
    written = encode(content)
    if len(written) <= INLINE_BYTES:
        entry["content"] = content
    else:
        info = put(io.BytesIO(written))
        entry |= {"digest": info.digest, "size_bytes": info.size_bytes}
        if "type" in content:
            entry["type"] = content["type"]
    if blob.tree:
        entry["tree"] = blob.tree
    if blob.order:
        entry[OBSERVED] = _observed({_ORDER: {name: list(keys) for name, keys in blob.order.items()}}, put)
    return entry


def _observed(observed: dict[str, Any], put: Callable[[BinaryIO], BlobInfo]) -> dict[str, Any]:
    written = encode(observed)
    if len(written) <= INLINE_BYTES:
        return observed
    info = put(io.BytesIO(written))
    return {"digest": info.digest, "size_bytes": info.size_bytes}


def from_entry(entry: Entry, open_blob: Callable[[str], BinaryIO]) -> Blob:
    """Return the blob of an entry, which somebody else may have written.

    Raises:
        IntegrityError: it is not one.
        NotFoundError: the artifact store does not have its content.
    """
    try:
        content: Any = entry.get("content")
        if content is None:
            content = _fetched(entry, entry, open_blob)
        return Blob(entry["kind"], content, entry.get("tree") or "", _order_of(entry, open_blob))
    except (KeyError, InvalidArgumentError) as error:
        raise IntegrityError(_no_entry(entry)) from error


def _fetched(entry: Entry, named: Mapping[str, Any], open_blob: Callable[[str], BinaryIO]) -> Value:
    """Return the value that lies in the blob which a part of an entry names."""
    digest, size = named["digest"], named["size_bytes"]
    if not is_digest(digest) or type(size) is not int or not 0 <= size <= MAX_CONTENT_BYTES:
        raise IntegrityError(_no_entry(entry))
    with open_blob(digest) as stream:
        data = _read(stream, size + 1)
    if len(data) != size:
        raise IntegrityError(_no_entry(entry))
    return decode(data)


def _order_of(entry: Entry, open_blob: Callable[[str], BinaryIO]) -> Mapping[str, Sequence[str]]:
    """Return the order that an entry remembers; none where somebody else observed something else."""
    observed: Any = entry.get(OBSERVED)
    if isinstance(observed, Mapping) and "digest" in observed:
        observed = _fetched(entry, observed, open_blob)
    order = observed.get(_ORDER) if isinstance(observed, Mapping) else None
    return order if isinstance(order, Mapping) and all(map(_is_texts, order.values())) else {}


def _read(stream: BinaryIO, most_bytes: int) -> bytes:
    """Return what a stream holds, at most so many bytes; one may give fewer at once."""
    data = b""
    while len(data) < most_bytes and (chunk := stream.read(most_bytes - len(data))):
        data += chunk
    return data


def _no_entry(entry: Entry) -> str:
    return f"{str(dict(entry))[:120]} is not a blob of a commit: its kind or its content is not what this version knows"


def _check_form(kind: str, content: dict[str, Any]) -> None:
    forms = FORMS[kind]
    type_ = content.get("type", "")
    form = forms.get(type_) if isinstance(type_, str) else None
    if form is None:
        known = ", ".join(forms) if "" not in forms else "no type"
        msg = f"the type of a {kind} blob is {type_!r:.60}; expected {known}"
        raise InvalidArgumentError(msg)
    for name, value in content.items():
        check_key(name, f"a field of a {kind} blob")
        if name in ("kind", "tree"):
            msg = f"a {kind} blob has no field {name!r}, which is said beside its content; choose another name"
            raise InvalidArgumentError(msg)
        if name in form.fields:
            expected, fits = form.fields[name]
            if not fits(value):
                msg = f"{name} of a {kind} blob is {repr(value)[:80]}; expected {expected}"
                raise InvalidArgumentError(msg)
        elif not (form.is_open or name == "type"):
            msg = f"a {kind} blob has no field {name!r:.60}; expected {', '.join(form.fields)}"
            raise InvalidArgumentError(msg)
    names = [name for section in form.by_key if kind == CONFIG for name in content.get(section, {})]
    if len(names) > len(set(names)):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        msg = f"the configuration has {twice!r} more than once; it is a hyperparameter, a range, or a set of values"
        raise InvalidArgumentError(msg)


def _redacted(kind: str, content: dict[Any, Value]) -> dict[str, Any]:
    """Return a content without what is recognized as a secret; settings and names of files are what they are."""
    if kind in (ENVIRONMENT, CODE):
        return redact_value(content)  # type: ignore[return-value]
    if kind == DATA:
        return {key: redact_text(value) if isinstance(value, str) else value for key, value in content.items()}
    return content


def _sorted(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return a value with the keys of its maps in one order, so that what is equal is written alike."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=write_key)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
