"""What a stored model needs: the classes and functions that it names, the packages they come from, and what cannot be found.

A file of a model names its classes and functions and does not hold them. Whether a reader will find them can be said when
it is written, and is said then.
"""

from __future__ import annotations

import functools
import json
import pickle
import sys
import sysconfig
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SCHEMA = "schema.json"  # of a file of skops
_MAX_TIMES = 200  # a schema is so many times longer than packed; a few bytes of a stranger must not fill the memory
_WITHOUT_THEIR_CLASS = frozenset(
    {"builtins.method_descriptor", "builtins.wrapper_descriptor", "builtins.classmethod_descriptor"}
)
_NO_SCHEMA = (OSError, LookupError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a file raises that is none of skops: another form, a coding or a password that Python does not know."""


def names_in(path: Path) -> set[str]:
    """Return the full names that a file of skops mentions; none of other files."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.getinfo(_SCHEMA)
            if found.file_size > (1 << 20) + _MAX_TIMES * found.compress_size:
                return set()
            schema = json.loads(archive.read(found))
    except _NO_SCHEMA:
        return set()
    return set(_names(schema))


def _names(schema: object) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("__module__"), str) and isinstance(node.get("__class__"), str):
                yield f"{node['__module__']}.{node['__class__']}"
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


class NotingPickler(pickle.Pickler):
    """A pickler that notes the full names of all classes and functions that it meets."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, protocol=5)
        self.names: set[str] = set()

    def persistent_id(self, obj: Any) -> None:  # noqa: ANN401 - any object
        """Note what an object is; no object is kept outside of the file."""
        named = obj if hasattr(obj, "__qualname__") and hasattr(obj, "__module__") else type(obj)
        self.names.add(f"{named.__module__}.{named.__qualname__}")


def problems_of(names: Iterable[str]) -> list[str]:
    """Return in sentences which of the names a reader will not find, or only beside the files of this program."""
    found = []
    for name in sorted(names):
        module, _, rest = name.rpartition(".")
        loaded = sys.modules.get(module)
        if ".<" in name:
            found.append(f"{name} has no name by which it can be found again; make it a function of a module")
        elif module == "__main__":
            found.append(f"{name} is defined in the program itself, where no other finds it; move it into a module")
        elif name in _WITHOUT_THEIR_CLASS:
            found.append(
                f"it holds a method of a class that Python itself brings ({rest}), such as str.lower, of which only the type "
                "is stored; make it a function of a module"
            )
        elif loaded is not None and module != "builtins" and not hasattr(loaded, rest):
            found.append(f"{name} is not found in its module; define it at the top of the module")
        elif _is_own_file(module):
            found.append(f"{name} comes from a file of this program, which a reader needs too")
    return found


def packages_of(names: Iterable[str]) -> list[str]:
    """Return the distributions from which the names come."""
    tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"__main__"}
    return sorted({distribution for top in tops for distribution in _distributions(top)})


@functools.cache
def _distributions(top: str) -> tuple[str, ...]:
    from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

    try:
        return (distribution(top).metadata["Name"],)
    except PackageNotFoundError:
        return tuple(packages_distributions().get(top, ()))


def _is_own_file(module: str) -> bool:
    """Whether a module was loaded from a file that no installed package brought."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if top in sys.stdlib_module_names or not file:
        return False
    installed = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")}
    return not any(file.startswith(place) for place in installed if place) and not _distributions(top)
