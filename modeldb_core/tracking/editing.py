"""The editing half of a run's handle: what may be said of a run also after its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, RunFinishedError
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.model.entities import new_id
from modeldb_core.model.values import check_key, check_text, normalize
from modeldb_core.runtime.redaction import redact_text
from modeldb_core.tracking import deletion
from modeldb_core.tracking.names import check_name
from modeldb_core.tracking.reader import RunReader

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_NOTE = 1024
"""Characters that are kept of a note."""


class RunEditor(RunReader):
    """What can be said of a run, before and after its end."""

    def rename(self, name: str) -> None:
        """Give the run another name.

        Raises:
            InvalidArgumentError: the name is empty or longer than 256 characters.
        """
        self._update({"set": {"name": check_name(name, "run")}}, ended_too=True)
        self._fields["name"] = name

    def set_attributes(self, attributes: object) -> None:
        """Record facts about the run that are no settings; otherwise like :meth:`log_hyperparameters`.

        A finished run takes attributes too: what is learned of a model later belongs to its record.
        """
        self._put("attributes", attributes, ended_too=True)

    def add_tags(self, *tags: str) -> None:
        """Add labels; those it has already are left alone. A finished run takes tags too."""
        self._update({"add": {"tags": [check_key(tag, "tag") for tag in tags]}}, ended_too=True)

    def remove_tags(self, *tags: str) -> None:
        """Take labels away."""
        self._update({"remove": {"tags": [check_key(tag, "tag") for tag in tags]}}, ended_too=True)

    def set_tags(self, *tags: str | Iterable[str]) -> None:
        """Put these labels, given one by one or as a list, in the place of those it has.

        Raises:
            InvalidTypeError: something is not text. Labels have no values: for those there is :meth:`set_attributes`.
        """
        listed: list[str] = []
        for tag in tags:
            if hasattr(tag, "items"):
                msg = "tags are labels without values; use set_attributes({...}) for names with values"
                raise InvalidTypeError(msg)
            listed += [tag] if isinstance(tag, str) or not isinstance(tag, Iterable) else tag
        self._update({"set": {"tags": list(dict.fromkeys(check_key(tag, "tag") for tag in listed))}}, ended_too=True)

    def set_description(self, description: str) -> None:
        """Describe the run in words."""
        self._update({"set": {"description": check_text(description, "description")}}, ended_too=True)

    tag, untag, describe = add_tags, remove_tags, set_description  # the words of the command line and the pages

    def comment(self, message: str) -> str:
        """Say something about the run; returns the comment's identifier."""
        text: object = message
        if not isinstance(text, str) or not text.strip():
            msg = f"comment {message!r} is not a text with something in it"
            raise InvalidArgumentError(msg)
        comment_id = new_id()
        fields = {"parent_id": self.run_id, "message": message, "author": self.client.actor}
        self.client.log_change(CREATE, "comment", comment_id, fields)
        return comment_id

    def note(self, text: str) -> None:
        """Leave word for whoever reads the run, for example on what could not be recorded.

        Notes often quote exceptions, and those what the program connected to: secrets are taken out, as everywhere.
        """
        shown = redact_text(check_text(text, "note"))[:MAX_NOTE]
        self._update({"add": {"notes": [check_key(shown, "note")]}}, ended_too=True)

    def link_artifacts(self, entries: Mapping[str, Mapping[str, object]]) -> None:
        """Name blobs that are stored already as artifacts of this run; a finished run takes them too.

        Args:
            entries: by path: ``digest`` and ``size_bytes`` as :meth:`Client.put_blob` returned them, ``type``,
                ``media_type``, and anything else that is to be shown beside it.
        """
        checked = {check_key(name, "artifact name"): normalize(entry, name) for name, entry in entries.items()}
        self._update({"put": {"artifacts": checked}}, ended_too=True)

    def unlink_artifacts(self, *names: str) -> None:
        """Take artifacts away from this run. What no other run names either, garbage collection removes later."""
        self._update({"remove": {"artifacts": [check_key(name, "artifact name") for name in names]}}, ended_too=True)

    def delete(self, *, recursive: bool = False) -> None:
        """Put the run out of sight, with its comments; :meth:`restore` brings it back, as long as it is not erased.

        `modeldb gc` erases for good what was deleted longer ago than the setting ``restore_window_days``.

        Args:
            recursive: with its child runs; without it, a run that has any is not deleted.

        Raises:
            InvalidArgumentError: it has child runs.
            StoreUnavailableError: the store cannot be asked for them now.
        """
        deletion.delete(self.client, "run", self.run_id, recursive=recursive)
        self._entity = None

    def restore(self) -> None:
        """Bring the run back after :meth:`delete`, with what was deleted with it, and the experiment that it lies in.

        Raises:
            ErasedError: it is too late, nothing of it is kept.
        """
        deletion.restore(self.client, "run", self.run_id)
        self._entity = None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _put(self, section: str, values: object, *, ended_too: bool = False) -> None:
        notes: list[str] = []
        checked = self.client.blobs.checked_map(values, section, notes=notes)
        if checked:
            said = {"add": {"notes": notes}} if notes else {}
            self._update({"put": {section: checked}, **said}, ended_too=ended_too)

    def _update(self, data: dict[str, Any], *, ended_too: bool = False) -> None:
        if not ended_too:
            self._check_open()
        self.client.log_change(UPDATE, "run", self.run_id, data)

    def _check_open(self) -> None:
        if self._ended:
            msg = (
                f"run {self.name!r} ({self.run_id}) has ended; "
                f"continue it with start_run(run_id=...), or start another one"
            )
            raise RunFinishedError(msg)
