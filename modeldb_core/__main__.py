"""``python -m modeldb_core`` is ``modeldb``, also where the command is not on the PATH."""

from modeldb_core.cli import main

main()
