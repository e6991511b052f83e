"""Blobs of commits as messages.

Blobs that other programs committed are shown as far as messages have words for them; what has none is written as text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.values import json_text, to_json
from modeldb_core.repositories.blobs import CODE, DATA, ENVIRONMENT, Blob
from modeldb_v1.schema import message_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from modeldb_core.trees import Tree

BLOB = message_class("versioning.Blob")
MAX_COMPONENTS = 100_000
"""Files of one blob that a message lists."""
GIT = {"repo": "remote", "hash": "commit", "branch": "branch", "tag": "tag"}
"""From the fields of a message on a state of git to those of a blob."""
SETTINGS, CHOICES = "hyperparameters", "hyperparameter_set"
"""The fields of a configuration's message, and in the order of a blob what they list."""
_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(.*)", re.DOTALL)
_REQUIREMENT = re.compile(r"(\D*)(.*)", re.DOTALL)
_INT64 = range(-(2**63), 2**63)


def message_of(blob: Blob, open_tree: Callable[[str], Tree]) -> Any:  # noqa: ANN401 - a message
    """Return the message that shows a blob; ``open_tree`` opens the tree of its files.

    Raises:
        InvalidArgumentError: it has more files than a message lists.
    """
    message: Any = BLOB()
    if blob.kind == DATA:
        _show_dataset(message.dataset, blob, open_tree)
    elif blob.kind == CODE:
        _show_code(message.code, blob)
    elif blob.kind == ENVIRONMENT:
        _show_environment(message.environment, blob)
    else:
        _show_config(message.config, blob)
    return message


def _ordered(blob: Blob, section: str, place: str | None = None) -> Iterator[tuple[str, Any]]:
    """Iterate over a map of a blob in the order in which somebody listed it, else sorted."""
    found: Any = blob.content.get(section)
    yield from _in_order(found if isinstance(found, dict) else {}, blob.order.get(place or section, ()))


def _in_order(found: Mapping[str, Any], order: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for name in dict.fromkeys((*order, *sorted(found))):
        if name in found:
            yield name, found[name]


def _show_code(message: Any, blob: Blob) -> None:  # noqa: ANN401
    content: Mapping[str, Any] = blob.content
    if content["type"] == "git":
        _show_git(message.git, content)
        return
    message.notebook.SetInParent()
    if isinstance(content.get("git"), dict):
        _show_git(message.notebook.git_repo, content["git"])
    if "components" in content:
        message.notebook.path.SetInParent()
        for path, component in _ordered(blob, "components"):
            _show_component(message.notebook.path.components.add(), path, component)
    elif content.get("path"):
        _show_component(message.notebook.path.components.add(), content["path"], content)


def _show_git(message: Any, content: Mapping[str, Any]) -> None:  # noqa: ANN401
    message.SetInParent()
    for field, name in GIT.items():
        setattr(message, field, str(content.get(name) or ""))
    message.is_dirty = bool(content.get("dirty"))


def _show_dataset(message: Any, blob: Blob, open_tree: Callable[[str], Tree]) -> None:  # noqa: ANN401
    is_s3 = blob.content["type"] == "s3"
    shown = message.s3 if is_s3 else message.path
    shown.SetInParent()
    for path, component in _files(blob, open_tree):
        added = shown.components.add()
        _show_component(added.path if is_s3 else added, path, component)


def _files(blob: Blob, open_tree: Callable[[str], Tree]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Iterate over the files that data consists of; what has none is shown as one, by where it was and its digest."""
    content: Mapping[str, Any] = blob.content
    if "components" in content:
        yield from _ordered(blob, "components")
        return
    source = str(content.get("source") or content.get("query") or content["type"])
    if not blob.tree or content["type"] not in ("path", "s3"):
        yield source, {"sha256": content.get("digest"), "size_bytes": content.get("size_bytes")}
        return
    tree = open_tree(blob.tree)
    if tree.count > MAX_COMPONENTS:
        msg = f"{source!r:.200} has {tree.count:,} files; this API lists at most {MAX_COMPONENTS:,}, the other one all of them"
        raise InvalidArgumentError(msg)
    for location, entry in tree.items():
        is_itself = tree.count == 1 and source.endswith(f"/{location}")
        observed = entry.get("observed")
        changed = observed.get("modified_at") if isinstance(observed, dict) else None
        yield (
            source if is_itself else f"{source.rstrip('/')}/{location}",
            {**entry, "modified_at": changed // 1000 if isinstance(changed, int) else 0},
        )


def _show_component(message: Any, path: str, component: Mapping[str, Any]) -> None:  # noqa: ANN401
    message.path = path
    message.size = _count(component.get("size_bytes"))
    message.last_modified_at_source = _count(component.get("modified_at"))
    message.sha256 = _text(component.get("sha256"))
    message.md5 = _text(component.get("md5"))


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**64 else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _show_environment(message: Any, blob: Blob) -> None:  # noqa: ANN401
    content: Mapping[str, Any] = blob.content
    if content["type"] == "docker":
        message.docker.SetInParent()
        for name in ("repository", "tag", "sha"):
            setattr(message.docker, name, content.get(name, ""))
    elif content["type"] == "python":
        _show_python(message.python, blob)
    for name, value in _ordered(blob, "variables"):
        message.environment_variables.add(name=name, value=value)
    message.command_line.extend(content.get("command", ()))
    message.SetInParent()


def _show_python(message: Any, blob: Blob) -> None:  # noqa: ANN401
    message.SetInParent()
    version = version_message(str(blob.content.get("python", "")))
    if version is not None:
        message.version.CopyFrom(version)
    installed = "requirements" if "requirements" in blob.content else "packages"
    for section, listed in ((installed, message.requirements), ("constraints", message.constraints)):
        for library, wanted in _ordered(blob, section):
            constraint, text = ("==", wanted) if section == "packages" else _requirement(wanted)
            added = listed.add(library=library, constraint=constraint)
            if text:
                added.version.CopyFrom(version_message(text) or _only_suffix(text))


def _requirement(text: str) -> tuple[str, str]:
    match = _REQUIREMENT.fullmatch(text)
    assert match is not None
    return match[1], match[2]


def version_message(text: str) -> Any:  # noqa: ANN401 - a message
    """Return a version that begins with a number as a message, ``None`` where it does not."""
    match = _VERSION.fullmatch(text)
    if match is None or max(numbers := [int(part or 0) for part in match.groups()[:3]]) >= 2**31:
        return None
    version = message_class("versioning.VersionEnvironmentBlob")
    return version(major=numbers[0], minor=numbers[1], patch=numbers[2], suffix=match[4])


def _only_suffix(text: str) -> Any:  # noqa: ANN401 - a message
    return message_class("versioning.VersionEnvironmentBlob")(suffix=text)


def _show_config(message: Any, blob: Blob) -> None:  # noqa: ANN401
    message.SetInParent()
    for name, value in _ordered(blob, "hyperparameters", SETTINGS):
        added = message.hyperparameters.add(name=name)
        _show_value(added.value, value)
    content: Mapping[str, Any] = blob.content
    chosen = {**content.get("ranges", {}), **content.get("sets", {})}
    for name, value in _in_order(chosen, blob.order.get(CHOICES, ())):
        added = message.hyperparameter_set.add(name=name)
        if isinstance(value, dict):
            for part in ("begin", "end", "step"):
                _show_value(getattr(added.continuous, f"interval_{part}"), value.get(part, 0))
        else:
            for each in value:
                _show_value(added.discrete.values.add(), each)


def _show_value(message: Any, value: object) -> None:  # noqa: ANN401
    """Show a setting: maps, lists and what else messages have no word for as the JSON text of it."""
    if isinstance(value, str):
        message.string_value = value
    elif isinstance(value, float):
        message.float_value = value
    elif type(value) is int and value in _INT64:
        message.int_value = value
    elif type(value) is int:
        message.string_value = str(value)
    else:
        message.string_value = json_text(to_json(value))  # type: ignore[arg-type]
