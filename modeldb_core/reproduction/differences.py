"""How two runs differ: code, data, environment, hyperparameters, results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.log.display import is_own
from modeldb_core.log.json_documents import json_value
from modeldb_core.reproduction.patches import split_patch
from modeldb_core.reproduction.values import ABSENT, compare_maps, differ, same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from modeldb_core.model.entities import DatasetVersion, Run
    from modeldb_core.reproduction.values import Resolve
    from modeldb_core.reproduction.versions import Versions

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
TITLES: Mapping[str, str] = {
    "code": "Code",
    "files": "Files that differ between the commits",
    "uncommitted": "Uncommitted changes",
    "data": "Data",
    "data_files": "Files of the data",
    "environment": "Environment",
    "packages": "Packages",
    "hyperparameters": "Hyperparameters",
    "results": "Results",
    "artifacts": "Artifacts",
    "attributes": "Attributes",
    "machine": "Machine and command",
}
"""The sections of a comparison, in their order."""
_OF_MAPS = {"datasets": "data", "metrics": "results", "context": "machine"}
"""The sections of maps that are not called as they are."""
_PACKAGES = "packages."
_LEFT_OUT = {"code": ("diff", "diff_bytes"), "machine": ("process_id",)}
"""Keys that say nothing: the patch is compared file by file."""
_AGGREGATES = ("count", "minimum", "maximum", "mean")
_OF_DATA = ("name", "dataset_id", "dataset_version_id", "version", "digest", "kind", "shape", "size_bytes", "origin")

Files = Mapping[str, tuple[str, str]]
Pair = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs under one key.

    Attributes:
        key: such as the name of a hyperparameter, of a package, or the path of a file.
        first: the value of the first run, :data:`~modeldb_core.reproduction.values.ABSENT` where it has none.
        second: that of the second run.
    """

    key: str
    first: Any
    second: Any

    @property
    def change(self) -> str:
        """From the first run to the second: added, removed or changed."""
        return ADDED if self.first is ABSENT else REMOVED if self.second is ABSENT else CHANGED

    @property
    def difference(self) -> float | None:
        """The second number less the first; ``None`` where one of them is no number."""
        if not (_is_number(self.first) and _is_number(self.second)):
            return None
        return float(self.second) - float(self.first)

    def document(self) -> dict[str, Any]:
        """Return it as JSON data; a value that is not there is left out."""
        values = {"first": self.first, "second": self.second, "difference": self.difference}
        shown = {name: json_value(value) for name, value in values.items() if value is not ABSENT and value is not None}
        return {"key": self.key, "change": self.change, **shown}


@dataclass(frozen=True, slots=True)
class Section:
    """One aspect of two runs.

    Attributes:
        name: one of :data:`TITLES`.
        changes: what differs.
        same: how many keys do not.
        note: what could not be compared, and why.
    """

    name: str
    changes: tuple[Difference, ...]
    same: int = 0
    note: str = ""

    @property
    def title(self) -> str:
        """Its name for people."""
        return TITLES[self.name]

    def document(self) -> dict[str, Any]:
        """Return it as JSON data."""
        changes = [each.document() for each in self.changes]
        return {"name": self.name, "title": self.title, "changes": changes, "same": self.same, "note": self.note}


@dataclass(frozen=True, slots=True)
class RunDiff:
    """How a second run differs from a first one.

    ``diff["packages"].changes`` are the differences of one section; :data:`TITLES` names the sections.
    """

    first: Run
    second: Run
    sections: tuple[Section, ...]

    @property
    def differs(self) -> bool:
        """Whether anything differs."""
        return any(section.changes for section in self.sections)

    def __getitem__(self, name: str) -> Section:
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    def __iter__(self) -> Iterator[Section]:
        return iter(self.sections)

    def document(self) -> dict[str, Any]:
        """Return it as JSON data."""
        first, second = ({"run_id": run.entity_id, "name": run.name} for run in (self.first, self.second))
        sections = [section.document() for section in self.sections]
        return {"first": first, "second": second, "differs": self.differs, "sections": sections}


def compare_runs(
    first: Run,
    second: Run,
    resolve: Resolve,
    versions: Versions | None = None,
    changed_files: Callable[[str, str], Files | None] | None = None,
) -> RunDiff:
    """Compare two runs.

    What ModelDB measured by itself, such as durations, is no result and is left out.

    Args:
        first: the run that the other one is compared with.
        second: the other run.
        resolve: reads values that were moved to the artifact store.
        versions: knows the versions of data sets: without it neither their numbers nor their files are compared.
        changed_files: returns by path how files differ between two commits, as digests of either state ("" where there
            is none), ``None`` where the commits are not known; without it files are not compared.
    """
    rows: dict[str, dict[str, Pair]] = {name: {} for name in TITLES}
    for row in compare_maps((first, second), resolve):
        name, key = _place(row.section, row.key)
        if name in rows and not _is_left_out(name, key):
            rows[name][key] = (row.values[0], row.values[1])
    rows["results"] |= _summaries(first, second)
    rows["data"], rows["data_files"] = _data(first, second, versions)
    rows["uncommitted"], note = _patches(first, second, resolve)
    notes = {"uncommitted": note}
    rows["files"], notes["files"] = _files(first, second, changed_files)
    sections = (_section(name, values, notes.get(name, "")) for name, values in rows.items())
    return RunDiff(first, second, tuple(sections))


def _place(section: str, key: str) -> tuple[str, str]:
    if section == "environment" and key.startswith(_PACKAGES):
        return "packages", key.removeprefix(_PACKAGES)
    return _OF_MAPS.get(section, section), key


def _is_left_out(name: str, key: str) -> bool:
    if name == "data":  # compared role by role
        return True
    return key in _LEFT_OUT.get(name, ()) or is_own(key)


def _section(name: str, values: Mapping[str, tuple[Any, Any]], note: str) -> Section:
    changes = tuple(Difference(key, *pair) for key, pair in values.items() if differ(pair))
    return Section(name, changes, len(values) - len(changes), note)


def _summaries(first: Run, second: Run) -> dict[str, Pair]:
    """Return what is known of the series that both have."""
    keys = (key for key in first.series if key in second.series and not is_own(key))
    return {
        f"{key}.{name}": (getattr(first.series[key], name), getattr(second.series[key], name))
        for key in keys
        for name in _AGGREGATES
    }


def _data(first: Run, second: Run, versions: Versions | None) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Return the data sets by role, and the files of those that differ. Those of one digest are the same, however called."""
    found: dict[str, Pair] = {}
    files: dict[str, Pair] = {}
    for role in dict.fromkeys((*first.datasets, *second.datasets)):
        entries = [run.datasets.get(role, ABSENT) for run in (first, second)]
        digests = [entry.get("digest") if isinstance(entry, Mapping) else None for entry in entries]
        is_same = digests[0] == digests[1] if all(digests) else same(*entries)
        known = [None if versions is None else versions.of(entry) for entry in entries]
        pair = [_shown_data(entry, version) for entry, version in zip(entries, known, strict=True)]
        found[role] = (pair[0], pair[0]) if is_same else (pair[0], pair[1])
        if versions is not None and not is_same:
            differing = versions.differences(known[0], known[1])
            files |= {f"{role}: {path}": (one or ABSENT, other or ABSENT) for path, (one, other) in differing.items()}
    return found, files


def _shown_data(entry: Any, version: DatasetVersion | None) -> Any:  # noqa: ANN401 - what a run says of a data set
    if not isinstance(entry, Mapping):
        return entry
    number = {"version": version.version} if version is not None and version.version else {}
    return {**{key: entry[key] for key in _OF_DATA if key in entry}, **number}


def _patches(first: Run, second: Run, resolve: Resolve) -> tuple[dict[str, Pair], str]:
    """Return the files with uncommitted changes, each with how many lines; and what of them was not recorded."""
    texts = [resolve(run.code.get("diff", "")) for run in (first, second)]
    patches = [split_patch(text) if isinstance(text, str) else {} for text in texts]
    found: dict[str, Pair] = {}
    for path in dict.fromkeys(path for of_run in patches for path in of_run):
        shown = [of_run[path].summary if path in of_run else ABSENT for of_run in patches]
        found[path] = (shown[0], shown[1])
    return found, "; ".join(_gaps(((first, texts[0]), (second, texts[1]))))


def _gaps(runs: Iterable[tuple[Run, object]]) -> Iterator[str]:
    for run, text in runs:
        if not isinstance(text, str):
            yield f"the changes of {run.name} cannot be read from the artifact store"
        if run.code.get("diff_truncated"):
            yield f"the changes of {run.name} were too long and are recorded in part"
        if hidden := run.code.get("diff_redacted"):
            yield f"{hidden} secrets are hidden in the changes of {run.name}"


def _files(
    first: Run, second: Run, changed_files: Callable[[str, str], Files | None] | None
) -> tuple[dict[str, Pair], str]:
    commits = [run.code.get("commit") for run in (first, second)]
    if not all(isinstance(commit, str) for commit in commits) or commits[0] == commits[1]:
        return {}, ""
    found = None if changed_files is None else changed_files(str(commits[0]), str(commits[1]))
    if found is None:
        return {}, "the commits are not in a repository that is at hand, so their files are not compared"
    return {path: (pair[0] or ABSENT, pair[1] or ABSENT) for path, pair in found.items()}, ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def text_rows(section: Section) -> Sequence[Sequence[Any]]:
    """Return a row for each difference: key, change, and the two values; of data sets name and digest."""
    shown = _name_and_digest if section.name == "data" else lambda value: value
    return [
        (each.key, each.change, *("" if value is ABSENT else shown(value) for value in (each.first, each.second)))
        for each in section.changes
    ]


def _name_and_digest(entry: Any) -> Any:  # noqa: ANN401 - what a run says of a data set
    if not isinstance(entry, Mapping):
        return entry
    number = f"@v{entry['version']}" if "version" in entry else ""
    return f"{entry.get('name', '')}{number} ({str(entry.get('digest', ''))[:12] or 'no digest'})"
