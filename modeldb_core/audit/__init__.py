"""Verifying a store: that the record is what its writers sealed, and that the answers follow from it.

``docs/audit.md`` says what is proved, against whom, and what is not.
"""

from __future__ import annotations

from modeldb_core.audit.checkpoints import Checkpoint
from modeldb_core.audit.order import OrderedLog, digest_of_order
from modeldb_core.audit.report import Finding, Progress, Report
from modeldb_core.audit.verify import SearchRows, verify

__all__ = ["Checkpoint", "Finding", "OrderedLog", "Progress", "Report", "SearchRows", "digest_of_order", "verify"]
