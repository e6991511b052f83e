"""The circumstances of a run, as the plugins see them: asked, checked one plugin at a time, and merged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from modeldb_core import plugins
from modeldb_core.errors import ModelDBError
from modeldb_core.model.schema import KINDS
from modeldb_core.runtime.notices import warn

if TYPE_CHECKING:
    from modeldb_core.config import Settings
    from modeldb_core.model.values import Value
    from modeldb_core.tracking.blobs import BlobUploader

SECTIONS = ("code", "environment", "context")
"""The maps of a run that its circumstances are recorded in."""
LIFE_S = 5.0
"""Runs that start within this time share one look at git and the host."""
_SPILL_BYTES = 2048
_HOOK = "modeldb_run_context"


class Circumstances:
    """Asks the plugins for a client."""

    def __init__(self, settings: Settings, blobs: BlobUploader) -> None:
        self._settings = settings
        self._blobs = blobs
        self._asked_at = 0.0
        self._checked: dict[str, dict[str, Value]] | None = None
        self._warned: set[str] = set()

    def sections(self) -> dict[str, dict[str, Value]]:
        """Return what is to be recorded now, by section; where two plugins give one key, the later one's counts.

        What a plugin gives that cannot be recorded is left out with a warning; what the others give stays.
        """
        if self._checked is None or time.monotonic() - self._asked_at > LIFE_S:
            self._checked = self._check(self._ask())
            self._asked_at = time.monotonic()
        return self._checked

    def _check(self, found: Iterable[tuple[str, str, Mapping[str, object]]]) -> dict[str, dict[str, Value]]:
        """Return the answers as they are recorded, large values in the artifact store."""
        merged: dict[str, dict[str, Value]] = {}
        for plugin, section, values in found:
            try:
                checked = self._blobs.checked_map(values, section, limit=_SPILL_BYTES)
            except ModelDBError as error:
                self._warn(
                    f"plugin {plugin} gave in {_HOOK} what cannot be recorded, and that section is left out: {error}"
                )
                continue
            if checked:
                merged.setdefault(section, {}).update(checked)
        return merged

    def _ask(self) -> list[tuple[str, str, Mapping[str, object]]]:
        found = []
        for info, results in plugins.plugin_manager(self._settings).call_each(_HOOK, settings=self._settings):
            for given in results:
                if not isinstance(given, Mapping):
                    self._warn(
                        f"plugin {info} returned a {type(given).__name__} in {_HOOK}, which is left out; expected a map from"
                        f" the sections {', '.join(SECTIONS)} to maps"
                    )
                    continue
                for section, values in given.items():
                    if section not in SECTIONS:
                        self._warn(f"plugin {info} returned in {_HOOK} {_unknown(section)}")
                    elif values:
                        found.append((str(info), section, values))
        return found

    def _warn(self, message: str) -> None:
        if message not in self._warned:  # once, and not again for every run
            self._warned.add(message)
            warn(message)


def _unknown(section: Any) -> str:  # noqa: ANN401 - what a plugin returned
    """Say that there is no such section, what there is, and what to do."""
    close = get_close_matches(section, SECTIONS, 1) if isinstance(section, str) else []
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    field = KINDS["run"].fields.get(section) if isinstance(section, str) else None
    what = f"the section {section!r}, which " + (
        "is not for the circumstances of a run" if field else f"no run has{hint}"
    )
    return (
        f"{what}, and it is left out; known: {', '.join(SECTIONS)}. Put the values into one of these, or log them to the run"
        f" in modeldb_run_started, for example with run.set_attributes"
    )
