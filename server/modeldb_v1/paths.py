"""Which call a path leads to. A table of its own: a rule of Werkzeug for each of the 552 paths would take a third of a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modeldb_v1.schema import CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_v1.schema import Binding, CallDeclaration

ROOTS = ("/api/v1/modeldb", "/api/v1/uac-proxy", "/v1")
"""What the paths of calls begin with."""
FILES = "ai.verta.artifactstore."
"""The service whose paths take files as they are (``artifact_files.py``)."""


class Match(NamedTuple):
    """What a path leads to, with the fields that it holds."""

    call: CallDeclaration
    binding: Binding
    variables: Mapping[str, str]


def match(method: str, path: str) -> Match | None:
    """Return the call to which a path leads, if any does by this method."""
    method = "GET" if method == "HEAD" else method
    parts = tuple(path.split("/"))
    candidates = _BY_SHAPE.get((method, len(parts)), ())
    fixed = _FIXED.get((method, path))
    if fixed is not None:
        return Match(*fixed, {})
    for pattern, call, binding in candidates:
        if all(
            (theirs.startswith("{") and ours) or ours == theirs for ours, theirs in zip(parts, pattern, strict=True)
        ):
            named = {theirs[1:-1]: ours for ours, theirs in zip(parts, pattern, strict=True) if theirs.startswith("{")}
            return Match(call, binding, named)
    return None


def methods_of(path: str) -> list[str]:
    """Return the methods by which a path leads to a call."""
    return [method for method in ("GET", "POST", "PUT", "DELETE") if match(method, path) is not None]


def _bound() -> Iterator[tuple[str, str, CallDeclaration, Binding]]:
    for call in CALLS.values():
        if not call.service.startswith(FILES):
            for binding in call.bindings:
                for path in binding.paths:
                    yield binding.verb, path, call, binding


_FIXED = {(verb, path): (call, binding) for verb, path, call, binding in _bound() if not binding.variables}
_BY_SHAPE: dict[tuple[str, int], list[tuple[tuple[str, ...], CallDeclaration, Binding]]] = {}
for _verb, _path, _call, _binding in _bound():
    if _binding.variables:
        _parts = tuple(_path.split("/"))
        _BY_SHAPE.setdefault((_verb, len(_parts)), []).append((_parts, _call, _binding))
