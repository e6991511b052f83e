"""The scripts, styles and pictures of the pages: served from memory, compressed, and cached by the browser for good.

The address of every asset carries a digest of all of them, so a browser may keep what it has fetched and still sees a
new version at once. Scripts import one another by relative paths, which keeps the digest in the path.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

STATIC = Path(__file__).parent / "static"

MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served; other files of the folder (type declarations) are for development and are not."""

_IMPORT = re.compile(r"""^(?:import|export)\s+(?:[\w\s{},*$]+?\sfrom\s+)?["'](\.[^"']+\.js)["']""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its content as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str


class Assets:
    """The files below a folder, read once.

    Args:
        folder: where they lie; its own ``static`` folder by default.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> dict[str, Asset]:
        """Every asset by its path below the folder."""
        found: dict[str, Asset] = {}
        for path in sorted(self.folder.rglob("*")):
            media_type = MEDIA_TYPES.get(path.suffix)
            if media_type is not None and path.is_file():
                content = path.read_bytes()
                name = path.relative_to(self.folder).as_posix()
                found[name] = Asset(content, gzip.compress(content, 9, mtime=0), media_type)
        return found

    @cached_property
    def version(self) -> str:
        """A digest of all assets: another one as soon as any byte differs."""
        digest = hashlib.sha256()
        for name, asset in self.files.items():
            digest.update(f"{name}\0{len(asset.content)}\0".encode())
            digest.update(asset.content)
        return digest.hexdigest()[:12]

    def imports(self, entry: str) -> tuple[str, ...]:
        """Return the scripts that ``entry`` imports, directly or not, itself first.

        A page names them all in its head, so that the browser fetches them at once and not one level after the other.
        """
        found: list[str] = []
        waiting = [entry]
        while waiting:
            name = waiting.pop(0)
            if name in found:
                continue
            found.append(name)
            text = self.files[name].content.decode()
            waiting.extend(posixpath.normpath(posixpath.join(name, "..", path)) for path in _IMPORT.findall(text))
        return tuple(found)
