"""The parts of a blob by which it is compared and merged: one setting, one package, one variable, one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from modeldb_core.model.values import Value, encode
from modeldb_core.repositories.blobs import CONFIG, Blob

if TYPE_CHECKING:
    from collections.abc import Mapping

Path: TypeAlias = tuple[str, ...]
"""Where a part is: ``("optimizer", "lr")`` of a configuration, ``("packages", "numpy")`` of an environment."""
_WHOLES_IN = "hyperparameters"


class Part(NamedTuple):
    """The value of a part, and the section of the content in which it stands."""

    section: str
    value: Any

    @property
    def written(self) -> bytes:
        """Its written form: parts are equal where these are; types count, so 1 is not 1.0, and NaN is NaN."""
        return encode([self.section, self.value])


def parts_of(blob: Blob | None) -> dict[Path, Part]:
    """Return the parts of a blob; none of none.

    Maps among the settings of a configuration are gone into: ``{"optimizer": {"lr": 0.1}}`` has the part ``optimizer.lr``.
    """
    found: dict[Path, Part] = {}
    if blob is None:
        return found
    for section, value in blob.content.items():
        if section not in blob.form.by_key or not isinstance(value, dict):
            found[(section,)] = Part(section, value)
            continue
        for key, item in value.items():
            path = (key,) if blob.kind == CONFIG else (section, key)
            if section == _WHOLES_IN:
                found.update((inner, Part(section, leaf)) for inner, leaf in _leaves(path, item))
            else:
                found[path] = Part(section, item)
    if blob.tree:
        found[("tree",)] = Part("tree", blob.tree)
    return found


def _leaves(path: Path, value: Value) -> list[tuple[Path, Value]]:
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        return [leaf for key, item in value.items() for leaf in _leaves((*path, key), item)]
    return [(path, value)]


def assembled(kind: str, parts: Mapping[Path, Part]) -> Blob:
    """Return the blob that has these parts; the reverse of :func:`parts_of`."""
    content: dict[str, Any] = {}
    tree = ""
    for path, part in parts.items():
        if part.section == "tree" and path == ("tree",):
            tree = part.value
        elif path == (part.section,) and kind != CONFIG:
            content[part.section] = part.value
        else:
            place = content.setdefault(part.section, {})
            for key in (path if kind == CONFIG else path[1:])[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = part.value
    return Blob(kind, content, tree)


def text_of(path: Path) -> str:
    """Return a path as people read it: ``optimizer.lr``."""
    return ".".join(path)
