"""Object storage by way of fsspec: from a URL and options to a file system.

The stores in buckets share this module: it knows the options of each kind of storage, and makes a file system that does
not cache listings, does not hang for ever and survives a fork.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._fsspec_errors import translate
from modeldb_core.backends._fsspec_loop import prepare
from modeldb_core.backends._urls import split_options
from modeldb_core.errors import (
    ConfigurationError,
    MissingDependencyError,
    ModelDBError,
    StoreUnavailableError,
)
from modeldb_core.runtime.redaction import redact_url, strip_userinfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.backends._fsspec_errors import Doing


S3_OPTIONS: Mapping[str, type] = {
    "endpoint_url": str,
    "region": str,
    "key": str,
    "secret": str,
    "session_token": str,
    "profile": str,
    "ca_bundle": str,
    "verify": bool,
    "addressing_style": str,
    "connect_timeout_s": float,
    "read_timeout_s": float,
    "max_attempts": int,
}
GS_OPTIONS: Mapping[str, type] = {"project": str, "credentials": str, "endpoint_url": str}
AZURE_OPTIONS: Mapping[str, type] = {
    "account_name": str,
    "account_key": str,
    "connection_string": str,
    "sas_token": str,
}
OPTIONS: Mapping[str, Mapping[str, type]] = {
    **dict.fromkeys(("s3", "s3a"), S3_OPTIONS),
    **dict.fromkeys(("gs", "gcs"), GS_OPTIONS),
    **dict.fromkeys(("az", "abfs", "abfss"), AZURE_OPTIONS),
}
"""The options of each scheme that reach its driver; other schemes have none."""

METADATA_OPTIONS: Mapping[str, type] = {
    "max_staleness_s": float,
    "allow_stale": bool,
    "compact": bool,
    "durability": str,
    "cache_dir": str,
}
"""The options of the store of runs itself, on any of them."""
ARTIFACT_OPTIONS: Mapping[str, type] = {"part_mib": int, "parallel": int, "memory_mib": int}
"""The options of the store of artifacts itself, on S3."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
MAX_ATTEMPTS = 3
_PAUSE_S = 3.0  # between attempts, at most, as a rule
_SLOWEST = 50_000  # bytes a second
_CONNECTIONS = 32  # at once, to one endpoint

_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "modeldb-core[s3]"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}


def split_url(
    url: str, options: Mapping[str, Any], own: Mapping[str, type]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return a URL without its options, the options for its driver, and those of the store itself.

    Options of the URL win over those that are given. Runs and artifacts may share a URL and a table of the
    configuration, so the options of the store of the other kind are accepted, and left out.

    Args:
        url: of a store.
        options: as they were given otherwise; ``None`` stands for one that was not.
        own: the options of the store itself, and their types.

    Raises:
        ConfigurationError: an option is unknown or has a value that is not of its type.
    """
    scheme = url.partition("://")[0].lower()
    of_driver = OPTIONS.get(scheme, {})
    known = {**of_driver, **METADATA_OPTIONS, **(ARTIFACT_OPTIONS if of_driver is S3_OPTIONS else {}), **own}
    bare, found = split_options(url, known)
    merged = {name: value for name, value in options.items() if value is not None} | found
    for name, value in merged.items():
        _check_option(name, value, known, bare)
    driver = {name: value for name, value in merged.items() if name in of_driver}
    return bare, driver, {name: value for name, value in merged.items() if name in own}


def _check_option(name: str, value: object, known: Mapping[str, type], url: str) -> None:
    if name not in known:
        close = get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
        msg = f"the option {name!r} of {redact_url(url)} is unknown; {hint}"
        raise ConfigurationError(msg)
    kind = known[name]
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        words = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
        msg = f"the option {name!r} of {redact_url(url)} is a {type(value).__name__}; expected {words}"
        raise ConfigurationError(msg)


class Remote:
    """A folder on a file system of fsspec.

    Args:
        url: where it is, without options.
        options: those of ``OPTIONS`` for its scheme.

    Attributes:
        url: without secrets.
        scheme: of the URL, in lower case.
        root: the folder as the file system names it, without a slash at its end.
        bucket: the first part of it.
        identity: what makes two remotes the same place: the URL, and the endpoint or account it is looked for at.

    Raises:
        ConfigurationError: the URL names no folder, or an option has an invalid value.
        MissingDependencyError: a package is not installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        scheme, mark, rest = url.partition("://")
        self.scheme = scheme.lower()
        self.url = strip_userinfo(url).rstrip("/")
        if not mark or not rest.strip("/"):
            example = "file:///data/modeldb" if self.scheme == "file" else f"{self.scheme or 's3'}://bucket/prefix"
            msg = f"{redact_url(url)!r} does not name a bucket or folder; expected a URL such as {example!r}"
            raise ConfigurationError(msg)
        if self.scheme in ("s3", "s3a") and "@" in rest.partition("/")[0]:
            msg = f"{self.url} carries credentials before its bucket; give them as options key and secret instead"
            raise ConfigurationError(msg)
        self._arguments = _arguments(self.scheme, options, self.url)
        attempts = options.get("max_attempts", MAX_ATTEMPTS)
        waits_s = options.get("connect_timeout_s", CONNECT_TIMEOUT_S) + options.get("read_timeout_s", READ_TIMEOUT_S)
        self._patience_s = attempts * (waits_s + _PAUSE_S)
        self._target = f"{self.scheme}://{rest}".rstrip("/")
        self._fs: Any = None
        self._pid = 0
        self.root = self._connect()
        self.bucket = self.root.lstrip("/").partition("/")[0]
        self.identity = "\n".join([f"{self.scheme.rstrip('a')}://{self.root}", *_place(self.scheme, options)])

    @property
    def fs(self) -> Any:  # noqa: ANN401 - of fsspec, which has no types
        """The file system; a forked child gets one of its own, because connections and their thread stay behind."""
        if self._pid != os.getpid():
            self._connect()
        return self._fs

    def _connect(self) -> str:
        if self._fs is not None:
            _inherited.append(self._fs)  # letting it go would close the parent's connections
        try:
            from fsspec.core import url_to_fs

            fs, root = url_to_fs(self._target, **self._arguments)
        except ImportError as error:
            package = _PACKAGES.get(self.scheme, "what it needs")
            msg = f"{self.url} needs a package that is not installed ({error}); pip install '{package}'"
            raise MissingDependencyError(msg) from error
        except Exception as error:
            raise translate(error, self.url, "read") from error
        loop = getattr(fs, "_loop", None)
        if loop is not None:
            prepare(loop)
        if self.scheme in ("s3", "s3a"):
            fs.retries = 1  # the client of AWS below it tries again; both together would multiply the time
        self._fs, self._pid = fs, os.getpid()
        return str(root).rstrip("/")

    def send(self, method: str, *arguments: Any, size_bytes: int = 0, **named: Any) -> Any:  # noqa: ANN401 - as above
        """Call a method of the file system that sends something, and give up when that takes too long.

        While a driver waits for leave to send a body, the timeouts of its connection do not count.

        Args:
            method: its name.
            arguments: what it takes.
            size_bytes: how much is sent.
            named: what it takes by name.
        """
        fs = self.fs
        if not getattr(fs, "async_impl", False):
            return getattr(fs, method)(*arguments, **named)
        from fsspec.asyn import sync

        if self.scheme in ("s3", "s3a"):
            fs.s3.meta.events.register_last("before-call.s3", _send_at_once, unique_id="modeldb-send-at-once")
        timeout_s = self._patience_s + size_bytes / _SLOWEST
        return sync(fs.loop, getattr(fs, f"_{method}"), *arguments, timeout=timeout_s, **named)

    def expect_listings(self) -> None:
        """Take nothing for the listing of a bucket of S3 that is none: a sign-in page that answers 200 would be an empty one."""
        self.fs.s3.meta.events.register_last(
            "after-call.s3.ListObjectsV2", _check_listing, unique_id="modeldb-check-listing"
        )

    @contextmanager
    def errors(self, doing: Doing = "read") -> Iterator[None]:
        """Turn what the file system raises into the errors of the contract."""
        try:
            yield
        except ModelDBError:
            raise
        except Exception as error:
            raise translate(error, self.url, doing) from error


_inherited: list[Any] = []


def _check_listing(parsed: dict[str, Any], **_: object) -> None:
    if parsed.get("ResponseMetadata", {}).get("HTTPStatusCode") == 200 and "IsTruncated" not in parsed:
        msg = "what answers is not a bucket of S3, perhaps a sign-in page; check the network and endpoint_url"
        raise StoreUnavailableError(msg)


def _send_at_once(params: dict[str, Any], **_: object) -> None:
    """Send a body without asking for leave, which costs a round trip."""
    params["headers"].pop("Expect", None)


def _arguments(scheme: str, options: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Return what the class of fsspec takes."""
    if scheme in ("s3", "s3a"):
        return {"use_listings_cache": False, **s3_arguments(options, url)}
    if scheme in ("gs", "gcs"):
        names = {"credentials": "token"}
    elif scheme == "file":
        return {}
    else:
        names = {}
    return {"use_listings_cache": False, **{names.get(name, name): value for name, value in options.items()}}


def s3_arguments(options: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Return what s3fs takes: credentials, ``client_kwargs`` and ``config_kwargs`` of botocore.

    Raises:
        ConfigurationError: an option has an invalid value.
    """
    style = options.get("addressing_style", "auto")
    if style not in ("auto", "path", "virtual"):
        msg = f"the option 'addressing_style' of {url} is {style!r}; expected 'auto', 'path' or 'virtual'"
        raise ConfigurationError(msg)
    for name in ("connect_timeout_s", "read_timeout_s", "max_attempts"):
        if options.get(name, 1) <= 0:
            msg = f"the option {name!r} of {url} is {options[name]}; expected more than 0"
            raise ConfigurationError(msg)
    if bool(options.get("key")) != bool(options.get("secret")):
        msg = f"{url} has one of the options key and secret; give both, or neither for the standard AWS settings"
        raise ConfigurationError(msg)
    bundle = options.get("ca_bundle")
    if bundle is not None and not os.path.exists(bundle):
        msg = f"the option 'ca_bundle' of {url} names {bundle!r}, which does not exist"
        raise ConfigurationError(msg)
    client: dict[str, Any] = {}
    if "region" in options:
        client["region_name"] = options["region"]
    if bundle is not None or "verify" in options:
        client["verify"] = bundle if bundle is not None and options.get("verify", True) else options["verify"]
    names = {"endpoint_url": "endpoint_url", "key": "key", "secret": "secret", "session_token": "token"}
    names["profile"] = "profile"
    return {
        **{target: options[name] for name, target in names.items() if name in options},
        "client_kwargs": client,
        "config_kwargs": {
            "connect_timeout": options.get("connect_timeout_s", CONNECT_TIMEOUT_S),
            "read_timeout": options.get("read_timeout_s", READ_TIMEOUT_S),
            "retries": {"total_max_attempts": options.get("max_attempts", MAX_ATTEMPTS), "mode": "standard"},
            "s3": {"addressing_style": style},
            "max_pool_connections": _CONNECTIONS,
            # Content is verified by digests of our own; weaker endpoints do not understand the newer checksums.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    }


def _place(scheme: str, options: Mapping[str, Any]) -> list[str]:
    if scheme in ("s3", "s3a"):
        environment = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        endpoint = options.get("endpoint_url") or next(filter(None, environment), "")
        return [endpoint.rstrip("/"), str(options.get("profile") or os.environ.get("AWS_PROFILE", ""))]
    names = ("endpoint_url", "account_name")
    return [str(options.get(name, "")) for name in names]
