"""Hyperparameters of any type, as values that can be stored and searched: never cut, never lost, never an error."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from modeldb_core.model.values import MAX_KEY_LENGTH
from modeldb_core.tracking.description.plain import Plain, described, type_name

if TYPE_CHECKING:
    from modeldb_core.tracking import RunHandle

__all__ = ["described", "fitting_key", "type_name", "typed", "typed_map"]


def typed_map(parameters: Any) -> tuple[dict[str, Any], list[str]]:  # noqa: ANN401 - a map, a Namespace, a configuration
    """Return hyperparameters by name, and those names that had to be changed, as they were given.

    What is not a map at all stands under ``"hyperparameters"``.
    """
    value = typed(parameters)
    if not isinstance(value, dict) or "type" in value:
        return {"hyperparameters": value}, []
    names = {key: fitting_key(key) for key in value}
    return {names[key]: item for key, item in value.items()}, [key for key, name in names.items() if key != name]


def fitting_key(key: object) -> str:
    """Return ``key`` as a name that every store takes; one that cannot be kept is told apart by its digest."""
    text = str(key).replace("\0", "␀").encode("utf-8", "replace").decode()
    if len(text) > MAX_KEY_LENGTH:
        return f"{text[:1000]}…{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return text or "(no name)"


def note_on_names(what: str, first: str) -> str:
    """Return the note that says so where names were changed."""
    given = f"{first[:40]!r}… ({len(first):,} characters)" if len(first) > 40 else repr(first)
    return f"Names of {what} that cannot be stored were changed: {given} is {fitting_key(first)[-60:]!r}"


def typed(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return ``value`` as one that can be stored; what cannot be is described by its ``type`` and more."""
    return Plain(lenient=True).value(value)


class Parameters:
    """The hyperparameters of a run. Those that it was trained with are not replaced by those of a model that tests it."""

    def __init__(self) -> None:
        self.trained: dict[str, Any] = {}

    def log(self, run: RunHandle, values: dict[str, Any], *, replace: bool) -> None:
        """Record ``values``; those that differ and are not to ``replace`` what is known, as an attribute."""
        if replace:
            self.trained |= values
        others = {key: value for key, value in values.items() if self.trained.get(key, value) != value}
        if others:
            run.set_attributes({"evaluated_with": others})
        new = values if replace else {key: value for key, value in values.items() if key not in self.trained}
        if new:
            run.log_hyperparameters(new)
