"""``python -m modeldb_core.cli`` is ``modeldb``."""

from modeldb_core.cli import main

main()
