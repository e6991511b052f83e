"""Every module that answers calls: importing this one declares all of them."""

from modeldb_v1 import (  # noqa: F401 - they declare calls when they are imported
    branches,
    comments,
    commits,
    dataset_links,
    dataset_versions,
    datasets,
    experiments,
    hydrated,
    lineage,
    metadata,
    project_copies,
    projects,
    repositories,
    run_lists,
    runs,
    tables,
)
from modeldb_v1.access import (  # noqa: F401 - so do these
    authorization,
    collaborators,
    organizations,
    roles,
    users,
)
