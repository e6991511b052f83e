"""What the URLs of stores have in common: the options behind the question mark."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from modeldb_core.errors import ConfigurationError
from modeldb_core.runtime.redaction import is_secret_name, redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def split_options(url: str, known: Mapping[str, type]) -> tuple[str, dict[str, Any]]:
    """Return ``url`` without what follows its question mark, and the options that stand there, in their types.

    Args:
        url: of a store.
        known: the options that there are, and the type of each: ``str``, ``int``, ``float`` or ``bool``.

    Raises:
        ConfigurationError: an option is unknown, stands there twice, or has a value that is not of its type.
    """
    bare, _, query = url.partition("?")
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
            msg = f"the option {name!r} in {redact_url(url)!r} is unknown; {hint}"
            raise ConfigurationError(msg)
        if name in options:
            msg = f"the option {name!r} stands twice in {redact_url(url)!r}; give it once"
            raise ConfigurationError(msg)
        options[name] = _typed(name, text, known[name], url)
    return bare, options


def _typed(name: str, text: str, kind: type, url: str) -> object:
    expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
    try:
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        shown = "***" if is_secret_name(name) else repr(text)
        msg = f"the option {name!r} in {redact_url(url)!r} has the value {shown}; expected {expected}"
        raise ConfigurationError(msg) from None
