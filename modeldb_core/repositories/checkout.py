"""Writing what a commit holds into a folder, and bringing such a folder to another commit.

A location becomes a file of that name: the JSON of its blob, or for data that was kept its files, in a folder of that name. What is
written was recorded by somebody, who may be a stranger: names cannot lead out of the folder, links are not followed, and no
file is replaced that is not what an earlier checkout wrote, unless that is asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, ModelDBError
from modeldb_core.model.entities import new_id
from modeldb_core.model.values import is_digest, to_json
from modeldb_core.repositories.blobs import Entry, from_entry
from modeldb_core.repositories.names import check_location
from modeldb_core.trees import blob_of, check_path
from modeldb_core.trees.folders import check_apart, content_of, folders_of, make_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from modeldb_core.model.entities import Commit
    from modeldb_core.repositories.reading import CommitTree, RepositoryReader

MARK = ".modeldb-checkout.json"
"""The file in a folder that was checked out that says what was."""
_CHUNK = 1 << 20
_SHOWN = 5


class File(NamedTuple):
    """What a file is to hold: bytes, or the blob of a digest."""

    digest: str
    text: bytes | None = None


@dataclass(slots=True)
class Plan:
    """What a checkout does to a folder.

    Attributes:
        write: what files are to hold, by their path in the folder.
        remove: what files hold that an earlier checkout wrote and that are to go.
        before: what files held that an earlier checkout wrote and that are to be replaced.
    """

    write: dict[str, File] = field(default_factory=dict)
    remove: dict[str, File] = field(default_factory=dict)
    before: dict[str, File] = field(default_factory=dict)


def checkout(
    repository: RepositoryReader, commit: Commit, path: str | os.PathLike[str], *, force: bool = False
) -> tuple[Path, Plan]:
    """Bring a folder to what a commit holds; return it, and what was done.

    Args:
        repository: of the commit.
        commit: which.
        path: the folder, which is made where it is not there.
        force: whether files that are in the way are replaced, or removed where an earlier checkout wrote them.

    Raises:
        AlreadyExistsError: a file is in the way, or a link; nothing is written.
        InvalidArgumentError: a location cannot be the name of a file, two have one name on that file system, or ``path`` is
            not a folder; nothing is written.
        NotFoundError, IntegrityError: something that the commit needs is not in the artifact store, or damaged.
    """
    root = Path(path)
    if root.exists() and not root.is_dir():
        msg = f"{str(root)!r} is not a folder; name a folder to check out into"
        raise InvalidArgumentError(msg)
    target = repository.tree(commit)
    plan = _plan(repository, _tree_of(root, repository), target)
    _check(root, plan, force=force)
    check_apart(plan.write, root)
    make_folder(root)
    for name in plan.remove:
        _remove(root, name)
    for name, file in plan.write.items():
        _write(root / name, file, repository.artifacts.open)
    mark = {"repository_id": repository.repository.entity_id, "commit": commit.digest, "tree": target.tree.root}
    text = json.dumps(mark, indent=2).encode() + b"\n"
    _write(root / MARK, File(hashlib.sha256(text).hexdigest(), text), repository.artifacts.open)
    return root, plan


def rendered(repository: RepositoryReader, entry: Entry) -> bytes:
    """Return the JSON of a blob as a file holds it."""
    plain = from_entry(entry, repository.artifacts.open).plain()
    return json.dumps(to_json(plain), indent=2, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _tree_of(root: Path, repository: RepositoryReader) -> CommitTree:
    """Return the tree that an earlier checkout wrote: that without locations where there was none, or of something else."""
    with suppress(OSError, ValueError, RecursionError, ModelDBError):
        mark = json.loads((root / MARK).read_bytes()) if not (root / MARK).is_symlink() else None
        if isinstance(mark, dict) and mark.get("repository_id") == repository.repository.entity_id:
            tree = repository.tree_at(mark["tree"]) if is_digest(mark.get("tree")) else None
            if tree is not None and tree.tree.count >= 0:  # it can be read
                return tree
    return repository.tree(None)


def _plan(repository: RepositoryReader, before: CommitTree, after: CommitTree) -> Plan:
    plan = Plan()
    for location, old, new in before.differences(after):
        check_location(location)
        have, want = _files(repository, location, old, new)
        if twice := next((name for name in want if name in plan.write), None):
            raise InvalidArgumentError(_meet(twice))
        plan.write.update(want)
        plan.before.update((name, file) for name, file in have.items() if name in want)
        plan.remove.update((name, file) for name, file in have.items() if name not in want)
    folders = {folder for name in plan.write for folder in folders_of(name)}
    if both := next((name for name in plan.write if name in folders), None):
        raise InvalidArgumentError(_meet(both))
    if any(name.partition("/")[0].casefold() == MARK for name in plan.write):
        msg = f"location {MARK!r} is the name of the file that says what was checked out; it cannot be checked out"
        raise InvalidArgumentError(msg)
    for name in plan.write:
        plan.remove.pop(name, None)
    return plan


def _meet(name: str) -> str:
    return f"two locations would both be written at {name!r:.200}; the commit cannot be checked out into one folder"


def _files(
    repository: RepositoryReader, location: str, before: Entry | None, after: Entry | None
) -> tuple[dict[str, File], dict[str, File]]:
    """Return the files of an entry before and after; of the parts of data those that differ, for which both trees are read once."""
    old, new = _kept(repository, before), _kept(repository, after)
    if old is None or new is None:
        return _whole(repository, location, before, old), _whole(repository, location, after, new)
    have: dict[str, File] = {}
    want: dict[str, File] = {}
    for part, *both in old.differences(new):
        for found, entry in zip((have, want), both, strict=True):
            if entry is not None and (digest := blob_of(entry)) is not None:
                found[f"{location}/{check_path(part)}"] = File(digest)
    return have, want


def _whole(
    repository: RepositoryReader, location: str, entry: Entry | None, kept: CommitTree | None
) -> dict[str, File]:
    if entry is None:
        return {}
    if kept is None:
        text = rendered(repository, entry)
        return {location: File(hashlib.sha256(text).hexdigest(), text)}
    blobs = ((part, blob_of(each)) for part, each in kept.tree.items())
    return {f"{location}/{check_path(part)}": File(digest) for part, digest in blobs if digest is not None}


def _kept(repository: RepositoryReader, entry: Entry | None) -> CommitTree | None:
    """Return the tree of the files of data, where they were kept."""
    root = None if entry is None else entry.get("tree")
    if not is_digest(root):
        return None
    tree = repository.tree_at(str(root))
    first = next(iter(tree.tree.items(limit=1)), None)
    return tree if first is not None and blob_of(first[1]) is not None else None


def _check(root: Path, plan: Plan, *, force: bool) -> None:
    """See that nothing is in the way.

    Raises:
        AlreadyExistsError: something is.
    """
    wrong: list[str] = []
    for name, file in {**plan.remove, **plan.write}.items():
        target = root / name
        if problem := _on_the_way(root, name, plan):
            wrong.append(problem)
            continue
        try:
            mode = target.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _impossible(name, error) from error
        if stat.S_ISDIR(mode):
            if not any(each.startswith(f"{name}/") for each in plan.remove):
                wrong.append(f"{name} is a folder")
            elif staying := _staying(root, name, plan):
                wrong.append(f"{name} is a folder with {staying}, which is not what was checked out: move it away")
        elif not force and not _holds(target, mode, [file, *filter(None, [plan.before.get(name)])]):
            wrong.append(f"{name} is {'a link' if stat.S_ISLNK(mode) else 'there, and is not what was checked out'}")
    if wrong:
        more = f" and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
        msg = (
            f"{str(root)!r} cannot be checked out into: {'; '.join(wrong[:_SHOWN])}{more}. Nothing was written; choose"
            f" another folder, or force it"
        )
        raise AlreadyExistsError(msg)


def _impossible(name: str, error: OSError) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{name!r:.200} cannot be a file on this machine: {error.strerror or error}. Nothing was written"
    )


def _on_the_way(root: Path, name: str, plan: Plan) -> str:
    """Return what is wrong with the folders above a file: one that is a link leads elsewhere."""
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        try:
            mode = (root / folder).lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise _impossible(name, error) from error
        if stat.S_ISLNK(mode):
            return f"{folder} is a link"
        if not stat.S_ISDIR(mode) and folder not in plan.remove:
            return f"{folder} is a file"
    return ""


def _staying(root: Path, name: str, plan: Plan) -> str:
    """Return what keeps a folder from going, so that a file could take its name: what no earlier checkout wrote into it."""
    folders = {folder for each in plan.remove for folder in folders_of(each)}
    for path in content_of(root / name):
        inside = path.relative_to(root).as_posix()
        if inside not in plan.remove and (inside not in folders or path.is_symlink()):
            return inside
    return ""


def _holds(path: Path, mode: int, files: list[File]) -> bool:
    """Return whether a file is one of these."""
    if not stat.S_ISREG(mode):
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() in {each.digest for each in files}


def _write(path: Path, file: File, open_blob: Callable[[str], BinaryIO]) -> None:
    make_folder(path.parent)
    unborn = path.parent / f".{new_id()}"
    try:
        with (
            unborn.open("xb") as out,
            io.BytesIO(file.text) if file.text is not None else open_blob(file.digest) as stream,
        ):
            shutil.copyfileobj(stream, out, _CHUNK)
        unborn.replace(path)
    except BaseException:
        unborn.unlink(missing_ok=True)
        raise


def _remove(root: Path, name: str) -> None:
    """Remove a file, and the folders above it that are empty then."""
    (root / name).unlink(missing_ok=True)
    parts = name.split("/")[:-1]
    with suppress(OSError):  # it is not empty
        for count in range(len(parts), 0, -1):
            with suppress(FileNotFoundError):
                (root / "/".join(parts[:count])).rmdir()
