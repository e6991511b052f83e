"""The recorded code, made again in a folder: the commit, the uncommitted changes, and a script that no commit holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.context.deadline import Deadline
from modeldb_core.context.git import apply_patch, fetch_commit, open_repository
from modeldb_core.errors import ReproductionError
from modeldb_core.reproduction.command import literal, shown
from modeldb_core.reproduction.patches import check_patch, restore_hidden, split_patch
from modeldb_core.reproduction.repository import find_repository, has_commit

if TYPE_CHECKING:
    from modeldb_core.context.git import Repository
    from modeldb_core.reproduction.record import Recording

TIMEOUT_S = 3600.0
_REMOTE = re.compile(r"https://[!-~]+|ssh://(?!-)[!-~]+|[A-Za-z0-9_.]+@[A-Za-z0-9.-]+:(?!-)[!-~]+")
"""Addresses that are fetched from: those that git takes as an address, and no transport that names a program."""


@dataclass(frozen=True, slots=True)
class CodePlan:
    """Where the code is taken from.

    Attributes:
        repository: a repository here that has the commit; ``None`` where it is fetched, or there is none.
        remote: the address that it is fetched from; "" where it is not.
    """

    repository: Repository | None
    remote: str

    def lines(self, recording: Recording) -> list[str]:
        """Return what is to be done, for people."""
        patches = split_patch(recording.patch).values()
        lines = []
        if recording.commit:
            where = shown(str(self.repository.root)) if self.repository else f"{shown(self.remote)} (fetched)"
            lines.append(f"commit {recording.commit} of {where}")
        lines += [f"  uncommitted changes of {shown(patch.path)}: {patch.summary}" for patch in patches]
        if recording.source is not None:
            lines.append(f"  the recorded text of {shown(recording.script)}")
        return lines


def plan_code(recording: Recording, *, repository: Path | None = None, fetch: bool = False) -> CodePlan:
    """Find where the code is to be had.

    Args:
        recording: what the run recorded.
        repository: a folder of the repository; default: that of the run where it still is, else that of the working folder.
        fetch: whether the commit may be fetched from the recorded address.

    Raises:
        ReproductionError: no repository here has the commit, and it is not to be fetched, or cannot be; or the recorded
            changes are not what git writes.
    """
    check_patch(recording.patch)
    if not recording.commit:
        if recording.source is None and not recording.is_given:
            msg = (
                "the run recorded neither a commit nor its script (it was not started from a file, capture.diff is off, or the "
                "script is longer than capture.diff_limit_bytes), so there is no code to run"
            )
            raise ReproductionError(msg)
        return CodePlan(None, "")
    candidates = [repository] if repository else [Path(recording.place.root), Path.cwd()]
    for folder in candidates:
        found = find_repository(folder.absolute()) if folder.is_dir() else None
        if found is not None and has_commit(found, recording.commit):
            return CodePlan(found, "")
    looked = " nor in ".join(shown(str(folder)) for folder in candidates)
    if not fetch:
        hint = f"; --fetch fetches it from {shown(recording.remote)}" if recording.remote else ""
        msg = f"commit {recording.commit} is not in {looked}; name a repository that has it with --repository{hint}"
        raise ReproductionError(msg)
    if _REMOTE.fullmatch(recording.remote) is None:
        msg = f"the recorded address {shown(recording.remote)} is not fetched from; expected https:// or ssh://. Clone it by hand and name the folder with --repository"
        raise ReproductionError(msg)
    return CodePlan(None, recording.remote)


def make_code(plan: CodePlan, recording: Recording, folder: Path) -> list[str]:
    """Write the code into ``folder / "code"``; returns why it is not exactly the recorded one, for people.

    Raises:
        ReproductionError: git fails, or the changes do not fit.
    """
    code = folder / "code"
    code.mkdir()
    gaps: list[str] = []
    if recording.commit:
        repository = plan.repository or _fetched(plan, recording, folder)
        _check_out(repository, recording.commit, code, folder / "index")
        gaps += [f"the filter {literal(name)} of the repository was not run" for name in repository.filters]
    if recording.patch:
        gaps += _patch(recording.patch, code, folder / "changes.patch")
    if recording.source is not None:
        path = within(code / recording.script, code)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(recording.source, "utf-8", newline="")
        within(code / recording.place.folder, code).mkdir(parents=True, exist_ok=True)
    if not within(code / recording.place.folder, code).is_dir():
        msg = f"the working folder {shown(recording.place.folder)} is not in the code"
        raise ReproductionError(msg)
    return gaps


def _fetched(plan: CodePlan, recording: Recording, folder: Path) -> Repository:
    fetched = folder / "repository"
    fetched.mkdir()
    output = fetch_commit(fetched, plan.remote, recording.commit, Deadline(TIMEOUT_S))
    if output.exit_code != 0 or not output.is_complete:
        msg = f"commit {recording.commit} cannot be fetched from {shown(plan.remote)}: {literal(output.errors)[:500]}"
        raise ReproductionError(msg)
    return open_repository(fetched, Deadline(60))


def _check_out(repository: Repository, commit: str, code: Path, index: Path) -> None:
    """Write the files of a commit. The repository, its working tree and its index stay as they are, and no hook runs."""
    for asked in (["read-tree", commit], ["checkout-index", "--all", "--force", f"--prefix={code}/"]):
        output = repository.ask(asked, Deadline(TIMEOUT_S), index=str(index))
        if output.exit_code != 0 or not output.is_complete:
            msg = f"git {asked[0]} fails in {shown(str(repository.root))}: {literal(output.errors)[:500]}"
            raise ReproductionError(msg)


def _patch(text: str, code: Path, written: Path) -> list[str]:
    patches = split_patch(text)
    binary = [patch.path for patch in patches.values() if patch.is_binary]
    kept = [restore_hidden(patch, code) for patch in patches.values() if not patch.is_binary]
    if kept:
        written.write_text("".join(kept), "utf-8", newline="")
        output = apply_patch(code, written, Deadline(TIMEOUT_S))
        if output.exit_code != 0 or not output.is_complete:
            msg = f"the uncommitted changes cannot be applied: {literal(output.errors)[:500]}"
            raise ReproductionError(msg)
    return [f"{literal(path)} is a binary file that was changed, and how was not recorded" for path in binary]


def within(path: Path, folder: Path) -> Path:
    """Return a path whose links and ``..`` are followed, if it lies in a folder.

    Raises:
        ReproductionError: it leads outside.
    """
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        msg = f"{shown(str(path))} leads out of the folder of the code, to {shown(str(real))}"
        raise ReproductionError(msg)
    return real
