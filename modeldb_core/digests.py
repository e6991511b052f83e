r"""The digest of a data set: equal content gives an equal digest, whatever holds it, and nothing is copied whole.

A digest is the SHA-256 of the bytes that this module defines, so that another program can compute it. They begin with
``modeldb-data-1\n``. ``number`` stands for an unsigned 64-bit integer, little-endian; ``text`` for its length in UTF-8
bytes as a number, then those bytes.

- *array*: text ``array``, text of the dtype in little-endian NumPy notation (``<f8``), number of dimensions, each
  dimension, then the elements in C order, little-endian.
- *items* (texts, mixed objects, nested lists): text ``items``, number of dimensions, each dimension, then each item:
  one byte that names its type and what it holds. ``n``: missing; ``t``/``f``: a bool; ``i``: an integer as decimal text;
  ``d``: a float in 8 bytes; ``s``: a text; ``b``: length and bytes; ``l``: count and items; ``m``: count, then keys and
  values in order; ``x``: the names of any other type and its ``repr`` without memory addresses, as two texts.
- *sparse*: text ``sparse``, text of the dtype, rows, columns, then three SHA-256 digests of 32 bytes: of the number of
  stored elements in each row, of their column numbers in rising order (both as 64-bit integers), and of their values.
  Stored zeros are left out and repeated elements are added up, as arithmetic would do. The order is by column where the
  matrix is held by column (CSC), which the text ``sparse-csc`` then says.
- *table*: text ``table``, number of rows, number of columns, then for each column its name as text and the column: an
  *array* or *items* of one dimension. Where values are missing in a column of numbers, text ``missing`` and an array
  of bools stand before it, and the missing ones count as zero. Before times with a zone stands the text
  ``datetime64[unit, zone]``. Categories count as the values they stand for. An index is no part of the content.
- *labelled*: text ``labelled``, then the 32-byte digests of features and target.
- A *file*'s digest is the SHA-256 of its bytes and nothing else. *folder*: text ``folder``, number of files, then for
  each file, ordered by the UTF-8 bytes of its path: the path with ``/`` as text, and the 32-byte digest of the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.values import int_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "modeldb-data-1"
CHUNK_BYTES = 1 << 22  # what is copied at a time where data does not lie in memory as it is hashed
CHUNK_ITEMS = 1 << 14

_NUMBER = struct.Struct("<Q")
_FLOAT = struct.Struct("<d")
_PLAIN_KINDS = "biufcMm"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class ContentHash:
    """Takes in content in the written form above."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(FORMAT.encode() + b"\n")

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
        data = value.encode("utf-8", "surrogatepass")
        self._hash.update(_NUMBER.pack(len(data)) + data)

    def shape(self, shape: tuple[int, ...]) -> None:
        """Take in the number of dimensions and each dimension."""
        self._hash.update(struct.pack(f"<{len(shape) + 1}Q", len(shape), *shape))

    def array(self, array: NDArray[Any]) -> None:
        """Take in an array, as *array* where its elements are plain numbers or times, else as *items*."""
        if not is_plain(array.dtype):
            self.items(array)
            return
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
            self.raw(b"".join(map(encode_item, chunk)))

    def sequence(self, items: Any) -> None:  # noqa: ANN401 - a list or a tuple of anything
        """Take in a list as *items* of one dimension."""
        self.text("items")
        self.shape((len(items),))
        self.encoded_items(items[start : start + CHUNK_ITEMS] for start in range(0, len(items), CHUNK_ITEMS))

    def sparse(self, matrix: Any) -> None:  # noqa: ANN401 - SciPy is optional
        """Take in a SciPy sparse matrix or array, row by row (CSC: column by column); it is never made dense."""
        if len(matrix.shape) == 1:
            matrix = matrix.reshape((1, -1))
        by_column = matrix.format == "csc"
        if not by_column and matrix.format != "csr":
            matrix = matrix.tocsr()
        self.text("sparse-csc" if by_column else "sparse")
        self.text(matrix.dtype.newbyteorder("<").str)
        self.number(matrix.shape[0])
        self.number(matrix.shape[1])
        parts = (hashlib.sha256(), hashlib.sha256(), hashlib.sha256())
        for part in _sparse_chunks(matrix, by_column):
            parts[0].update(_contiguous(np.diff(part.indptr), np.dtype("<i8")))
            parts[1].update(_contiguous(part.indices, np.dtype("<i8")))
            parts[2].update(_contiguous(part.data, matrix.dtype.newbyteorder("<")))
        for digest in parts:
            self.raw(digest.digest())


def is_plain(dtype: Any) -> bool:  # noqa: ANN401 - any dtype, also one that is not NumPy's
    """Return whether the bytes of an element are its value: no object, no text, no padding."""
    limit = 16 if dtype.kind == "c" else 8
    return dtype.kind in _PLAIN_KINDS and dtype.itemsize <= limit


def encode_item(item: object) -> bytes:
    """Return the written form of one item."""
    if item is None:
        return b"n"
    if isinstance(item, str):
        data = str.encode(item, "utf-8", "surrogatepass")
        return b"s" + _NUMBER.pack(len(data)) + data
    if isinstance(item, (bool, np.bool_)):
        return b"t" if item else b"f"
    if isinstance(item, (int, np.integer)):
        data = int_text(int(item)).encode()
        return b"i" + _NUMBER.pack(len(data)) + data
    if isinstance(item, (float, np.floating)):
        return b"d" + _FLOAT.pack(float(item))
    return _encode_other(item)


def _encode_other(item: object) -> bytes:
    if isinstance(item, (bytes, bytearray, memoryview)):
        return b"b" + _NUMBER.pack(len(item)) + bytes(item)
    if isinstance(item, np.ndarray):
        item = item.tolist()
    if isinstance(item, (list, tuple)):
        return b"l" + _NUMBER.pack(len(item)) + b"".join(encode_item(part) for part in item)
    if isinstance(item, Mapping):
        pairs = (encode_item(key) + encode_item(value) for key, value in item.items())
        return b"m" + _NUMBER.pack(len(item)) + b"".join(pairs)
    name = type(item).__qualname__
    if name in ("NAType", "NaTType"):
        return b"n"
    parts = (f"{type(item).__module__}.{name}", _ADDRESS.sub("", repr(item)))
    encoded = (part.encode("utf-8", "surrogatepass") for part in parts)
    return b"x" + b"".join(_NUMBER.pack(len(data)) + data for data in encoded)


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


def folder_digest(path: Path) -> tuple[str, int, int]:
    """Return the digest of a folder, the bytes in its files and their number. Links to folders are not followed."""
    content = ContentHash()
    files = sorted(_files(path), key=lambda item: os.fsencode(item[0]))
    content.text("folder")
    content.number(len(files))
    total = 0
    for name, file in files:
        digest, size = file_digest(file)
        content.text(name)
        content.raw(bytes.fromhex(digest))
        total += size
    return content.hexdigest(), total, len(files)


def _files(root: Path) -> Iterable[tuple[str, Path]]:
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            if file.is_file():
                yield file.relative_to(root).as_posix(), file


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
    plain = np.ascontiguousarray(chunk, dtype)
    return plain.reshape(-1).view(np.uint8) if plain.size else b""


def _sparse_chunks(matrix: Any, by_column: bool) -> Iterable[Any]:  # noqa: ANN401 - SciPy is optional
    """Yield parts in canonical form: slices, so that the caller's matrix is not sorted behind its back."""
    length = matrix.shape[1] if by_column else matrix.shape[0]
    step = max(1, int(length * CHUNK_BYTES / (16 * max(1, matrix.nnz))))
    for start in range(0, length, step):
        part = matrix[:, start : start + step] if by_column else matrix[start : start + step]
        if part is matrix or step >= length:  # SciPy may hand out the matrix itself, or share its arrays
            part = matrix.copy()
        part.sum_duplicates()
        part.eliminate_zeros()
        yield part
