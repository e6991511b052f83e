"""The access log of a server: who was refused, who signed in, and who read which file.

It is made of changes in streams, like everything that happens, in a folder of its own: :class:`AccessLog` writes it,
:class:`AccessReader` reads it, and an audit verifies it as it verifies any log. ``docs/audit.md`` says what is recorded,
``docs/format.md`` gives the bytes.
"""

from __future__ import annotations

from modeldb_core.audit.access.entries import Access, access_folder
from modeldb_core.audit.access.reader import AccessReader, verify_access
from modeldb_core.audit.access.writer import AccessLog

__all__ = ["Access", "AccessLog", "AccessReader", "access_folder", "verify_access"]
