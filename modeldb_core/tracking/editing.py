"""The editing half of a run's handle: what may be said of a run also after its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import edits, runs
from modeldb_core.errors import RunFinishedError
from modeldb_core.tracking import usage
from modeldb_core.tracking.containers import execute_within
from modeldb_core.tracking.reader import RunReader

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from modeldb_core.commands.operation import Operation
    from modeldb_core.tracking.registry.models import ModelVersionHandle
    from modeldb_core.tracking.repositories.commits import CommitHandle


class RunEditor(RunReader):
    """What can be said of a run, before and after its end."""

    _names: set[tuple[str, str]]
    """Sections and names of the values that this process has put into the run."""

    def rename(self, name: str) -> None:
        """Give the run another name.

        Raises:
            InvalidArgumentError: the name is empty or longer than 256 characters.
        """
        operation = runs.rename(self.run_id, name)
        self._record(operation)
        self._fields["name"] = operation.entries[0].values["set"]["name"]

    def set_attributes(self, attributes: object) -> None:
        """Record facts about the run that are not settings; otherwise like :meth:`log_hyperparameters`.

        A finished run takes attributes too: what is learned of a model later belongs to its record.
        """
        self._put("attributes", attributes)

    def add_tags(self, *tags: str) -> None:
        """Add labels; those it has already are left alone. A finished run takes tags too."""
        if tags:
            self._record(edits.change_tags("run", self.run_id, add=tags))

    def remove_tags(self, *tags: str) -> None:
        """Take labels away."""
        if tags:
            self._record(edits.change_tags("run", self.run_id, remove=tags))

    def set_tags(self, *tags: str | Iterable[str]) -> None:
        """Put these labels, given one by one or as a list, in the place of those it has.

        Raises:
            InvalidTypeError: something is not text. Labels have no values: for those there is :meth:`set_attributes`.
        """
        given: list[Any] = []
        for tag in tags:
            whole: object = tag
            given += whole if isinstance(whole, Iterable) and not isinstance(whole, (str, Mapping)) else [whole]
        self._record(edits.set_tags("run", self.run_id, given))

    def set_description(self, description: str) -> None:
        """Describe the run in words."""
        self._record(edits.describe("run", self.run_id, description))

    tag, untag, describe = add_tags, remove_tags, set_description  # the words of the command line and the pages

    def comment(self, message: str) -> str:
        """Say something about the run; returns the comment's identifier."""
        operation = edits.comment(self.run_id, message)
        self._record(operation)
        return operation.entity_id

    def note(self, text: str) -> None:
        """Leave word for anyone who reads the run, for example on what could not be recorded.

        Notes often quote exceptions, and those what the program connected to: secrets are taken out, as everywhere.
        """
        self._record(runs.note(self.run_id, text))

    def use_model(self, reference: str | ModelVersionHandle, *, role: str | None = None) -> ModelVersionHandle:
        """Record that the run uses a version of a registered model, and return the version; loading a model does it by itself.

        Args:
            reference: such as ``"churn@champion"`` or ``"churn@v3"``, or a version.
            role: what the run does with it, the key among its ``models``; default: the reference.

        Raises:
            NotFoundError: there is no such model or version; ConflictError: it is deleted.
        """
        from modeldb_core.tracking.registry import models

        version = models.find_version(self.client, reference)
        key = role or (reference if isinstance(reference, str) else version.reference)
        self._record(runs.use_model(self.run_id, key, version.model, version.entity))
        return version

    def log_commit(
        self, commit: CommitHandle | str, locations: Mapping[str, str] | Iterable[str] | None = None
    ) -> None:
        """Record which commit of a repository the run was given; one of each repository, the last one counts.

        Args:
            commit: the commit, or what names it: ``"churn@main"``, ``"churn@3f9a1c2e"``.
            locations: which locations of the commit the run uses, or by what it calls them: ``{"train": "data/train"}``.

        Raises:
            NotFoundError: there is no such commit, or it has nothing at one of the locations.
        """
        from modeldb_core.tracking.repositories.opening import log_commit

        self._record(log_commit(self.client, self.run_id, commit, locations))

    def link_artifacts(self, entries: Mapping[str, Mapping[str, object]]) -> None:
        """Name blobs that are stored already as artifacts of this run; a finished run takes them too.

        Args:
            entries: by path: ``digest`` and ``size_bytes`` as :meth:`Client.put_blob` returned them, ``type``,
                ``media_type``, and anything else that is to be shown beside it.
        """
        self._record(runs.link_artifacts(self.run_id, entries))

    def use_artifact(self, run: RunReader | str, path: str, *, to: str | os.PathLike[str] | None = None) -> Path:
        """Read a file of another run, and record that this run did: the link, and the digest of what was read.

        Args:
            run: the run that has the file: a handle, or its identifier.
            path: of the file among its artifacts, or of a folder, such as ``"model"``.
            to: where it is written; default: a folder of the cache (the setting ``cache_dir``), where a file that was
                fetched before is verified and used again. Do not change what lies there.

        Returns:
            The file, or the folder; every byte has been checked against its digest.

        Raises:
            NotFoundError: there is no such run or artifact; ConflictError: the run is deleted.
            InvalidArgumentError: it is this run itself, or the folder has more than 1,000 files.
            IntegrityError: the stored content does not match its digest.
            RunFinishedError: this run has ended.
        """
        self._check_open()
        found, operation = usage.fetch(self, run, path, to)
        self._record(operation)
        return found

    def unlink_artifacts(self, *names: str) -> None:
        """Take artifacts away from this run. What no other run names either, garbage collection removes later."""
        self._record(runs.unlink_artifacts(self.run_id, names))

    def delete(self, *, recursive: bool = False) -> None:
        """Put the run out of sight, with its comments; :meth:`restore` brings it back, as long as it is not erased.

        `modeldb gc` erases for good what was deleted longer ago than the setting ``restore_window_days``.

        Args:
            recursive: with its child runs; without it, a run that has any is not deleted.

        Raises:
            InvalidArgumentError: it has child runs.
            StoreUnavailableError: the store cannot be asked for them now.
        """
        from modeldb_core.tracking import deletion

        deletion.delete(self.client, "run", self.run_id, recursive=recursive)
        self._entity = None

    def restore(self) -> None:
        """Bring the run back after :meth:`delete`, with what was deleted with it, and the experiment that it lies in.

        Raises:
            ErasedError: it is too late, nothing of it is kept.
        """
        from modeldb_core.tracking import deletion

        deletion.restore(self.client, "run", self.run_id)
        self._entity = None

    def has_logged(self, section: str, key: str) -> bool:
        """Return whether this process has put a value of that name into the run, such as one of its hyperparameters."""
        return (section, key) in self._names or key in self._fields.get(section, ())

    # -- inside -------------------------------------------------------------------------------------------------------

    def _put(self, section: str, values: object) -> None:
        notes: list[str] = []
        checked = self.client.blobs.checked_map(values, section, notes=notes)
        if checked:
            self._names.update((section, key) for key in checked)
            self._record(edits.put_values("run", self.run_id, section, checked, notes))

    def _record(self, operation: Operation, within: Iterable[Operation] = ()) -> None:
        execute_within(self.client, within, operation)

    def _check_open(self) -> None:
        if self._ended:
            msg = (
                f"run {self.name!r} ({self.run_id}) has ended; "
                f"continue it with start_run(run_id=...), or start another one"
            )
            raise RunFinishedError(msg)
