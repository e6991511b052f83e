"""Takes secrets out of texts before they are shown or recorded.

Recognized are values whose name says that they are secret (assignments, options, parameters, headers), passwords in URLs,
private keys, and tokens of well-known shapes. It is a safety net and no proof: what is nowhere called a secret and looks
like none passes.

Patterns are texts here: ``re`` compiles each when it is first used, and keeps it. All of them take longer than many a
program needs for its first run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HIDDEN = "***"

_SECRET_NAME = (
    r"(?i)(?:password|passwd|passphrase|passcode|secret|token|credentials?|creds|authorization|cookie)$"
    r"|(?:^|[_\-.])(?:pass|pw|pwd|auth|signature|sig|sas|bearer|otp"
    r"|(?:api|access|private|secret|account|shared|ssh|encryption|signing|master|client|license|consumer|storage"
    r"|subscription|service)[_\-.]?key)$"
    r"|(?:server|read|access|auth|api)[_\-.]tokens$"  # but not max_tokens
    r"|^(?:key|apikey)$"
)
_TEXT_TOKEN = r"(?:^|[_\-.])(?:pad|bos|eos|sep|cls|unk|mask|start|end|stop|image|audio|special)[_\-]token$"
"""Names of tokens that a language model knows, not a server."""
_CAMEL = r"(?<=[a-z0-9])(?=[A-Z])"
_PLACEHOLDER = r"(?:(?:Bearer|Basic|Token)\s+)?(?:\$|<.*>$|\{.*\}$|%.*%$)"
"""A value that only says where the secret comes from: ``$TOKEN``, ``<token>``, ``{token}``."""

_URL = (
    r"(?P<scheme>(?:(?<![A-Za-z0-9+.\-])|(?<=^[+\-]))[A-Za-z][A-Za-z0-9+.\-]*://)"  # also where a line of a diff begins
)
_USERINFO = rf"(?m){_URL}(?P<user>[^\s/?#:'\"]*):(?P<password>[^\s/?#'\"]*)@"
_LONE_USERINFO = rf"(?m){_URL}(?P<token>[^\s/?#@:'\"]{{16,}})@"
_OPTIONS = (
    # curl -u name:x (but no numbers of users and groups), mysql -px
    r"(?P<lead>(?<![\w\-])(?:-u|--user|--userpwd|--proxy-user)[ \t=]+[\"']?[^\s:\"'/]+:)(?!\d+(?:\W|$))(?P<value>[^\s\"']+)",
    r"(?P<lead>\b(?:mysql|mysqldump|mysqladmin|mariadb|mongo|mongosh|sshpass)\b[^\r\n|;&]{0,300}?[ \t]-p)(?P<value>[^\s\"'\-/]\S*)",
    r"(?P<lead>\blogin\([^)\r\n]{0,300}?\bkey[ \t]*=[ \t]*[\"'])(?P<value>[^\"'\r\n]+)",  # of a service
)
_ARGUMENT = r"(?s)^(?P<name>[+~/\-]{0,2}[A-Za-z_][\w.\-/]*)(?P<mark>[=:])(?P<value>.+)$"
_GLUED = r"-p(?![\d./~]|rofile\b|ort\b)\S+"
"""``-pPASSWORD``, as database clients take it, but neither a port nor a path."""
_SHAPES = (
    r"\b(?:mdb_[\w\-]{40,}|gh[opusr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|gl[a-z]{2,5}-[\w\-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[\w\-]{20,}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}|xox[abeoprs]-[\w\-]{10,}|xapp-\d-[\w\-]{10,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}|AIza[\w\-]{30,}|ya29\.[\w\-]{20,}|GOCSPX-[\w\-]{20,}|npm_[A-Za-z0-9]{30,}"
    r"|pypi-[\w\-]{16,}|SG\.[\w\-]{16,}\.[\w\-]{16,}|dop_v1_[0-9a-f]{32,}|dapi[0-9a-f]{32}|dckr_pat_[\w\-]{20,}"
    r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|lin_api_\w{30,}|sq0(?:csp|atp)-[\w\-]{20,}|\d{8,10}:AA[\w\-]{32,}"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{20,}|eyJ[\w\-]{10,}\.[\w\-]{10,}\.[\w\-]*)"
    r"|(?<=hooks\.slack\.com/services/)[\w/]{20,}"
)
_SCHEME = r"\b(?P<scheme>Bearer|Basic)(?P<mark>\s+)(?P<value>(?=[^\s'\"]*\d)[A-Za-z0-9+/=._~\-]{8,})"
_PEM = (
    r"(?s)(?P<begin>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)(?P<body>.*?)"
    r"(?P<end>-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z|(?=\n[^\n]*[^\sA-Za-z0-9+/=:,.\\\-\"'][^\n]*(?:\n|\Z)))"
)
_PEM_LINE = r"(?m)^(?P<lead>[+\- ]?[ \t]*[\"']?)(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[A-Za-z0-9+/]{60,76}={0,2}(?=\W|$)"

_QUOTE = r"\\{0,3}(?:\"\"\"|'''|[\"'`])"
_QUOTED = rf"[rbfuRBFU]{{0,2}}(?P<quote>{_QUOTE})(?P<value>(?:(?!(?P=quote))[^\r\n])+)(?=(?P=quote))"
_NAME = (
    r"(?:(?<![\w.\-])|(?<=^-))(?P<name>[A-Za-z_][\w.\-]*)"  # from the beginning of a word: a long one is looked at once
)
_BY_NAME = tuple(
    f"(?m){pattern}"
    for pattern in (
        # password = "x", "password": "x", config["password"] = "x", password: str = "x", {"password" => "x"}
        rf"{_NAME}(?:{_QUOTE})?\]?[ \t]*(?::[ \t]*[\w.\[\] |]+[ \t]*(?==))?(?:=>|:=|[=:])[ \t]*{_QUOTED}",
        rf"\([ \t]*{_QUOTE}{_NAME}{_QUOTE}[ \t]*,[ \t]*{_QUOTED}",  # setdefault("TOKEN", "x")
        rf"{_QUOTE}--?(?P<name>[A-Za-z_][\w.\-]*){_QUOTE}[^\r\n]{{0,200}}?\bdefault[ \t]*="
        rf"[ \t]*{_QUOTED}",  # add_argument("--token", default="x")
        rf"{_QUOTE}{_NAME}{_QUOTE}[ \t]*:[ \t]*(?P<value>\d[\w.]*)",  # {"password": 1234}
        rf"(?:[?&;]|{_QUOTE}){_NAME}=(?P<value>[^\s&;#'\"\\]+)",  # ?token=x, "AccountKey=x;…"
        rf"(?<=[\"']){_NAME}:[ \t]*(?P<value>[^\s\"'\\][^\"'\\\r\n]*)",  # -H "X-Api-Key: x"
        r"(?<![\w\-\"'])--?(?P<name>[A-Za-z_][\w.\-]*)(?:=|[ \t]+)(?P<value>[^\s\"'=\-(\[]\S*)",  # --token x
        rf"(?<![\w\-])--?(?P<name>[A-Za-z_][\w.\-]*)(?:=|[ \t]+){_QUOTED}",  # --token "x"
        rf"{_NAME}(?:{_QUOTE})?[ \t]*[=:][ \t]*[(\[][ \t]*(?:{_QUOTE}[^\"'`\r\n]*{_QUOTE}[ \t]*,[ \t]*)?{_QUOTED}",  # auth=("me", "x")
        r"<(?P<name>[A-Za-z_][\w.\-]*)(?:[ \t][^<>\r\n]*)?>(?P<value>[^<>\r\n]+)(?=</)",  # <password>x</password>
        rf"\b(?:key|name)[ \t]*=[ \t]*{_QUOTE}{_NAME}{_QUOTE}[ \t]+value[ \t]*=[ \t]*{_QUOTED}",  # <add key="Password" value="x"/>
    )
)
_BY_NAME_UNQUOTED = tuple(
    f"(?m){pattern}"
    for pattern in (
        # password: x, export TOKEN=x, //registry.example.org/:_authToken=x
        r"^[+\- ]?[ \t]*(?:(?:export|set|ENV|ARG|-)[ \t]+)?(?:[^\s=]*[:/])?(?P<name>[A-Za-z_][\w.\-]*)"
        r"[ \t]*[=:][ \t]*(?P<value>[^\s\"'=:|>][^\r\n]*)",
        r"^[+\- ]?[ \t]*(?:ENV|ARG)[ \t]+(?P<name>\w+)[ \t]+(?P<value>\S+)",  # of a Dockerfile
        r"^[+\- ]?.*\b(?P<name>password)[ \t]+(?P<value>[^\s=:]\S*)",  # of .netrc
    )
)
_BLOCK = (
    r"(?m)^(?P<lead>(?P<sign>[+\- ]?)(?P<indent>[ \t]*)(?P<name>[A-Za-z_][\w.\-]*)[ \t]*:[ \t]*[|>][+\-\d]*[ \t]*\n)"
    r"(?P<value>(?:(?P=sign)(?P=indent)[ \t]+[^\n]*(?:\n|\Z))+)"
)
"""Of YAML: a text of several lines."""
_INLINE = r"[{,][ \t]*(?P<name>[A-Za-z_][\w.\-]*)[ \t]*:[ \t]*(?P<value>[^\s,}\"'{\[]+)"
"""Of YAML or Hydra: ``{password: x}``."""
_SAID = tuple(
    f"(?m){_NAME}{rest}"
    for rest in (
        r"[ \t]*=[ \t]*(?P<value>[^\s\"'`=,;&()\[\]{}][^\s\"'`,;&)\]}]*)",  # host=db password=x, UID=me;PWD=x
        r":[ \t]+(?P<value>[^\s\"'`=:,;()\[\]{}]+)(?=[ \t]*(?:[,;)\]}]|$))",  # wrong password: x
    )
)
"""In what people and programs say, where no expression stands behind a name."""
_FRAME = r"(?P<lead>[ |+\-]*)File \""
"""The line of a traceback that lines of code follow, which are indented further."""
_CODE = r"c|cc|cpp|cs|cu|cxx|go|h|hpp|ipynb|java|jl|js|jsx|kt|lua|m|mjs|php|pl|py|pyi|pyx|r|rb|rs|scala|sql|swift|ts|tsx|vue"
"""In these files what stands unquoted behind a name is an expression, not a value."""


def is_secret_name(name: str) -> bool:
    """Whether what goes by ``name`` (an option, a setting, a parameter, a variable) is to be hidden."""
    plain = re.sub(_CAMEL, "_", name.strip().lstrip("+~-"))
    return re.search(_SECRET_NAME, plain) is not None and re.search(_TEXT_TOKEN, plain.lower()) is None


def redact_text(text: str) -> str:
    """Return ``text`` with what is recognized as a secret in it replaced by ``***``."""
    if "-----BEGIN" in text:
        text = re.sub(_PEM, rf"\g<begin>{HIDDEN}\g<end>", text)
    if "://" in text:
        text = re.sub(_USERINFO, rf"\g<scheme>\g<user>:{HIDDEN}@", text)
        text = re.sub(_LONE_USERINFO, rf"\g<scheme>{HIDDEN}@", text)
    for pattern in _BY_NAME:
        text = re.sub(pattern, _hide_value, text)
    for pattern in _OPTIONS:
        text = re.sub(pattern, rf"\g<lead>{HIDDEN}", text)
    text = re.sub(_SCHEME, rf"\g<scheme>\g<mark>{HIDDEN}", text)
    return re.sub(_SHAPES, HIDDEN, text)


def redact_message(text: str) -> str:
    """Return what a program says, such as the message of an exception or its traceback, without what is recognized as a secret.

    Values behind secret names are hidden without quotes too, but not in the lines of code of a traceback.
    """
    lines = text.split("\n")
    indent: int | None = None
    for number, line in enumerate(lines):
        frame = re.match(_FRAME, line)
        if frame:
            indent = len(frame["lead"])
        elif indent is not None and len(line) - len(line.lstrip(" |")) > indent:
            continue  # code
        else:
            indent = None
        if frame is None and ("=" in line or ":" in line):
            for pattern in _SAID:
                line = re.sub(pattern, _hide_value, line)
            lines[number] = line
    return redact_text("\n".join(lines))


def redact_diff(text: str) -> tuple[str, int]:
    """Return the text of a ``git diff`` without secrets, and how many were hidden.

    In files that are not code, such as ``.env``, what stands unquoted behind a secret name is hidden as well.
    """
    parts = re.split(r"^(?=diff --)", text, flags=re.MULTILINE)
    shown = "".join(_redact_file(part) for part in parts)
    return shown, count_hidden([text], [shown])


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
    """Return a command line with the values of secret options hidden.

    Recognized are ``--password=x``, ``--token x``, ``KEY=x``, ``+db.password=x``, ``-u name:x``, ``-px``, headers, and
    secrets within a value, such as those of JSON.
    """
    shown: list[str] = []
    before = ""
    for argument in arguments:
        is_option = argument.startswith("--") or argument == "-"
        if before and is_secret_name(before) and not is_option:
            shown.append(HIDDEN)
            before = ""
            continue
        match = re.match(_ARGUMENT, argument)
        if match and "://" not in argument[: match.end("mark") + 2] and is_secret_name(match["name"]):
            shown.append(f"{match['name']}{match['mark']}{HIDDEN}")
        elif re.fullmatch(_GLUED, argument):
            shown.append(f"-p{HIDDEN}")
        elif before in ("-u", "--user", "--userpwd", "--proxy-user", "--auth") and ":" in argument:
            shown.append(f"{argument.partition(':')[0]}:{HIDDEN}")
        else:
            shown.append(redact_text(re.sub(_INLINE, _hide_value, argument)))
        before = argument if argument.startswith("-") and match is None else ""
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


def count_hidden(before: Sequence[str], after: Sequence[str]) -> int:
    """Return in how many places of ``after`` something of ``before`` is hidden."""
    places = sum(new.count(HIDDEN) - old.count(HIDDEN) for old, new in zip(before, after, strict=True))
    return max(places, int(list(before) != list(after)))


def _redact_file(text: str) -> str:
    first_line = text.partition("\n")[0]
    text = re.sub(_PEM_LINE, rf"\g<lead>{HIDDEN}", text)
    if not re.fullmatch(_CODE, first_line.strip().strip('"').rpartition(".")[2].lower()):
        text = re.sub(_BLOCK, _hide_block, text)
        for pattern in (*_BY_NAME_UNQUOTED, _INLINE):
            text = re.sub(pattern, _hide_value, text)
    return redact_text(text)


def _hide_block(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]):
        return match[0]
    return f"{match['lead']}{match['sign']}{match['indent']}  {HIDDEN}\n"


def _hide_value(match: re.Match[str]) -> str:
    whole, value = match[0], match["value"]
    name = match["name"]
    if name == "key" or not is_secret_name(name) or re.match(_PLACEHOLDER, value) or value == HIDDEN:
        return whole
    start, end = match.start("value") - match.start(), match.end("value") - match.start()
    return f"{whole[:start]}{HIDDEN}{whole[end:]}"
