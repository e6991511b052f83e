"""The conformance suite of metadata stores."""

from __future__ import annotations

from modeldb_core.testing.applying import ApplyTests
from modeldb_core.testing.datasets import DatasetTests
from modeldb_core.testing.deciding import DecisionTests
from modeldb_core.testing.entities import EntityTests
from modeldb_core.testing.erasing import ErasureTests
from modeldb_core.testing.finding import FindTests
from modeldb_core.testing.grouping import GroupTests
from modeldb_core.testing.lasting import LastingTests
from modeldb_core.testing.lineage import LineageTests
from modeldb_core.testing.linking import LinkTests
from modeldb_core.testing.paging import PageTests
from modeldb_core.testing.registering import RegistryTests
from modeldb_core.testing.repositories import RepositoryTests
from modeldb_core.testing.scoping import ScopeTests
from modeldb_core.testing.series import SeriesTests


class MetadataStoreTests(
    ApplyTests,
    DecisionTests,
    DatasetTests,
    ErasureTests,
    EntityTests,
    SeriesTests,
    FindTests,
    LinkTests,
    LineageTests,
    RegistryTests,
    RepositoryTests,
    ScopeTests,
    PageTests,
    GroupTests,
    LastingTests,
):
    """Every sentence of :class:`~modeldb_core.stores.MetadataStore`, as a test.

    Override the fixture ``make_store`` with a function that opens the store; called twice in one test, it must open the
    same one. A store that cannot be opened twice overrides it all the same, and sets ``is_shared = False``. Override
    ``process_url`` as well, with a URL by which :func:`~modeldb_core.plugins.open_store` opens that store in another
    process, so that processes at once, and one that is killed, are tested too.
    The suite makes projects of its own and looks at nothing else, so the store need not be empty.
    """
