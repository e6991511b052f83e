"""Blobs of commits as messages, and back.

What a message says, the blob keeps: lists whose elements have names are maps in a blob, and their order stands beside it.
Blobs that other programs committed are shown as far as messages have words for them; what has none is written as text.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

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
_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(.*)", re.DOTALL)
_REQUIREMENT = re.compile(r"(\D*)(.*)", re.DOTALL)
_GIT = {"repo": "remote", "hash": "commit", "branch": "branch", "tag": "tag"}
_INT64 = range(-(2**63), 2**63)
_SETTINGS, _CHOICES = "hyperparameters", "hyperparameter_set"
"""The fields of a configuration's message, and in the order of a blob what they list."""


# -- from messages ----------------------------------------------------------------------------------------------------


def blob_from(message: Any, what: str) -> Blob:  # noqa: ANN401 - a message
    """Return the blob that a message is.

    Args:
        message: ``ai.verta.modeldb.versioning.Blob``.
        what: which one it is, for errors.

    Raises:
        InvalidArgumentError: it is of no kind, or something in it cannot be.
    """
    kind = message.WhichOneof("content")
    if kind is None:
        msg = f"{what} says nothing: expected one of code, config, dataset and environment"
        raise InvalidArgumentError(msg)
    order: dict[str, list[str]] = {}
    content = _READERS[kind](getattr(message, kind), what, order)
    unsorted = {name: keys for name, keys in order.items() if keys != sorted(keys)}
    return Blob(DATA if kind == "dataset" else kind, content, order=unsorted)


def _code(message: Any, what: str, order: dict[str, list[str]]) -> dict[str, Any]:  # noqa: ANN401
    form = message.WhichOneof("content")
    if form == "git":
        if not message.git.repo:
            _refuse_empty(what, "the repo of git")
        return {"type": "git", **_git(message.git)}
    if form is None:
        _refuse_empty(what, "git or notebook")
    notebook = message.notebook
    content: dict[str, Any] = {"type": "notebook"}
    if notebook.HasField("git_repo"):
        content["git"] = _git(notebook.git_repo)
    if notebook.HasField("path"):
        components = _components(notebook.path.components, what, order)
        only = next(iter(components.items()), None) if len(components) == 1 else None
        content |= {"components": components} if only is None else {"path": only[0], **only[1]}
    return content


def _git(message: Any) -> dict[str, Any]:  # noqa: ANN401
    found = {name: getattr(message, field) for field, name in _GIT.items() if getattr(message, field)}
    return {**found, "dirty": message.is_dirty}


def _dataset(message: Any, what: str, order: dict[str, list[str]]) -> dict[str, Any]:  # noqa: ANN401
    form = message.WhichOneof("content")
    if form is None:
        _refuse_empty(what, "path or s3")
    given = getattr(message, form).components
    if not given:
        _refuse_empty(what, f"the components of {form}")
    listed = [each.path for each in given] if form == "s3" else given
    return {"type": form, "components": _components(listed, what, order)}


def _components(listed: Iterable[Any], what: str, order: dict[str, list[str]]) -> dict[str, Any]:
    return _by_name(listed, "path", _component, f"component of {what}", "components", order)


def _component(message: Any, _: str) -> dict[str, Any]:  # noqa: ANN401
    found = {
        "size_bytes": message.size,
        "modified_at": message.last_modified_at_source,
        "sha256": message.sha256,
        "md5": message.md5,
    }
    return {name: value for name, value in found.items() if value}


def _environment(message: Any, what: str, order: dict[str, list[str]]) -> dict[str, Any]:  # noqa: ANN401
    form = message.WhichOneof("content")
    content: dict[str, Any] = {"type": form or "variables"}
    if form == "docker":
        fields = ("repository", "tag", "sha")
        content |= {name: value for name in fields if (value := getattr(message.docker, name))}
    elif form == "python":
        if message.python.HasField("version"):
            content["python"] = _version_text(message.python.version, f"the version of python in {what}")
        for name in ("requirements", "constraints"):
            listed = getattr(message.python, name)
            found = _by_name(listed, "library", _requirement_text, f"{name[:-1]} of {what}", name, order)
            content |= {name: found} if found else {}
    variables = _by_name(
        message.environment_variables, "name", lambda each, _: each.value, f"variable of {what}", "variables", order
    )
    if variables:
        content["variables"] = variables
    if message.command_line:
        content["command"] = list(message.command_line)
    return content


def _version_text(message: Any, what: str) -> str:  # noqa: ANN401
    text = f"{message.major}.{message.minor}.{message.patch}{message.suffix}"
    again = _version(text)
    if again is None or again != message:
        msg = f"{what} is {text!r:.80}; expected numbers from 0 on, and a suffix that does not begin with a digit"
        raise InvalidArgumentError(msg)
    return text


def _requirement_text(message: Any, what: str) -> str:  # noqa: ANN401
    version = _version_text(message.version, f"the version of the {what}") if message.HasField("version") else ""
    if re.search(r"\d", message.constraint):
        msg = (
            f"the constraint of the {what} is {message.constraint!r:.80}; expected one such as == or >=, without digits"
        )
        raise InvalidArgumentError(msg)
    return f"{message.constraint}{version}"


def _config(message: Any, what: str, order: dict[str, list[str]]) -> dict[str, Any]:  # noqa: ANN401
    settings = _by_name(
        message.hyperparameters, "name", lambda each, name: _setting(each.value, name), f"of {what}", _SETTINGS, order
    )
    chosen = _by_name(message.hyperparameter_set, "name", _choice, f"set of {what}", _CHOICES, order)
    content = {
        "hyperparameters": settings,
        "ranges": {name: value for name, value in chosen.items() if isinstance(value, dict)},
        "sets": {name: value for name, value in chosen.items() if isinstance(value, list)},
    }
    return {name: value for name, value in content.items() if value}


def _setting(message: Any, what: str) -> int | float | str:  # noqa: ANN401
    form = message.WhichOneof("value")
    if form is None:
        _refuse_empty(f"hyperparameter {what}", "a value")
    value: int | float | str = getattr(message, form)
    return _shortest(value) if isinstance(value, float) else value


def _shortest(value: float) -> float:
    """Return the number with the fewest digits that is this one in 32 bits: 0.1, not 0.10000000149011612."""
    for digits in range(6, 9):
        shorter = float(f"{value:.{digits}g}")
        if abs(shorter) < 3.4e38 and struct.pack("f", shorter) == struct.pack("f", value):
            return shorter
    return value


def _choice(message: Any, what: str) -> dict[str, Any] | list[Any]:  # noqa: ANN401
    form = message.WhichOneof("value")
    if form is None:
        _refuse_empty(f"hyperparameter {what}", "continuous or discrete")
    if form == "discrete":
        if not message.discrete.values:
            _refuse_empty(f"hyperparameter {what}", "values")
        return [_setting(each, what) for each in message.discrete.values]
    span = {}
    for name in ("begin", "end", "step"):
        if not message.continuous.HasField(f"interval_{name}"):
            _refuse_empty(f"hyperparameter {what}", f"interval_{name}")
        span[name] = _setting(getattr(message.continuous, f"interval_{name}"), what)
        if isinstance(span[name], str):
            msg = f"interval_{name} of the hyperparameter {what} is {span[name]!r:.80}; expected a number"
            raise InvalidArgumentError(msg)
    return span


def _by_name(
    listed: Iterable[Any],
    field: str,
    read: Callable[[Any, str], Any],
    what: str,
    place: str,
    order: dict[str, list[str]],
) -> dict[str, Any]:
    """Return the elements of a list by what they are called, and note their order."""
    elements = list(listed)
    names = [getattr(each, field) for each in elements]
    if not all(names):
        _refuse_empty(f"a {what}", f"its {field}")
    if len(names) > len(set(names)):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        msg = f"the {what} {twice!r:.80} is there more than once; expected each {field} once"
        raise InvalidArgumentError(msg)
    if names:
        order[place] = names
    return {name: read(each, f"{name!r:.80} {what}") for name, each in zip(names, elements, strict=True)}


def _refuse_empty(what: str, field: str) -> NoReturn:
    msg = f"{what} does not say what it is: {field} is missing"
    raise InvalidArgumentError(msg)


_READERS = {"code": _code, "dataset": _dataset, "environment": _environment, "config": _config}


def carried(there: Blob, shown: Any, sent: Blob) -> Blob:  # noqa: ANN401 - a message
    """Return a blob with what somebody changed in the message that they were shown of it.

    A message has no words for all that a blob of ours may hold, such as maps within settings: that stays as it was.

    Args:
        there: the blob.
        shown: its message, as :func:`message_of` returns it.
        sent: the blob that was sent in its place.
    """
    try:
        before = blob_from(shown, "the blob")
    except InvalidArgumentError:  # a message that clients may not send: take what they did send
        return sent
    if before == sent:
        return there
    if there.form is not sent.form or there.form.is_whole:
        return sent
    content: dict[str, Any] = dict(there.content)
    for section in {**before.content, **sent.content}:
        old: Any = before.content.get(section)
        new: Any = sent.content.get(section)
        if section in content and isinstance(old, dict) and isinstance(new, dict):
            kept = {key: value for key, value in content[section].items() if key in new}
            changed = {key: value for key, value in new.items() if old.get(key) != value or key not in kept}
            content[section] = {**kept, **changed}
        elif old != new:
            content[section] = new
    return Blob(there.kind, {name: value for name, value in content.items() if value is not None}, order=sent.order)


# -- to messages ------------------------------------------------------------------------------------------------------


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
    for field, name in _GIT.items():
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
    version = _version(str(blob.content.get("python", "")))
    if version is not None:
        message.version.CopyFrom(version)
    installed = "requirements" if "requirements" in blob.content else "packages"
    for section, listed in ((installed, message.requirements), ("constraints", message.constraints)):
        for library, wanted in _ordered(blob, section):
            constraint, text = ("==", wanted) if section == "packages" else _requirement(wanted)
            added = listed.add(library=library, constraint=constraint)
            if text:
                added.version.CopyFrom(_version(text) or _only_suffix(text))


def _requirement(text: str) -> tuple[str, str]:
    match = _REQUIREMENT.fullmatch(text)
    assert match is not None
    return match[1], match[2]


def _version(text: str) -> Any:  # noqa: ANN401 - a message
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
    for name, value in _ordered(blob, "hyperparameters", _SETTINGS):
        added = message.hyperparameters.add(name=name)
        _show_value(added.value, value)
    content: Mapping[str, Any] = blob.content
    chosen = {**content.get("ranges", {}), **content.get("sets", {})}
    for name, value in _in_order(chosen, blob.order.get(_CHOICES, ())):
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
