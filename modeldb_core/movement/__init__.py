"""Moving records between stores, taking them out as bundles, and deleting them for good.

Everything here works on stores that are given as objects: through their contracts alone, so with any of them.
``docs/movement.md`` says what a user sees, ``docs/format.md`` gives the bytes of a bundle.
"""

from __future__ import annotations
