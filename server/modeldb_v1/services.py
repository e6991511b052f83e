"""Every module that answers calls: importing this one declares all of them."""

from modeldb_v1 import (  # noqa: F401 - they declare calls when they are imported
    branches,
    commits,
    dataset_versions,
    datasets,
    lineage,
    metadata,
    projects,
    repositories,
    tables,
)
