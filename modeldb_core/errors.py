"""Every exception that ModelDB raises.

Each error has a stable ``code``, which travels over HTTP and comes back as the same class, and derives from the builtin
that a caller would expect to catch. A message names the value, says what was expected, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

MAX_MESSAGE = 4000
"""Characters of a message: it quotes what was wrong, which may be of any length."""


class ModelDBError(Exception):
    """The root of every error that ModelDB raises."""

    code: ClassVar[str] = "error"

    def __str__(self) -> str:
        """Return the message as any terminal, file and answer takes it: no half of a surrogate pair, and not endless."""
        text = super().__str__().encode(errors="backslashreplace").decode()
        half = MAX_MESSAGE // 2
        return text if len(text) <= MAX_MESSAGE else f"{text[: half - 1]}…{text[-half:]}"


class InvalidArgumentError(ModelDBError, ValueError):
    """An argument has a value that cannot be accepted."""

    code = "invalid_argument"


class InvalidTypeError(InvalidArgumentError, TypeError):
    """An argument, or a value inside one, has a type that cannot be stored."""

    code = "invalid_type"


class QuerySyntaxError(InvalidArgumentError):
    """A filter or an order does not parse.

    Attributes:
        text: the whole text that was given.
        column: the 1-based column at which parsing stopped.
    """

    code = "query_syntax"

    def __init__(self, message: str, text: str = "", column: int = 0) -> None:
        super().__init__(message)
        self.text = text
        self.column = column


class NotFoundError(ModelDBError, LookupError):
    """An entity, series, artifact or blob that must exist does not."""

    code = "not_found"


class ErasedError(NotFoundError):
    """An entity was deleted, and nothing that was said of it is kept: only that it was, who deleted it, and when."""

    code = "erased"


class AlreadyExistsError(ModelDBError):
    """Something that must not exist yet does."""

    code = "already_exists"


class RunFinishedError(ModelDBError, RuntimeError):
    """Something was logged to a run that has ended."""

    code = "run_finished"


class NoRunError(ModelDBError, RuntimeError):
    """Something was to be logged to the current run, and there is none."""

    code = "no_run"


class ConflictError(ModelDBError):
    """A stream arrived with a change that differs from the one already stored under its number."""

    code = "conflict"


class CycleError(ConflictError):
    """Something was to be made from itself, directly or through others; nothing was applied."""

    code = "cycle"


class StreamGapError(ModelDBError):
    """A stream arrived with a number missing; ``expected`` is the one the store waits for."""

    code = "stream_gap"

    def __init__(self, message: str, expected: int = 0) -> None:
        super().__init__(message)
        self.expected = expected


class PreconditionError(ModelDBError):
    """A condition of a batch of changes did not hold, so nothing of the batch was applied.

    Attributes:
        condition: the one that failed, a :class:`~modeldb_core.log.conditions.Condition`; ``None`` where nobody said.
        found: what was there instead: a revision, a value, an identifier, or ``None`` for nothing.
    """

    code = "precondition"

    def __init__(self, message: str, condition: object = None, found: object = None) -> None:
        super().__init__(message)
        self.condition = condition
        self.found = found


class BranchMovedError(PreconditionError):
    """A branch was moved by somebody else meanwhile, so a commit was not made; build on its new head and try again."""

    code = "branch_moved"


class MergeConflictError(ModelDBError):
    """Two lines of work cannot be merged without a decision; nothing was written.

    Attributes:
        conflicts: what is to be decided: each a :class:`~modeldb_core.repositories.merging.Conflict`, or from a server a map.
    """

    code = "merge_conflict"

    def __init__(self, message: str, conflicts: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.conflicts = conflicts


class ConditionsUnsupportedError(ModelDBError):
    """A store cannot apply changes under conditions: nothing there decides who comes first."""

    code = "conditions_unsupported"


class QueryUnsupportedError(ModelDBError):
    """A store was asked for something that it does not understand, and would have answered with more than that."""

    code = "query_unsupported"


class IntegrityError(ModelDBError):
    """Stored data does not match its digest or its chain."""

    code = "integrity"


class CorruptJournalError(IntegrityError):
    """A journal file is damaged before its end, so not by a crash alone."""

    code = "corrupt_journal"


class ConfigurationError(ModelDBError, ValueError):
    """A setting has a value that cannot be used."""

    code = "configuration"


class UnknownSchemeError(ConfigurationError):
    """No backend is registered for the scheme of a URL."""

    code = "unknown_scheme"


class MissingDependencyError(ConfigurationError, ImportError):
    """A backend or format needs a package that is not installed."""

    code = "missing_dependency"


class StoreUnavailableError(ModelDBError, ConnectionError):
    """The store cannot be reached or cannot write now; the same call may succeed later.

    Attributes:
        retry_after_s: for how many seconds it wants to be left alone, where it said so (``Retry-After``); else 0.
    """

    code = "store_unavailable"
    retry_after_s: float = 0.0


class TimeLimitError(ModelDBError, TimeoutError):
    """What was asked for takes longer than a request may; nothing goes on with it. Ask for less."""

    code = "time_limit"


class StoreReadOnlyError(ModelDBError, PermissionError):
    """The store may not be written with the permissions of this process."""

    code = "store_read_only"


class StoreVersionError(ModelDBError):
    """The store was written by a version of ModelDB that this one cannot work with."""

    code = "store_version"


class PermissionDeniedError(ModelDBError, PermissionError):
    """The caller may not do this."""

    code = "permission_denied"


class StreamDeniedError(PermissionDeniedError):
    """The caller may not add to this stream; nothing was applied, and another one can be begun."""


class FolderChangedError(ModelDBError, OSError):
    """A folder changed while it was read, so that nothing true can be said of it."""

    code = "folder_changed"


class ModelLoadError(ModelDBError):
    """A stored model cannot be loaded here: something that it names does not exist, or is another version."""

    code = "model_load"


class ReproductionError(ModelDBError):
    """A recorded run cannot be repeated: the record lacks something, asks for what is refused, or something is not here."""

    code = "reproduction"


class UntrustedModelError(ModelDBError):
    """Loading a model would run code or build types that the caller did not allow."""

    code = "untrusted_model"


def error_from_code(code: str, message: str) -> ModelDBError:
    """Return the error that ``code`` names, with ``message``; an unknown code gives a ``ModelDBError``."""
    for cls in _all_errors(ModelDBError):
        if cls.code == code:
            return cls(message)
    return ModelDBError(message)


def _all_errors(root: type[ModelDBError]) -> list[type[ModelDBError]]:
    found = [root]
    for child in root.__subclasses__():
        found.extend(_all_errors(child))
    return found


class ModelDBWarning(UserWarning):
    """Something went wrong in a way that does not stop the program: tracking goes on, or goes on without a part."""
