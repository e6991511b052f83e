"""The content of the objects that hold data, as a digest takes it in; and which objects those are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import InvalidTypeError
from modeldb_core.tracking.description.columns import hash_column, is_column, is_from
from modeldb_core.tracking.description.digests import ContentHash
from modeldb_core.tracking.description.items import UnreadableContentError, encode_item, own_attributes

if TYPE_CHECKING:
    from collections.abc import Callable


def digested(write: Callable[[ContentHash], None]) -> dict[str, str]:
    """Return the digest of what ``write`` hands to a hash; "" and a note where something in it cannot be read."""
    content = ContentHash(nested)
    try:
        write(content)
    except UnreadableContentError as error:
        return {"digest": "", "note": f"it has no digest: {error}"}
    except RecursionError:
        return {"digest": "", "note": "it has no digest: it holds itself, or is nested too deeply"}
    except Exception as error:  # of the library whose object it is, such as an image file that is cut off
        return {"digest": "", "note": f"it has no digest: reading it failed: {type(error).__name__}: {error}"}
    return {"digest": content.hexdigest()}


def nested(data: object) -> bytes | None:
    """Return the digest of data that lies within data, such as an image in a list; ``None`` where it is none."""
    if reason := held_besides(data):
        raise UnreadableContentError(reason)
    content = ContentHash(nested)
    if isinstance(data, np.ndarray):
        content.array(data)
    elif is_table(data):
        hash_table(content, data)
    elif is_column(data):
        hash_column(content, data)
    elif is_sparse(data):
        content.sparse(data)
    elif is_image(data):
        hash_image(content, data)
    elif is_array_like(data) and not is_lazy(data):
        try:
            content.array(as_array(data))
        except InvalidTypeError as error:
            raise UnreadableContentError(str(error)) from error
    else:
        return None
    return bytes.fromhex(content.hexdigest())


def as_array(data: Any) -> Any:  # noqa: ANN401
    """Return data that can be one as an array; raises InvalidTypeError where it lies in other memory."""
    try:
        if hasattr(data, "detach"):  # a PyTorch tensor that takes part in a gradient refuses to become an array
            data = data.detach()
        for pending in ("resolve_conj", "resolve_neg"):  # and one whose elements are still to be conjugated
            if hasattr(data, pending):
                data = getattr(data, pending)()
        return np.asarray(data)
    except (TypeError, RuntimeError, ValueError) as error:
        msg = (
            f"data of type {type_name(data)} cannot be read as an array ({error}); convert it to an array that NumPy "
            "knows, in main memory"
        )
        raise InvalidTypeError(msg) from error


def hash_image(content: ContentHash, image: Any) -> None:  # noqa: ANN401
    """Take in an image of Pillow."""
    if getattr(image, "n_frames", 1) > 1:
        msg = "it holds an image of several frames, of which only one can be read without going to the others"
        raise UnreadableContentError(msg)
    content.text("image")
    content.text(image.mode)
    content.shape(image.size)
    pixels = image.tobytes()  # a file is read only now, and with it the palette
    palette = image.palette if image.mode in ("P", "PA") else None
    content.text("" if palette is None else palette.mode)
    content.sized(b"" if palette is None else bytes(image.getpalette(None) or ()))
    content.raw(encode_item(image.info.get("transparency")))
    content.sized(pixels)


# -- tables ------------------------------------------------------------------------------------------------------------


def hash_table(content: ContentHash, table: Any) -> None:  # noqa: ANN401
    """Take in a table of pandas or polars, column by column."""
    rows, width = (int(length) for length in table.shape)
    content.text("table")
    content.number(rows)
    content.number(width)
    for index, name in enumerate(table.columns):
        content.name(name)
        hash_column(content, table.iloc[:, index] if is_from("pandas", table) else table[:, index])


# -- which is which ----------------------------------------------------------------------------------------------------


def is_table(data: object) -> bool:
    """Whether it is a table of pandas or polars."""
    return (is_from("pandas", data) or is_from("polars", data)) and hasattr(data, "shape") and hasattr(data, "columns")


def is_sparse(data: object) -> bool:
    """Whether it is a sparse matrix or array of SciPy."""
    return is_from("scipy", data) and hasattr(data, "nnz") and hasattr(data, "tocsr")


def is_lazy(data: object) -> bool:
    """Whether it is a collection of dask, which is computed when it is asked for."""
    cls = type(data)  # a delayed call itself has every attribute that it is asked for
    return hasattr(cls, "__dask_graph__") and (hasattr(cls, "dtype") or hasattr(cls, "dtypes"))


def is_image(data: object) -> bool:
    """Whether it is an image of Pillow."""
    return is_from("PIL", data) and hasattr(data, "tobytes") and hasattr(data, "getbands")


def is_array_like(data: object) -> bool:
    """Whether all of its content is an array that it turns into."""
    # The array within what xarray makes is not all of its content: names of dimensions and coordinates are part of it.
    cls = type(data)  # asking a nested tensor itself for its shape raises
    return (
        hasattr(cls, "__array__")
        and (hasattr(cls, "shape") or hasattr(data, "shape"))
        and hasattr(data, "dtype")
        and not is_from("xarray", data)
    )


def held_besides(data: object) -> str | None:
    """Return in words what an object of a program's own class holds besides its elements, such as a unit."""
    if type(data).__module__.partition(".")[0] in _LIBRARIES or is_sparse(data):
        return None
    held = own_attributes(data)
    if is_table(data) or is_column(data):
        declared = {*getattr(data, "_metadata", ())} - {"_name"}
        more = [name for name in held if name in declared or not name.startswith("_")]
    elif isinstance(data, np.ndarray):
        more = [name for name in held if name not in _OF_NUMPY]
    elif isinstance(data, (list, tuple)):
        more = list(held)
    elif is_array_like(data):
        arrays = [name for name, value in held.items() if isinstance(value, np.ndarray)]
        more = [name for name in held if name not in {*arrays[:1], "dtype", "shape"}]
    else:
        return None
    known = ", ".join(more)
    return (
        known
        and f"a {type_name(data)} has more than its elements ({known}); convert it to a plain array, table or list"
    )


_LIBRARIES = {
    *("builtins", "collections", "cupy", "h5py", "jax", "jaxlib", "mxnet", "numpy", "paddle", "pandas", "polars"),
    *("scipy", "sklearn", "tensorflow", "torch", "zarr"),
}  # whose own classes hold nothing besides that is content
_OF_NUMPY = {*vars(np.ma.array(0)), "_mmap", "filename", "mode", "offset"}  # of masked arrays and memory maps


def type_name(value: object) -> str:
    """Return the public name of a value's class, such as ``pandas.DataFrame``."""
    cls = type(value)
    package = cls.__module__.partition(".")[0]
    if package == "builtins":
        return cls.__qualname__
    if getattr(sys.modules.get(package), cls.__name__, None) is cls:
        return f"{package}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"
