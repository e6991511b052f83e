"""Blobs of commits from messages: what a message says, the blob keeps; :mod:`modeldb_v1.shown_blobs` is the way back.

Lists whose elements have names are maps in a blob, and their order stands beside it.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.repositories.blobs import DATA, Blob
from modeldb_v1.shown_blobs import CHOICES, GIT, SETTINGS, version_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
    found = {name: getattr(message, field) for field, name in GIT.items() if getattr(message, field)}
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
    again = version_message(text)
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
        message.hyperparameters, "name", lambda each, name: _setting(each.value, name), f"of {what}", SETTINGS, order
    )
    chosen = _by_name(message.hyperparameter_set, "name", _choice, f"set of {what}", CHOICES, order)
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
        shown: its message, as :func:`~modeldb_v1.shown_blobs.message_of` returns it.
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
