"""scikit-learn for ModelDB: fits record themselves, and models are stored with skops.

    import modeldb_sklearn

    modeldb_sklearn.autolog(project="churn")

``docs/sklearn.md`` says what is recorded. Importing this module imports neither scikit-learn nor NumPy.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modeldb_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from modeldb_core.tracking import RunHandle
    from modeldb_sklearn.autologging import autolog

__all__ = ["autolog"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a function
    if name == "autolog":
        from modeldb_sklearn.autologging import autolog

        return autolog
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _switch(**options: Any) -> Any:  # noqa: ANN401 - a switch
    """Call :func:`modeldb_sklearn.autologging.autolog`, which imports scikit-learn."""
    from modeldb_sklearn import autolog

    return autolog(**options)


@hookimpl
def modeldb_register_autologgers() -> Mapping[str, Callable[..., object]]:
    """Offer ``autolog``."""
    return {"sklearn": _switch}


@hookimpl
def modeldb_dump_model(model: object, path: Path) -> dict[str, Any] | None:
    """Write an estimator with skops."""
    if "sklearn" not in sys.modules:
        return None
    from modeldb_sklearn.formats import dump

    return dump(model, path)


@hookimpl
def modeldb_load_model(path: Path, model_format: str, trusted: Iterable[str]) -> object | None:
    """Read an estimator with skops."""
    if model_format != "skops":
        return None
    from modeldb_sklearn.formats import load

    return load(path, trusted)


@hookimpl
def modeldb_describe_object(obj: object) -> dict[str, Any] | None:
    """Describe the data sets that scikit-learn ships, as ``load_digits()`` returns them."""
    if "sklearn" not in sys.modules:
        return None
    from modeldb_sklearn.formats import describe_bunch

    return describe_bunch(obj)


@hookimpl
def modeldb_run_finished(run: RunHandle, status: str) -> None:
    """Wait for what is still worked out for the run."""
    del status
    autologging = sys.modules.get("modeldb_sklearn.autologging")
    if autologging is not None:
        autologging.run_finished(run)
