"""Every module that answers calls: importing this one declares all of them."""

from modeldb_v1 import (  # noqa: F401 - they declare calls when they are imported
    branches,
    comments,
    commits,
    dataset_links,
    dataset_versions,
    datasets,
    experiments,
    lineage,
    metadata,
    project_copies,
    projects,
    repositories,
    run_lists,
    runs,
    tables,
)
