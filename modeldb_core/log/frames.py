"""Tables for pandas, which is imported with this module and only when a table is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.errors import MissingDependencyError

try:
    import pandas as pd
except ModuleNotFoundError as error:
    msg = f"a table needs a package that is not installed ({error}); pip install pandas"
    raise MissingDependencyError(msg) from error

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Table(pd.DataFrame):  # type: ignore[misc]
    """A DataFrame whose aware times can be written to Excel, which knows no zones: there they are UTC without a zone."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def to_excel(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as of pandas
        """Write the table to Excel; arguments as of :meth:`pandas.DataFrame.to_excel`."""
        plain = pd.DataFrame(self)
        for name in plain.select_dtypes(include=["datetimetz"]).columns:
            plain[name] = plain[name].dt.tz_convert("UTC").dt.tz_localize(None)
        plain.to_excel(*args, **kwargs)


def points_table(steps: NDArray[Any], times: NDArray[Any], values: NDArray[Any]) -> Table:
    """Return points with the columns ``step``, ``time`` (UTC) and ``value``."""
    return Table({"step": steps, "time": pd.to_datetime(times, unit="us", utc=True), "value": values})
