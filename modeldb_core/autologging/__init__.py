"""What integrations that log by themselves share: patching and its undo, isolation, work beside training, the switch.

It imports no framework. ``docs/integrations.md`` walks through an integration that uses it.

- :mod:`~modeldb_core.autologging.patching`: methods of classes are wrapped, and put back exactly as they were.
- :mod:`~modeldb_core.autologging.isolation`: nothing that ModelDB does around a call reaches the program: no exception, no
  warning, no random state.
- :mod:`~modeldb_core.autologging.background`: what need not hold up training happens beside it, and ``flush()`` waits for it.
- :mod:`~modeldb_core.autologging.imports`: modules are patched when the program imports them, never imported for that.
- :mod:`~modeldb_core.autologging.switch`: one function serves as a call, as a decorator and in a ``with`` statement.
"""

from __future__ import annotations

from modeldb_core.autologging.background import Background
from modeldb_core.autologging.imports import when_imported
from modeldb_core.autologging.isolation import Guard, entered, is_inside, outside, quiet, rolled_back
from modeldb_core.autologging.patching import Patches, intercept
from modeldb_core.autologging.switch import Integration, Switch, is_to_be_decorated

__all__ = [
    "Background",
    "Guard",
    "Integration",
    "Patches",
    "Switch",
    "entered",
    "intercept",
    "is_inside",
    "is_to_be_decorated",
    "outside",
    "quiet",
    "rolled_back",
    "when_imported",
]
