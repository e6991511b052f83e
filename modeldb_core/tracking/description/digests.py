r"""The digest of a data set: equal content gives an equal digest, whatever holds it, and nothing is copied whole.

A digest is the SHA-256 of the bytes that this module defines, so that another program can compute it. They begin with
``modeldb-data-1\n``. ``number`` stands for an unsigned 64-bit integer, little-endian; ``text`` for its length in UTF-8
bytes as a number, then those bytes. What cannot be read as content has no digest: nothing is derived from ``repr``.

- *array*: text ``array``, text of the dtype in little-endian NumPy notation (``<f8``), number of dimensions, each
  dimension, then the elements in C order, little-endian. Every NaN is the same NaN; 0.0 and -0.0 are not the same.
- *structured* (arrays with named fields): text ``structured``, number of fields, then for each its name as text and an
  *array* or *items*; without any field the dimensions.
- *items* (texts, mixed objects, nested lists): text ``items``, number of dimensions, each dimension, then each item as
  :mod:`modeldb_core.tracking.description.items` writes it.
- *sparse*: text ``sparse``, text of the dtype, number of dimensions, each dimension, then three SHA-256 digests of 32
  bytes: of the number of stored elements in each row, of their column numbers in rising order (both as 64-bit integers),
  and of their values. Stored zeros are left out and repeated elements are added up, as arithmetic would do. It is the
  same for every format (CSR, CSC, COO, …); what has one or more than two dimensions is first reshaped to two.
- *table*: text ``table``, number of rows, number of columns, then for each column its name (a text, else the largest
  number and an item) and the column: an *array* or *items* of one dimension. Where values are missing in a column of
  numbers, text ``missing`` and an array of bools stand before it, and the missing ones count as zero. Before times with a
  zone stands the text ``datetime64[unit, zone]``. Times of day are items; where some are finer than microseconds, the text
  ``time64[ns]`` and their nanoseconds as a column of 64-bit integers. Categories count as the values they stand for, and whatever pandas takes as missing in a column of objects is missing. An index, and what pandas
  keeps in ``attrs``, is not part of the content.
- *masked* arrays: text ``missing``, the mask, and the array with zeros where it is masked.
- *image* (Pillow): text ``image``, mode, width, height, the palette's mode and bytes, the transparent colour as an item,
  the pixels as bytes.
- *labelled*: text ``labelled``, then the 32-byte digests of features and target.
- A *file*'s digest is the SHA-256 of its bytes and nothing else. *folder*: text ``folder``, number of files, then for
  each file, ordered by the UTF-8 bytes of its path: the path with ``/`` as text, and the 32-byte digest of the file.
  Links are followed. Where something cannot be read or is not a file: text ``left out``, their number and their paths.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.runtime.git_names import GITS, is_git_name
from modeldb_core.tracking.description.folders import scan
from modeldb_core.tracking.description.items import Nested, UnreadableContentError, encode_item

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "modeldb-data-1"
CHUNK_BYTES = 1 << 22  # what is copied at a time where data does not lie in memory as it is hashed
CHUNK_ITEMS = 1 << 14

_NUMBER = struct.Struct("<Q")
_PLAIN_KINDS = "biufcMm"
_NO_TEXT = 2**64 - 1  # in place of the length of a name


class ContentHash:
    """Takes in content in the written form above.

    Args:
        nested: returns the digest of data within data, such as a table in a list, as 32 bytes; ``None``: it is none.
    """

    def __init__(self, nested: Nested | None = None) -> None:
        self._hash = hashlib.sha256(FORMAT.encode() + b"\n")
        self._nested = nested

    def hexdigest(self) -> str:
        """Return the digest of what was taken in, as 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def raw(self, data: bytes) -> None:
        """Take in bytes as they are."""
        self._hash.update(data)

    def number(self, value: int) -> None:
        """Take in an unsigned number."""
        self._hash.update(_NUMBER.pack(value))

    def text(self, value: str) -> None:
        """Take in a text with its length."""
        self.sized(value.encode("utf-8", "surrogatepass"))

    def sized(self, data: bytes) -> None:
        """Take in bytes with their length."""
        self._hash.update(_NUMBER.pack(len(data)) + data)

    def name(self, value: object) -> None:
        """Take in the name of a column: mostly a text, but pandas takes anything that is hashable."""
        if isinstance(value, str):
            self.text(value)
        else:
            self.number(_NO_TEXT)
            self.raw(encode_item(value, self._nested))

    def shape(self, shape: tuple[int, ...]) -> None:
        """Take in the number of dimensions and each dimension."""
        self._hash.update(struct.pack(f"<{len(shape) + 1}Q", len(shape), *shape))

    def array(self, array: NDArray[Any]) -> None:
        """Take in an array: plain numbers or times as they lie in memory, anything else as *items*."""
        if isinstance(array, np.ma.MaskedArray):
            self.text("missing")
            self.array(np.asarray(np.ma.getmaskarray(array)))
            nothing: Any = np.zeros((), array.dtype)[()]
            self.array(array.filled(nothing))
        elif array.dtype.names is not None:
            self.text("structured")
            self.number(len(array.dtype.names))
            if not array.dtype.names:
                self.shape(array.shape)
            for name in array.dtype.names:
                self.text(name)
                self.array(np.asarray(array[name]))
        elif not is_plain(array.dtype):
            self.items(np.asarray(array))  # a matrix has two dimensions, whatever is taken of it
        else:
            dtype = array.dtype.newbyteorder("<")
            self.text("array")
            self.text(dtype.str)
            self.shape(array.shape)
            for chunk in _chunks(array):
                self._hash.update(_contiguous(chunk, dtype))

    def items(self, array: NDArray[Any]) -> None:
        """Take in an array of texts or objects."""
        self.text("items")
        self.shape(array.shape)
        flat: Any = array.reshape(-1) if array.flags.c_contiguous else array.flat
        self.encoded_items(flat[start : start + CHUNK_ITEMS].tolist() for start in range(0, array.size, CHUNK_ITEMS))

    def encoded_items(self, chunks: Iterable[list[Any]]) -> None:
        """Take in items alone, without their frame."""
        for chunk in chunks:
            self.raw(b"".join([encode_item(item, self._nested) for item in chunk]))

    def sequence(self, items: Any) -> None:  # noqa: ANN401 - a list or a tuple of anything
        """Take in a list as *items* of one dimension."""
        self.text("items")
        self.shape((len(items),))
        self.encoded_items(items[start : start + CHUNK_ITEMS] for start in range(0, len(items), CHUNK_ITEMS))

    def sparse(self, matrix: Any) -> None:  # noqa: ANN401 - SciPy is optional
        """Take in a SciPy sparse matrix or array, row by row; it is never made dense."""
        self.text("sparse")
        self.text(matrix.dtype.newbyteorder("<").str)
        self.shape(tuple(int(length) for length in matrix.shape))
        if len(matrix.shape) != 2:
            matrix = matrix.reshape((1, -1) if len(matrix.shape) < 2 else (matrix.shape[0], -1))
        if matrix.format != "csr":
            matrix = matrix.tocsr()
        parts = (hashlib.sha256(), hashlib.sha256(), hashlib.sha256())
        for part in _sparse_chunks(matrix):
            parts[0].update(_contiguous(np.diff(part.indptr), np.dtype("<i8")))
            parts[1].update(_contiguous(part.indices, np.dtype("<i8")))
            if is_plain(matrix.dtype):
                parts[2].update(_contiguous(part.data, matrix.dtype.newbyteorder("<")))
            else:
                parts[2].update(b"".join([encode_item(item, self._nested) for item in part.data]))
        for digest in parts:
            self.raw(digest.digest())


def is_plain(dtype: Any) -> bool:  # noqa: ANN401 - any dtype, also one that is not NumPy's
    """Return whether the bytes of an element are its value: no object, no text, no padding."""
    limit = 16 if dtype.kind == "c" else 8
    return dtype.kind in _PLAIN_KINDS and dtype.itemsize <= limit


def file_digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file's bytes and their number."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as stream:
        buffer = bytearray(CHUNK_BYTES)
        view = memoryview(buffer)
        while count := stream.readinto(buffer):
            digest.update(view[:count])
            size += count
    return digest.hexdigest(), size


def folder_digest(path: Path) -> tuple[str, int, int, dict[str, str]]:
    """Return the digest of a folder, the bytes in its files, their number, and what was left out, with the reason.

    Raises:
        FolderChangedError: something in it went away meanwhile.
    """
    content = ContentHash()
    found = scan(path, lambda item: GITS if is_git_name(item.name) else None)
    files = sorted(found.files.items(), key=lambda item: os.fsencode(item[0]))
    content.text("folder")
    content.number(len(files))
    total = 0
    for name, file in files:
        with found.reading(name):
            digest, size = file_digest(file)
        content.text(name)
        content.raw(bytes.fromhex(digest))
        total += size
    # What is git's own is in no copy that is written out, and no part of what a copy is compared by.
    if names := [name for name in found.left_out if not is_git_name(name.rpartition("/")[2])]:
        content.text("left out")
        content.number(len(names))
        for name in sorted(names, key=os.fsencode):
            content.text(name)
    return content.hexdigest(), total, len(files), found.left_out


def _chunks(array: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """Yield parts of ``array`` along its first axis that together are it, in C order, each of about 4 MiB."""
    if array.ndim == 0 or array.nbytes <= CHUNK_BYTES:
        yield array
        return
    rows = max(1, CHUNK_BYTES // max(1, array.nbytes // len(array)))
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        if part.nbytes > 2 * CHUNK_BYTES and part.ndim > 1:  # one row alone is larger
            for row in part:
                yield from _chunks(row)
        else:
            yield part


def _contiguous(chunk: NDArray[Any], dtype: np.dtype[Any]) -> Any:  # noqa: ANN401 - a buffer
    """Return the elements as a buffer in C order and ``dtype``; a view where they lie so already."""
    plain: Any = np.ascontiguousarray(chunk, dtype)
    if not plain.size:
        return b""
    plain = plain.reshape(-1)
    if dtype.kind == "b":
        plain = plain.view(np.uint8) != 0  # memory that others wrote may hold another byte than 1
    elif dtype.kind in "fc":
        floats = plain.view(f"<f{dtype.itemsize // (2 if dtype.kind == 'c' else 1)}")
        missing = np.isnan(floats)
        if missing.any():  # a NaN has a sign and a payload, which tell how it came about and mean nothing
            plain = floats.copy()
            plain[missing] = np.nan
    return plain.view(np.uint8)


def _sparse_chunks(matrix: Any) -> Iterable[Any]:  # noqa: ANN401 - SciPy is optional
    """Yield parts in canonical form: slices, so that the caller's matrix is not sorted behind its back."""
    length = matrix.shape[0]
    step = max(1, int(length * CHUNK_BYTES / (16 * max(1, matrix.nnz))))
    for start in range(0, length, step):
        part = matrix[start : start + step]
        if part is matrix or step >= length:  # SciPy may hand out the matrix itself, or share its arrays
            part = matrix.copy()
        part.sum_duplicates()
        part.eliminate_zeros()
        yield part


__all__ = ["CHUNK_ITEMS", "FORMAT", "ContentHash", "UnreadableContentError", "file_digest", "folder_digest", "is_plain"]
