"""The file that Python was started with.

Asked for when this module is imported: Python forgets it when the script has come to its end, which is when a short run's
circumstances are recorded, and a relative path means nothing after a change of folder.
"""

from __future__ import annotations

import os
import sys

_file = getattr(sys.modules.get("__main__"), "__file__", None)

MAIN_FILE = os.path.abspath(_file) if _file else ""
