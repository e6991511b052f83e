"""Takes secrets out of texts before they are shown or recorded.

Recognized are passwords in URLs, values whose name says that they are secret, and tokens of well-known shapes. It is a
safety net and no proof: what is nowhere called a secret and looks like none passes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"(?:password|passwd|passphrase|secret|token|credentials?)$"
    r"|(?:^|[_\-.])(?:pass|pwd|auth|signature|sig|sas|(?:api|access|private|secret|account|shared|ssh)[_\-]?key)$"
    r"|(?:server|read|access|auth|api)[_\-.]tokens$"  # but not max_tokens
    r"|^(?:key|apikey)$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user>[^\s/?#@:'\"]*):(?P<password>[^\s/?#'\"]*)@")
_LONE_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<token>[^\s/?#@:'\"]{16,})@")
_PARAMETER = re.compile(r"(?P<before>[?&;])(?P<name>[^\s=&;#?]+)=(?P<value>[^\s&;#'\"]*)")
_ASSIGNMENT = re.compile(r"^(?P<name>-{0,2}[A-Za-z][\w.\-]*)(?P<mark>[=:])(?P<value>.+)$", re.DOTALL)
_TOKENS = re.compile(
    r"\b(?:gh[opusr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w\-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[\w\-]{20,}"
    r"|xox[abprs]-[\w\-]{10,}|AKIA[0-9A-Z]{16}|eyJ[\w\-]{10,}\.[\w\-]{10,}\.[\w\-]*)"
)


def is_secret_name(name: str) -> bool:
    """Whether what goes by ``name`` (an option, a setting, a parameter, a variable) is to be hidden."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name.strip().lstrip("-"))) is not None


def redact_text(text: str) -> str:
    """Return ``text`` with passwords and secret parameters of URLs, and well-known tokens, hidden."""
    if "://" in text:
        text = _USERINFO.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", text)
        text = _LONE_USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    if "=" in text:
        text = _PARAMETER.sub(_redact_parameter, text)
    return _TOKENS.sub(HIDDEN, text)


def redact_url(url: str) -> str:
    """Return ``url`` as it may be shown: without its password and secret parameters."""
    return redact_text(url)


def strip_userinfo(url: str) -> str:
    """Return ``url`` without the user name and password that may stand in it."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    return redact_text(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def redact_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the values of secret options hidden: ``--password=x``, ``--token x``, ``KEY=x``."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        if hide_next and not argument.startswith("-"):
            shown.append(HIDDEN)
            hide_next = False
            continue
        match = _ASSIGNMENT.match(argument)
        if match and "://" not in match["name"] + match["mark"] + match["value"][:2] and is_secret_name(match["name"]):
            shown.append(f"{match['name']}{match['mark']}{HIDDEN}")
        else:
            shown.append(redact_text(argument))
        hide_next = argument.startswith("-") and match is None and is_secret_name(argument)
    return shown


def redact_value(value: object, name: str = "") -> object:
    """Return a plain value as it may be shown; in maps, what has a secret name is hidden."""
    if isinstance(value, Mapping):
        return {key: redact_value(item, str(key)) for key, item in value.items()}
    if name and is_secret_name(name) and value not in ("", None, ()):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, (list, tuple)):
        return [redact_value(item) for item in value]
    return value


def _redact_parameter(match: re.Match[str]) -> str:
    hidden = HIDDEN if is_secret_name(match["name"]) else match["value"]
    return f"{match['before']}{match['name']}={hidden}"
