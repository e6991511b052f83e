"""Stores by the scheme of their URL: which backend serves it, what it is opened with, and opening it."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from modeldb_core.config import trust
from modeldb_core.errors import ConfigurationError, InvalidArgumentError, MissingDependencyError, UnknownSchemeError
from modeldb_core.plugins.isolation import OWN_DISTRIBUTION
from modeldb_core.plugins.manager import plugin_manager
from modeldb_core.plugins.places import places_for
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.stores import ArtifactStore, Backend, MetadataStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.config import Settings
    from modeldb_core.stores.backend import StoreKind


def find_backend(url: str, kind: StoreKind, settings: Settings | None = None) -> Backend:
    """Return the backend that serves the scheme of ``url``.

    Raises:
        InvalidArgumentError: ``url`` has no scheme.
        UnknownSchemeError: no plugin provides one; the message lists the known schemes.
    """
    scheme, mark, _ = url.partition("://")
    what, example = (
        ("store", "sqlite:///modeldb.db") if kind == "metadata" else ("artifact store", "file:///data/files")
    )
    if not mark or not scheme:
        msg = f"{redact_url(url)!r} is not the URL of a {what}; expected one such as {example!r}"
        raise InvalidArgumentError(msg)
    table = plugin_manager(settings).backends()
    if found := table.get((kind, scheme.lower())):
        return found[0]
    known = sorted(name for backend_kind, name in table if backend_kind == kind)
    hint = f"; did you mean {close[0]!r}?" if (close := get_close_matches(scheme, known, 1)) else ""
    advice = "install or enable a plugin that provides it" if known else f"install {OWN_DISTRIBUTION} with pip first"
    if kind == "artifacts" and ("metadata", scheme.lower()) in table:
        advice = "set artifact_url (MODELDB_ARTIFACT_URL) to where files and models are to be kept"
    msg = f"no {what} for {scheme!r}{hint}; known: {', '.join(known) or 'none'}; {advice}"
    raise UnknownSchemeError(msg)


def open_store(url: str, settings: Settings | None = None) -> MetadataStore:
    """Open the store at ``url``; raises what :func:`find_backend` and the store raise, and MissingDependencyError."""
    store = _open(url, "metadata", settings)
    if not isinstance(store, MetadataStore):
        msg = f"the backend for {redact_url(url)!r} is a {type(store).__name__}; expected a MetadataStore"
        raise ConfigurationError(msg)
    return store


def open_artifacts(url: str, settings: Settings | None = None) -> ArtifactStore:
    """Open the artifact store at ``url``; raises as :func:`open_store` does."""
    store = _open(url, "artifacts", settings)
    if not isinstance(store, ArtifactStore):
        msg = f"the backend for {redact_url(url)!r} is a {type(store).__name__}; expected an ArtifactStore"
        raise ConfigurationError(msg)
    if settings is not None:
        store.owner = places_for(settings).owner_name(settings.url, url, settings.stores)
    return store


def store_options(url: str, kind: StoreKind, settings: Settings | None = None) -> dict[str, object]:
    """Return the options, secret ones too, with which the store at ``url`` is opened; raises as opening it does."""
    backend = find_backend(url, kind, settings)
    return {} if settings is None else _options(url, backend, load_target(backend, settings), settings)


def project_options(settings: Settings) -> tuple[dict[str, dict[str, object]], list[trust.Refusal]]:
    """Return the options of stores that a project's file sets and may set, by scheme, and those that it may not set."""
    kept: dict[str, dict[str, object]] = {}
    refused: list[trust.Refusal] = []
    backends = [backend for backend, _ in plugin_manager(settings).backends().values()]
    for scheme, options in settings.project_stores.items():
        harmless = frozenset().union(*(one.harmless for one in backends if scheme in (one.scheme, one.table)))
        kept[scheme] = {name: value for name, value in options.items() if name in harmless}
        reason = "a project's file does not decide how a store is reached or trusted; set it in your own modeldb.toml"
        file = settings.project_file
        refused += [trust.Refusal(file, f"stores.{scheme}.{name}", reason) for name in options if name not in harmless]
    return kept, refused


def load_target(backend: Backend, settings: Settings | None = None) -> Callable[..., object]:
    """Import the class of a backend.

    Raises:
        MissingDependencyError: something it needs is not installed; the message says what to install.
        ConfigurationError: the class does not exist.
    """
    _, info = plugin_manager(settings).backends()[backend.kind, backend.scheme]
    module_name, _, class_name = backend.target.partition(":")
    try:
        target = getattr(import_module(module_name), class_name)
    except ImportError as error:
        wanted = f"{OWN_DISTRIBUTION}[{backend.extra}]" if info.is_own else backend.extra
        advice = f"pip install '{wanted}'" if backend.extra else f"check plugin {info}, which provides it"
        msg = f"the backend for {backend.scheme!r} cannot be imported ({error}); {advice}"
        raise MissingDependencyError(msg) from error
    except AttributeError as error:
        msg = f"plugin {info} names {backend.target!r} for {backend.scheme!r}, which does not exist; update the plugin"
        raise ConfigurationError(msg) from error
    result: Callable[..., object] = target
    return result


# -- inside -----------------------------------------------------------------------------------------------------------


def _open(url: str, kind: StoreKind, settings: Settings | None) -> object:
    backend = find_backend(url, kind, settings)
    target = load_target(backend, settings)
    return target(url, **({} if settings is None else _options(url, backend, target, settings)))


def _options(url: str, backend: Backend, target: Callable[..., object], settings: Settings) -> dict[str, object]:
    """Return the options of a store: its table in ``settings.stores``, and the settings that it asks for by name.

    Raises:
        ConfigurationError: the table holds an option that neither kind of store for the scheme takes, or only a
            project's file asks for the store and for an option that it may not set.
    """
    own, takes_any = _parameters(target)
    options: dict[str, object] = {}
    names = (backend.table, backend.scheme)
    tables = [settings.stores.get(table, {}) for table in names]
    tables.append(_of_project(url, backend, names, settings))
    for name, value in dict(chain.from_iterable(table.items() for table in tables)).items():
        if takes_any or name in own:
            options[name] = value
        elif name not in (known := own | _other_parameters(backend, settings)):
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
            msg = f"unknown option stores.{backend.scheme}.{name} ({settings.origin('stores')}); {hint}"
            raise ConfigurationError(msg)
    if "is_named_by_project" in own:
        options["is_named_by_project"] = url in settings.project_urls
    if settings.durability == "fsync" and "durability" in own:
        # A journal is released once the store has it: so the store must not lose it.
        options["durability"] = settings.durability
    if "token" in own:
        options["token"] = settings.token_for(url)
    if "find_token" in own:
        options["find_token"] = partial(settings.token_for, url)
    if "cache_dir" in own:
        options.setdefault("cache_dir", settings.cache_dir)
    return options


def _of_project(url: str, backend: Backend, tables: tuple[str, ...], settings: Settings) -> dict[str, object]:
    """Return what a project's file says of a store, as far as it may.

    A store that only the project's file names is not opened in another way than the file asks for: what was logged would
    go somewhere else. For a store of the user's own the rest is left out.
    """
    said = {name: value for table in tables for name, value in settings.project_stores.get(table, {}).items()}
    options = {name: value for name, value in said.items() if name in backend.harmless}
    if url in settings.project_urls:
        refused = [name for name in (*said, *trust.options_in(url)) if name not in backend.harmless]
        known = {name: settings.stores.get(table, {}).get(name) for table in tables for name in refused}
        if wrong := next((name for name in refused if known[name] is None), None):
            msg = (
                f"the modeldb.toml of this project asks to open {redact_url(url)} with the option {wrong!r}, which a"
                f" project's file does not decide; set it under [stores.{backend.scheme}] in {trust.user_config_file()}, or set"
                " MODELDB_URL yourself, or name the project's folder in MODELDB_TRUSTED_FOLDERS"
            )
            raise ConfigurationError(msg)
    return options


def _other_parameters(backend: Backend, settings: Settings) -> frozenset[str]:
    """Return the options of the store of the other kind that serves the same scheme."""
    kind: StoreKind = "artifacts" if backend.kind == "metadata" else "metadata"
    other = plugin_manager(settings).backends().get((kind, backend.scheme))
    return frozenset() if other is None else _parameters(load_target(other[0], settings))[0]


def _parameters(target: Callable[..., object]) -> tuple[frozenset[str], bool]:
    """Return the names of the options that a class takes, and whether it takes others too."""
    import inspect

    try:
        _url, *parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # a class of an extension module without a signature
        return frozenset(), False
    named = {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    return frozenset(named), any(item.kind is item.VAR_KEYWORD for item in parameters)
