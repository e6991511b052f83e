"""Content trees: immutable sorted maps from locations to small entries, kept as content-addressed nodes in an artifact store.

May import: ``stores`` and below. Begin with ``tree.py``; ``docs/format.md`` gives the bytes of a node. A tree of a million
entries of which one is changed shares all nodes but a few with the one before, and two trees with the same entries are the
same nodes, however they were made.

    trees = TreeStore(artifacts)
    tree = trees.build({"data/train.csv": {"digest": info.digest, "size_bytes": info.size_bytes}})
    after = tree.edit({"data/test.csv": {...}}, remove=["data/train.csv"])
    changes = list(tree.diff(after))
"""

from __future__ import annotations

from modeldb_core.trees.differences import Difference
from modeldb_core.trees.entries import OBSERVED, Entry, blob_of, blobs_in, trees_in
from modeldb_core.trees.locations import check_location, check_path, order_of
from modeldb_core.trees.nodes import MAX_NODE_BYTES, decode_node, is_node
from modeldb_core.trees.nodestore import Blobs
from modeldb_core.trees.tree import FolderItem, Tree, TreeInfo, TreeStore, describe

__all__ = [
    "MAX_NODE_BYTES",
    "OBSERVED",
    "Blobs",
    "Difference",
    "Entry",
    "FolderItem",
    "Tree",
    "TreeInfo",
    "TreeStore",
    "blob_of",
    "blobs_in",
    "check_location",
    "check_path",
    "decode_node",
    "describe",
    "is_node",
    "order_of",
    "trees_in",
]
