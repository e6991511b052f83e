"""The one value that an object of NumPy or a tensor holds."""

from __future__ import annotations


def scalar_of(value: object) -> bool | int | float | str | None:
    """Return the Python scalar inside a NumPy scalar or a 0-dimensional array or tensor, else ``None``.

    ``None`` too for times, which are not numbers, and for a long double that no 64-bit float equals.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        if getattr(getattr(value, "dtype", None), "kind", "") in _KINDS_OF_TIMES:
            return None  # its item may be a bare integer
        item = value.item()
        if isinstance(item, (bool, int, float, str)):
            return item
        if is_long_double(item) and (float(item) == item or item != item):
            return float(item)
    return None


_KINDS_OF_TIMES = ("m", "M")


def is_long_double(value: object) -> bool:
    """Return whether a value is a long double of NumPy."""
    return type(value).__name__ in ("longdouble", "float128", "float96") and type(value).__module__ == "numpy"
