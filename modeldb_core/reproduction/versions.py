"""The versions of data sets that runs refer to, and their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ModelDBError
from modeldb_core.model.entities import DatasetVersion
from modeldb_core.trees import TreeStore

if TYPE_CHECKING:
    from modeldb_core.stores import MetadataStore
    from modeldb_core.trees import Blobs

MAX_FILES = 1000
"""So many files that differ are named, of each data set."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What is known of data sets beside what runs say of them.

    Attributes:
        store: where the versions are.
        blobs: where their trees, and what is kept of them, are.
    """

    store: MetadataStore
    blobs: Blobs

    def of(self, entry: object) -> DatasetVersion | None:
        """Return the version that a run's entry names, if it has the digest that the entry says."""
        version_id = entry.get("dataset_version_id") if isinstance(entry, Mapping) else None
        if not isinstance(version_id, str) or not isinstance(entry, Mapping):
            return None
        try:
            found = self.store.get(DatasetVersion.KIND, version_id)
        except ModelDBError:
            return None
        return found if isinstance(found, DatasetVersion) and found.digest == entry.get("digest", "") else None

    def files(self, version: DatasetVersion | None) -> dict[str, str]:
        """Return the digests of the files of a version by location; none where they are not known."""
        if version is None or not version.tree:
            return {}
        try:
            return {location: digest_of(entry) for location, entry in TreeStore(self.blobs).open(version.tree).items()}
        except ModelDBError:
            return {}

    def differences(self, one: DatasetVersion | None, other: DatasetVersion | None) -> dict[str, tuple[str, str]]:
        """Return by location the digests of the files that differ, "" where there is none: of trees, only that is read."""
        if one is None or other is None or not (one.tree and other.tree):
            return {}
        trees = TreeStore(self.blobs)
        try:
            found = list(islice(trees.open(one.tree).diff(trees.open(other.tree)), MAX_FILES))
        except ModelDBError:
            return {}
        return {each.location: (digest_of(each.before), digest_of(each.after)) for each in found}


def digest_of(entry: Any) -> str:  # noqa: ANN401 - an entry of a tree, or None
    """Return the digest of the file that an entry stands for; "" for none."""
    return str(entry.get("sha256", "")) if isinstance(entry, Mapping) else ""
