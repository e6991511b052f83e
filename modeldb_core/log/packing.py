"""Columns of 64-bit numbers as bytes: exact in every bit, and as small as their content allows.

The first byte says how the rest is to be read:

- 0: the numbers, little-endian;
- 1: an arithmetic progression: count, start and stride as ``<Iqq``; floats by the bits they have as integers, so that
  a constant column is one with stride 0;
- 2: Pcodec (Loncaric et al., https://github.com/pcodec/pcodec), standalone format.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from pcodec import ChunkConfig, standalone

from modeldb_core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_RAW, _PROGRESSION, _PCODEC = b"\0", b"\1", b"\2"
_PARAMETERS = struct.Struct("<Iqq")
_TINY = 8  # numbers; below it Pcodec's own head outweighs what it saves
MAX_NUMBERS = 1 << 27
"""Of a column that is read: a gigabyte. A few bytes of a stranger may say that they are more."""
_FIRST_NUMBERS = 1 << 16
_LEVEL = 4  # of 12: within 2 % of the size at the default of 8, at two to four times the speed


def pack(column: NDArray[Any]) -> bytes:
    """Return an int64 or float64 column as bytes."""
    column = np.require(column, requirements=("C", "A"))  # a view of a payload may begin at any byte
    bits = column.view(np.int64)
    count = len(bits)
    if count > 2 and _is_progression(bits):
        return _PROGRESSION + _PARAMETERS.pack(count, int(bits[0]), _wrap(int(bits[1]) - int(bits[0])))
    raw: bytes = column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()
    if count > _TINY:
        packed: bytes = standalone.simple_compress(column, ChunkConfig(compression_level=_LEVEL))
        if len(packed) < len(raw):
            return _PCODEC + packed
    return _RAW + raw


def unpack_ints(data: bytes, most: int = MAX_NUMBERS) -> NDArray[np.int64]:
    """Return the int64 column that :func:`pack` wrote.

    Raises:
        IntegrityError: the bytes are not what it writes, or are more than ``most`` numbers.
    """
    return _unpack(data, np.dtype(np.int64), most)


def unpack_floats(data: bytes, most: int = MAX_NUMBERS) -> NDArray[np.float64]:
    """Return the float64 column that :func:`pack` wrote; otherwise as :func:`unpack_ints`."""
    return _unpack(data, np.dtype(np.float64), most)


def unpack_joined(parts: Sequence[bytes], counts: Sequence[int], dtype: type[np.int64 | np.float64]) -> NDArray[Any]:
    """Return columns that :func:`pack` wrote, one after the other as one, without an array for each.

    Args:
        parts: the columns as bytes.
        counts: how many numbers each is said to hold; the caller has checked that they are not too many.
        dtype: of the numbers.

    Raises:
        IntegrityError: the bytes are not what :func:`pack` writes, or hold other counts of numbers.
    """
    joined, at = np.empty(sum(counts), dtype), 0
    try:
        for data, count in zip(parts, counts, strict=True):
            _fill(joined[at : at + count], data)
            at += count
    except (RuntimeError, ValueError, TypeError, struct.error) as error:
        msg = f"a stored column of points cannot be read: {error}"
        raise IntegrityError(msg) from error
    return joined


def _fill(column: NDArray[Any], data: bytes) -> None:
    """Write what was packed into a column.

    Raises:
        ValueError: it is not as many numbers.
    """
    form, rest = data[:1], data[1:]
    if form == _RAW and len(rest) == 8 * len(column):
        column[:] = np.frombuffer(rest, column.dtype.newbyteorder("<"))
        return
    if form == _PROGRESSION and _PARAMETERS.unpack(rest)[0] == len(column):
        _, start, stride = _PARAMETERS.unpack(rest)
        bits = column.view(np.int64)
        bits[:] = np.arange(len(bits))
        bits *= np.int64(stride)  # whole numbers of an array wrap around, which is what the writer counts on
        bits += np.int64(start)
        return
    if form == _PCODEC:
        progress = standalone.simple_decompress_into(rest, column)
        if progress.finished and progress.n_processed == len(column):
            return
    msg = f"it does not hold {len(column):,} numbers of type {column.dtype} in a known form"
    raise ValueError(msg)


def _unpack(data: bytes, dtype: np.dtype[Any], most: int) -> NDArray[Any]:
    try:
        form, rest = data[:1], data[1:]
        if form == _RAW:
            _check_count(len(rest) // 8, most)
            return np.frombuffer(rest, dtype.newbyteorder("<")).astype(dtype, copy=False)
        if form == _PROGRESSION:
            count, start, stride = _PARAMETERS.unpack(rest)
            _check_count(count, most)
            with np.errstate(over="ignore"):
                bits = np.arange(count, dtype=np.int64) * np.int64(stride) + np.int64(start)
            return bits.view(dtype)
        if form == _PCODEC:
            return _decompressed(rest, dtype, most)
    except (RuntimeError, ValueError, TypeError, struct.error) as error:
        msg = f"a stored column of points cannot be read: {error}"
        raise IntegrityError(msg) from error
    msg = f"a stored column of points begins with {data[:4]!r}, which is not a known form of {dtype}"
    raise IntegrityError(msg)


def _decompressed(data: bytes, dtype: np.dtype[Any], most: int) -> NDArray[Any]:
    """Return what Pcodec packed; into an array of our own, since a few bytes can become any number of gigabytes."""
    for room in dict.fromkeys((min(_FIRST_NUMBERS, most), most)):
        column = np.empty(room + 1, dtype)
        progress = standalone.simple_decompress_into(data, column)
        if progress.finished and progress.n_processed <= room:
            return column[: progress.n_processed].copy()
    _check_count(most + 1, most)
    raise AssertionError


def _check_count(count: int, most: int) -> None:
    if count > most:
        msg = f"it holds more than the {most:,} numbers that it may hold"
        raise ValueError(msg)


def _is_progression(bits: NDArray[np.int64]) -> bool:
    count = len(bits)
    stride = int(bits[1]) - int(bits[0])
    if _wrap(int(bits[0]) + stride * (count - 1)) != int(bits[-1]):
        return False  # the usual case for numbers without a pattern, at no cost
    return bool(np.all(bits[1:] - bits[:-1] == np.int64(_wrap(stride))))


def _wrap(number: int) -> int:
    """Return ``number`` as the signed 64-bit integer with the same low bits: as NumPy's integers wrap around."""
    return (number + 2**63) % 2**64 - 2**63
