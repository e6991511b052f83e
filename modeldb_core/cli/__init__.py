"""The ``modeldb`` command.

What a command needs is imported when it runs, so that ``modeldb --help`` answers at once. ``docs/cli.md`` shows every
command.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of the console script."""
    import sys

    from modeldb_core.cli.program import run

    sys.exit(run(sys.argv[1:]))
