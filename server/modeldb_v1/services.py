"""Every module that answers calls: importing this one declares all of them."""

from modeldb_v1 import projects, tables  # noqa: F401 - they declare calls when they are imported
