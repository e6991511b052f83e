"""Which names and tags are accepted, and names for runs that nobody named."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.values import MAX_NAME_LENGTH, check_key

_ADJECTIVES = (
    "amber brave brisk calm clear clever coral crisp daring deep eager early fair fleet fond free gentle glad golden "
    "grand green happy hazel jolly keen kind light lively loyal lucid lunar mellow merry misty noble polar proud quick "
    "quiet rapid ready royal sharp silver sleek smart snowy solar solid sound steady still stout sunny swift tidy true "
    "vivid warm wise young"
)
_NOUNS = (
    "acorn aspen badger beacon birch brook canyon cedar cliff comet condor coral crane creek dune eagle ember falcon "
    "fern finch fjord fox garnet glade harbor hawk heron island ivy lagoon lake lark laurel lynx maple marlin meadow "
    "meteor moose moss oak orca osprey otter owl panda pearl pine plum puffin quartz raven reef ridge river robin seal "
    "spruce summit swan tern tiger tulip valley willow wolf wren"
)


def readable_name(run_id: str) -> str:
    """Return two words that can be said aloud, and digits that tell the run apart from others."""
    number = int(run_id.replace("-", "")[-12:], 16)
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    return f"{adjectives[number % len(adjectives)]}-{nouns[number // 97 % len(nouns)]}-{number % 9973:04d}"


def check_name(name: object, what: str) -> str:
    """Return a name as containers and runs bear it: 1 to 256 characters, normalized (NFC), without space around it.

    Raises:
        InvalidTypeError: it is not a text; InvalidArgumentError: it is empty or too long.
    """
    text = unicodedata.normalize("NFC", check_key(name, f"{what} name")).strip()
    check_key(text, f"{what} name")
    if len(text) > MAX_NAME_LENGTH:
        msg = f"{what} name {text[:40]!r}… has {len(text):,} characters; at most {MAX_NAME_LENGTH} are allowed"
        raise InvalidArgumentError(msg)
    return text


def check_tag(tag: object) -> str:
    """Return a tag as entities bear it: 1 to 1,024 characters, normalized (NFC), so that equal words are one tag."""
    return unicodedata.normalize("NFC", check_key(tag, "tag"))


def check_tags(tags: Iterable[str]) -> list[str]:
    """Return tags as a list without repeats."""
    if isinstance(tags, str):
        msg = f"tags is the text {tags!r}; expected a list of texts: [{tags!r}]"
        raise InvalidTypeError(msg)
    given: object = tags
    if not isinstance(given, Iterable):
        msg = f"tags is of type {type(given).__name__}; expected a list of texts"
        raise InvalidTypeError(msg)
    return list(dict.fromkeys(check_tag(tag) for tag in given))


def fitting_name(name: str) -> str:
    """Return a name that a program generated as one that may name a run: it is shortened rather than refused."""
    text = name.replace("\0", "␀").encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_NAME_LENGTH else f"{text[: MAX_NAME_LENGTH - 1]}…"
