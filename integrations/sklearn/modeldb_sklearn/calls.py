"""Who calls: the program, or scikit-learn itself as part of something else that the program called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_OURS = ("modeldb_core.autologging", "modeldb_sklearn")
_CHECKS = "sklearn.utils._param_validation"  # its decorator stands between a caller and every public function

_WRAPPERS = ("sklearn.base", "sklearn.callback._callback_support")  # their decorators stand around methods
_TESTING = (".tests.", ".conftest", "sklearn.utils._mocking", "sklearn.utils._testing")


def is_sklearn(module: str) -> bool:
    """Return whether a module is scikit-learn's; its tests, and the estimators that they bring, are programs."""
    return module.startswith("sklearn.") and not any(part in module for part in _TESTING)


def caller() -> FrameType | None:
    """Return the frame that made the intercepted call: the innermost one that is neither ours nor a decorator's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_OURS) and module != _CHECKS and module != "contextlib":
            return frame
        frame = frame.f_back
    return None


def is_by_sklearn(frame: FrameType | None) -> bool:
    """Return whether the code in ``frame`` is scikit-learn's."""
    return frame is not None and is_sklearn(frame.f_globals.get("__name__", ""))


def is_part_of_another(estimator: object) -> bool:
    """Return whether scikit-learn itself calls a method of ``estimator`` as part of something else.

    Methods of the estimator's own that only pass on, such as the ``fit_transform`` that calls ``fit``, do not count.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_OURS):
            pass
        elif not is_sklearn(module):
            return False
        else:
            names = frame.f_locals
            is_wrapper = module in _WRAPPERS and names.get("estimator") is estimator
            if names.get("self") is not estimator and not is_wrapper:
                return True
        frame = frame.f_back
    return False
