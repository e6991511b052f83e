"""Tables for pandas, which is imported with this module and only when a table is asked for."""

from __future__ import annotations

from typing import Any

import pandas as pd


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
