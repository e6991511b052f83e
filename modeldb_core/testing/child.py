"""A process that applies the changes on its standard input to the configured store, and says how far it has come.

Run by the conformance suite: ``MODELDB_URL=... python -m modeldb_core.testing.child < batch``
"""

from __future__ import annotations

import sys

from modeldb_core.log.batches import decode_changes
from modeldb_core.plugins import load_settings, open_store

_AT_ONCE = 3


def main() -> None:
    """Apply the changes three at a time; after each time, print how many are stored."""
    changes = decode_changes(sys.stdin.buffer.read())
    settings = load_settings()
    with open_store(settings.url, settings) as store:
        for first in range(0, len(changes), _AT_ONCE):
            batch = changes[first : first + _AT_ONCE]
            store.apply(batch)
            sys.stdout.write(f"{first + len(batch)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
