"""Plugins: found, listed, blocked; broken ones are named and do no harm; stores are opened by scheme."""

from __future__ import annotations

import inspect
import re
import signal
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from modeldb_core import RunHandle, hookimpl, hookspecs
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidArgumentError,
    MissingDependencyError,
    ModelDBWarning,
    StoreUnavailableError,
    UnknownSchemeError,
    UntrustedModelError,
)
from modeldb_core.hookspecs import LoggedRun
from modeldb_core.plugins import (
    PluginManager,
    find_backend,
    list_plugins,
    load_settings,
    open_artifacts,
    open_store,
    plugin_manager,
)
from modeldb_core.stores import Backend

DOCS = Path(__file__).parents[2] / "docs" / "plugins.md"
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("modeldb_"))


class Installer:
    """Installs plugins into a folder of the test, as distributions with entry points, and runs Python with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, distribution: str, module: str, source: str, *, name: str | None = None, version: str = "1.2"
    ) -> None:
        self.folder.joinpath(f"{module}.py").write_text(textwrap.dedent(source), "utf-8")
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        points = info / "entry_points.txt"
        before = points.read_text() if points.exists() else "[modeldb]\n"
        points.write_text(f"{before}{name or module} = {module}\n")

    def __enter__(self) -> Installer:
        sys.path.insert(0, str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        sys.path.remove(str(self.folder))
        for path in self.folder.glob("*.py"):
            sys.modules.pop(path.stem, None)


@pytest.fixture
def installer(tmp_path: Path) -> Iterator[Installer]:
    folder = tmp_path / "site"
    folder.mkdir()
    with Installer(folder) as ready:
        yield ready


def load(*blocked: str) -> tuple[PluginManager, list[str]]:
    """Load all installed plugins afresh; return the manager and the warnings."""
    manager = PluginManager()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.load_entry_points(blocked)
        manager.backends()
    return manager, [str(item.message) for item in caught if item.category is ModelDBWarning]


def module_of(**functions: Callable[..., Any]) -> types.ModuleType:
    module = types.ModuleType("inline_plugin")
    for name, function in functions.items():
        function.__name__ = name
        setattr(module, name, hookimpl(function))
    return module


# -- finding and listing ------------------------------------------------------------------------------------------------


def test_the_metadata_of_a_distribution_are_read_once_for_all_its_plugins() -> None:
    program = (
        "import sys\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from modeldb_core.plugins import plugin_manager\n"
        "assert len(plugin_manager().infos) > 4\n"
        "read = [path for path in opened if path.endswith('METADATA')]\n"
        "assert len(read) == len(set(read)) > 0, read\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_the_plugins_of_modeldb_itself_are_loaded_through_their_entry_points() -> None:
    infos = {info.name: info for info in list_plugins()}
    assert infos["modeldb_core.backends"].state == "loaded"
    assert infos["modeldb_core.backends"].distribution == "modeldb-core"
    assert {backend.scheme for backend in infos["modeldb_core.backends"].backends} >= {"sqlite", "memory", "file"}
    assert "modeldb_run_context" in infos["modeldb_core.context"].hooks


def test_an_installed_plugin_is_listed_with_what_it_provides(installer: Installer) -> None:
    installer.add(
        "acme-modeldb",
        "acme_store",
        """
        from modeldb_core import hookimpl
        from modeldb_core.stores import Backend

        @hookimpl
        def modeldb_register_backends():
            return [Backend("acme", "metadata", "acme_store:Store")]

        @hookimpl
        def modeldb_run_finished(run):
            pass
        """,
    )
    manager, messages = load()
    info = manager.infos["acme_store"]
    assert messages == []
    assert (info.distribution, info.version, info.state) == ("acme-modeldb", "1.2", "loaded")
    assert info.hooks == ("modeldb_register_backends", "modeldb_run_finished")
    assert [backend.scheme for backend in info.backends] == ["acme"]
    assert not info.is_own


def test_loading_does_not_touch_the_lazy_names_of_a_plugin(installer: Installer) -> None:
    installer.add(
        "acme",
        "acme_lazy",
        """
        def __getattr__(name):
            if name.startswith("__"):
                raise AttributeError(name)
            raise SystemExit("a framework was imported")

        def __dir__():
            return ["autolog"]
        """,
    )
    manager, messages = load()
    assert messages == []
    assert manager.infos["acme_lazy"].state == "loaded"


# -- isolation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence"),
        ("import gone_package", "ModuleNotFoundError: No module named 'gone_package'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("this is no Python", "SyntaxError"),
        (
            "from modeldb_core import hookimpl\n@hookimpl\ndef modeldb_run_finished(run, colour): pass",
            "colour",
        ),
    ],
)
def test_a_broken_plugin_is_named_in_a_warning_and_left_out(installer: Installer, source: str, reason: str) -> None:
    installer.add("acme-broken", "acme_broken", source)
    manager, messages = load()
    assert manager.infos["acme_broken"].state == "broken"
    assert reason in manager.infos["acme_broken"].error
    (message,) = messages
    assert "'acme_broken' (acme-broken 1.2) is left out" in message
    assert "MODELDB_DISABLE_PLUGINS=acme_broken" in message
    assert manager.call("modeldb_run_finished", run=SimpleNamespace(run_id="any"), status="finished") == []


def test_a_strangers_plugin_cannot_take_the_name_of_an_own_one(installer: Installer) -> None:
    installer.add("aaa-impostor", "aaa_impostor", "", name="modeldb_core.backends")
    manager, messages = load()
    assert manager.infos["modeldb_core.backends"].is_own
    assert any("its name is taken" in message for message in messages)


def test_two_plugins_for_one_scheme_are_warned_of_and_the_own_one_keeps_it(installer: Installer) -> None:
    source = """
        from modeldb_core import hookimpl
        from modeldb_core.stores import Backend

        @hookimpl
        def modeldb_register_backends():
            return [Backend("sqlite", "metadata", "{0}:Store"), Backend("acme", "metadata", "{0}:Store")]
        """
    installer.add("acme-one", "acme_one", source.format("acme_one"))
    installer.add("acme-two", "acme_two", source.format("acme_two"))
    manager, messages = load()
    table = manager.backends()
    assert table["metadata", "sqlite"][1].is_own
    assert table["metadata", "acme"][1].name == "acme_one"
    assert len(messages) == 3
    assert any("'acme_two' (acme-two 1.2) also provides metadata for 'acme'; 'acme_one'" in text for text in messages)


def test_backends_of_the_wrong_type_are_warned_of(installer: Installer) -> None:
    installer.add(
        "acme",
        "acme_wrong",
        "from modeldb_core import hookimpl\n@hookimpl\ndef modeldb_register_backends(): return ['sqlite']",
    )
    manager, messages = load()
    assert any("acme_wrong" in text and "expected a list of Backend" in text for text in messages)
    assert ("metadata", "sqlite") in manager.backends()


def test_a_hook_of_a_later_version_is_warned_of_and_the_plugin_still_works(installer: Installer) -> None:
    installer.add(
        "acme",
        "acme_new",
        """
        from modeldb_core import hookimpl

        @hookimpl
        def modeldb_read_minds(run):
            pass

        @hookimpl
        def modeldb_describe_object(obj):
            return {"type": "thing"}
        """,
    )
    manager, messages = load()
    assert any("modeldb_read_minds, which this version of ModelDB does not know" in text for text in messages)
    assert manager.call("modeldb_describe_object", obj=object()) == {"type": "thing"}


def test_a_hook_that_raises_is_a_warning_and_the_others_are_heard() -> None:
    def fails(settings: Any) -> Any:
        raise ValueError("no GPU today")

    manager = PluginManager()
    manager.add(module_of(modeldb_run_context=fails), "failing")
    manager.add(module_of(modeldb_run_context=lambda settings: {"code": {"a": 1}}), "working")
    with pytest.warns(
        ModelDBWarning, match=r"plugin 'failing' failed in modeldb_run_context .*ValueError: no GPU today"
    ):
        results = manager.call("modeldb_run_context", settings=load_settings())
    assert results == [{"code": {"a": 1}}]


def test_what_a_signal_handler_raises_while_a_plugin_works_reaches_the_program() -> None:
    def stop(number: int, frame: Any) -> None:
        raise TimeoutError("the job is over")

    manager = PluginManager()
    interrupted = module_of(modeldb_run_context=lambda settings: signal.raise_signal(signal.SIGUSR1))
    manager.add(interrupted, "interrupted")
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(TimeoutError, match="the job is over"):
            manager.call("modeldb_run_context", settings=load_settings())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_wrapper_that_raises_is_a_warning_too() -> None:
    manager = PluginManager()
    module = types.ModuleType("wrapping")

    @hookimpl(wrapper=True)
    def modeldb_run_context(settings: Any) -> Any:
        yield
        raise ValueError("wrapped wrongly")

    module.modeldb_run_context = modeldb_run_context  # type: ignore[attr-defined]
    manager.add(module, "wrapping")
    with pytest.warns(ModelDBWarning, match="modeldb_run_context failed: ValueError: wrapped wrongly"):
        assert manager.call("modeldb_run_context", settings=load_settings()) == []


def test_plugins_may_take_fewer_arguments_than_a_hook_has() -> None:
    seen = []
    manager = PluginManager()
    manager.add(module_of(modeldb_run_finished=lambda status: seen.append(status)), "small")
    manager.call("modeldb_run_finished", run=object(), status="failed")
    assert seen == ["failed"]


def test_a_warning_points_at_the_line_of_the_users_program() -> None:
    def fails(run: Any) -> None:
        raise ValueError("x")

    manager = PluginManager()
    manager.add(module_of(modeldb_run_started=fails), "failing")
    with pytest.warns(ModelDBWarning) as caught:
        manager.call("modeldb_run_started", run=None)
    assert caught[0].filename == __file__


# -- blocking -----------------------------------------------------------------------------------------------------------


def test_plugins_are_blocked_by_variable_and_by_settings(installer: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    installer.add("acme", "acme_bad", "raise RuntimeError('never imported')")
    manager, messages = load("acme_bad")
    assert messages == []
    assert manager.infos["acme_bad"].state == "blocked"
    assert "acme_bad" not in sys.modules
    by_settings = plugin_manager(load_settings(disable_plugins=("acme_bad", "x1")))
    assert by_settings.infos["acme_bad"].state == "blocked"
    monkeypatch.setenv("MODELDB_DISABLE_PLUGINS", "acme_bad, x2")
    assert plugin_manager().infos["acme_bad"].state == "blocked"


def test_a_star_blocks_all_but_the_own_plugins(installer: Installer) -> None:
    installer.add("acme", "acme_any", "")
    manager, _ = load("*")
    assert manager.infos["acme_any"].state == "blocked"
    assert manager.infos["modeldb_core.backends"].state == "loaded"


def test_a_blocked_backend_is_an_unknown_scheme() -> None:
    settings = load_settings(url="sqlite:///x.db", disable_plugins=("modeldb_core.backends",))
    with pytest.raises(UnknownSchemeError, match="no store for 'sqlite'; known: none"):
        find_backend(settings.url, "metadata", settings)


# -- opening stores -----------------------------------------------------------------------------------------------------


def test_stores_are_opened_by_the_scheme_of_their_url(tmp_path: Path) -> None:
    with open_store("memory://") as store:
        assert dict(store.heads()) == {}
    artifacts = open_artifacts(f"file://{tmp_path}/files")
    assert list(artifacts.list()) == []
    artifacts.close()


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(UnknownSchemeError, match=r"no store for 'mysql'; known: .*memory.*sqlite"):
        open_store("mysql://me:hush@host/db")
    with pytest.raises(UnknownSchemeError, match=r"no store for 'sqlit'; did you mean 'sqlite'\?"):
        open_store("sqlit:///x.db")
    with pytest.raises(UnknownSchemeError, match="no store for 'sqlite\\+nonsense'"):
        open_store("sqlite+nonsense:///x.db")


def test_a_metadata_scheme_as_artifact_url_says_what_to_set() -> None:
    with pytest.raises(UnknownSchemeError, match=r"no artifact store for 'sqlite'.*set artifact_url"):
        open_artifacts("sqlite:///x.db")


@pytest.mark.parametrize("url", ["", "modeldb.db", "://x"])
def test_a_url_without_a_scheme_says_what_one_looks_like(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected one such as 'sqlite:///modeldb\.db'"):
        open_store(url)


def _with_backend(installer: Installer, target: str, extra: str = "") -> None:
    installer.add(
        "acme",
        "acme_lazy_store",
        f"""
        from modeldb_core import hookimpl
        from modeldb_core.stores import Backend

        class NoStore:
            def __init__(self, url): pass

        @hookimpl
        def modeldb_register_backends():
            return [Backend("acme", "metadata", {target!r}, extra={extra!r})]
        """,
    )


@pytest.mark.parametrize(
    ("target", "extra", "error", "message"),
    [
        ("gone_module:Store", "acme-driver", MissingDependencyError, "No module named 'gone_module'.*pip install 'acme-driver'"),
        ("gone_module:Store", "", MissingDependencyError, "check plugin 'acme_lazy_store' .acme 1.2."),
        ("acme_lazy_store:Gone", "", ConfigurationError, "names 'acme_lazy_store:Gone' .*does not exist"),
        ("acme_lazy_store:NoStore", "", ConfigurationError, "is a NoStore; expected a MetadataStore"),
    ],
)  # fmt: skip
def test_a_backend_that_cannot_be_opened_says_what_to_do(
    installer: Installer, target: str, extra: str, error: type[Exception], message: str
) -> None:
    _with_backend(installer, target, extra)
    settings = load_settings(disable_plugins=(f"nobody-{target}-{extra}",))  # a manager of this test's own
    with pytest.raises(error, match=message):
        open_store("acme://x", settings)


def test_an_own_backend_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = plugin_manager(load_settings(disable_plugins=("test-of-extras",)))
    own = manager.infos["modeldb_core.backends"]
    table = {**manager.backends(), ("metadata", "pg"): (Backend("pg", "metadata", "gone:Store", extra="postgres"), own)}
    monkeypatch.setattr(manager, "_backends", table)
    with pytest.raises(MissingDependencyError, match=r"pip install 'modeldb-core\[postgres\]'"):
        open_store("pg://x", load_settings(disable_plugins=("test-of-extras",)))


def test_durability_reaches_a_store_that_knows_it(installer: Installer) -> None:
    installer.add(
        "acme",
        "acme_durable",
        """
        from modeldb_core import hookimpl
        from modeldb_core.backends.memory import MemoryStore
        from modeldb_core.stores import Backend

        class Durable(MemoryStore):
            def __init__(self, url, durability="normal"):
                super().__init__(url)
                self.durability = durability

        @hookimpl
        def modeldb_register_backends():
            return [Backend("acme-durable", "metadata", "acme_durable:Durable")]
        """,
    )
    options = {"url": "acme-durable://", "disable_plugins": ("nobody-durable",)}
    for durability, expected in (("process", "normal"), ("fsync", "fsync")):
        store: Any = open_store("acme-durable://", load_settings(durability=durability, **options))
        assert store.durability == expected


def test_the_table_of_a_scheme_reaches_its_stores(installer: Installer) -> None:
    installer.add(
        "acme",
        "acme_options",
        """
        from modeldb_core import hookimpl
        from modeldb_core.backends.memory import MemoryStore
        from modeldb_core.backends.blobs import FsspecArtifactStore
        from modeldb_core.stores import Backend

        class Store(MemoryStore):
            def __init__(self, url, *, region="", token="", cache_dir=None):
                super().__init__(url)
                self.region, self.token, self.cache_dir = region, token, cache_dir

        class Blobs(FsspecArtifactStore):
            def __init__(self, url, *, part_bytes=0):
                super().__init__("memory://")

        @hookimpl
        def modeldb_register_backends():
            return [
                Backend("acme-options", "metadata", "acme_options:Store"),
                Backend("acme-options", "artifacts", "acme_options:Blobs"),
            ]
        """,
    )
    options: dict[str, Any] = {"url": "acme-options://", "disable_plugins": ("nobody-options",), "token": "t"}
    table = {"acme-options": {"region": "north", "part_bytes": 5}}
    store: Any = open_store("acme-options://", settings := load_settings(stores=table, **options))
    assert (store.region, store.token, store.cache_dir) == ("north", "t", settings.cache_dir)
    wrong = load_settings(stores={"acme-options": {"regoin": "north"}}, **options)
    with pytest.raises(ConfigurationError, match=r"stores.acme-options.regoin .*did you mean 'region'"):
        open_store("acme-options://", wrong)


def test_a_forked_child_can_load_plugins(tmp_path: Path) -> None:
    program = """
        import os, threading
        from modeldb_core.plugins import manager as plugins
        plugins._lock.acquire()  # a thread of the parent is just loading
        pid = os.fork()
        if pid == 0:
            os._exit(0 if plugins.list_plugins() else 1)
        assert os.waitpid(pid, 0)[1] == 0
        """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(program)], check=True, timeout=60)


# -- every hook -----------------------------------------------------------------------------------------------------------


def _calls(hook: str, implementation: Callable[..., Any], **arguments: object) -> Any:
    manager = PluginManager()
    manager.add(module_of(**{hook: implementation}), "one")
    return manager.call(hook, **arguments)


def test_hook_modeldb_register_backends() -> None:
    backend = Backend("x", "metadata", "x:Y")
    manager = PluginManager()
    manager.add(module_of(modeldb_register_backends=lambda: [backend]), "one")
    assert manager.backends()["metadata", "x"][0] is backend


def test_hook_modeldb_register_kinds() -> None:
    # What follows from a declaration, test_kinds.py shows.
    plugin = module_of(modeldb_register_kinds=lambda: ["gauge"])
    with pytest.warns(ModelDBWarning, match=r"returned \['gauge'\] as its kinds; expected a list of KindDeclaration"):
        PluginManager().add(plugin, "one")


def test_hook_modeldb_register_autologgers() -> None:
    found = _calls("modeldb_register_autologgers", lambda: {"framework": print})
    assert found == [{"framework": print}]


def test_hook_modeldb_configure() -> None:
    seen: list[Any] = []
    settings = load_settings(project="p")
    _calls("modeldb_configure", lambda settings: seen.append(settings), settings=settings)
    assert seen == [settings]


def test_hook_modeldb_run_context() -> None:
    found = _calls("modeldb_run_context", lambda: {"context": {"job": 7}}, settings=load_settings())
    assert found == [{"context": {"job": 7}}]


def test_hook_modeldb_run_started() -> None:
    seen: list[Any] = []
    _calls("modeldb_run_started", lambda run: seen.append(run), run="run")
    assert seen == ["run"]


def test_hook_modeldb_run_finished() -> None:
    seen: list[Any] = []
    _calls("modeldb_run_finished", lambda run, status: seen.append((run, status)), run="run", status="killed")
    assert seen == [("run", "killed")]


def test_hook_modeldb_describe_object() -> None:
    assert _calls("modeldb_describe_object", lambda obj: {"type": type(obj).__name__}, obj=1) == {"type": "int"}
    assert _calls("modeldb_describe_object", lambda obj: None, obj=1) is None


def test_hook_modeldb_dump_model(tmp_path: Path) -> None:
    found = _calls("modeldb_dump_model", lambda model, path: {"format": "x"}, model=1, path=tmp_path)
    assert found == {"format": "x"}


def test_hook_modeldb_load_model(tmp_path: Path) -> None:
    def load_model(path: Path, model_format: str) -> object:
        if model_format == "evil":
            raise UntrustedModelError("os.system")
        return model_format

    arguments = {"path": tmp_path, "trusted": ()}
    assert _calls("modeldb_load_model", load_model, model_format="x", **arguments) == "x"
    with pytest.raises(UntrustedModelError, match=re.escape("os.system")):
        _calls("modeldb_load_model", load_model, model_format="evil", **arguments)


def test_hook_modeldb_anchor_checkpoint() -> None:
    def anchor(content: bytes) -> dict[str, Any]:
        if not content:
            raise StoreUnavailableError("the ledger is closed")
        return {"by": "acme", "size": len(content)}

    arguments = {"settings": load_settings()}
    assert _calls("modeldb_anchor_checkpoint", anchor, content=b"abc", **arguments) == [{"by": "acme", "size": 3}]
    assert _calls("modeldb_anchor_checkpoint", lambda content: None, content=b"abc", **arguments) == []
    with pytest.raises(StoreUnavailableError, match="the ledger is closed"):
        _calls("modeldb_anchor_checkpoint", anchor, content=b"", **arguments)


def test_hook_modeldb_verify_anchor() -> None:
    def check(anchor: dict[str, Any], content: bytes) -> str | None:
        if anchor["size"] != len(content):
            raise IntegrityError("it is of something else")
        return "acme saw it"

    arguments = {"anchor": {"by": "acme", "size": 3}, "settings": load_settings()}
    assert _calls("modeldb_verify_anchor", check, content=b"abc", **arguments) == "acme saw it"
    with pytest.raises(IntegrityError, match="something else"):
        _calls("modeldb_verify_anchor", check, content=b"ab", **arguments)


def test_hook_modeldb_register_blueprints() -> None:
    seen: list[Any] = []
    _calls("modeldb_register_blueprints", lambda app: seen.append(app), app="app")
    assert seen == ["app"]


def test_hook_modeldb_register_commands() -> None:
    group = click.Group()

    @click.command()
    def extra() -> None: ...

    _calls("modeldb_register_commands", lambda group: group.add_command(extra), group=group)
    assert list(group.commands) == ["extra"]


SOURCES = [
    path.read_text("utf-8")
    for package in ("modeldb_core", "server")
    for path in (DOCS.parents[1] / package).rglob("*.py")
    if path.name not in ("hookspecs.py", "isolation.py")
]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_called_documented_and_tested(hook: str) -> None:
    assert f"`{hook}" in DOCS.read_text("utf-8"), f"docs/plugins.md does not describe {hook}"
    assert f"test_hook_{hook}" in globals()
    assert any(f'"{hook}"' in text for text in SOURCES), f"nothing calls {hook}"
    specification = getattr(hookspecs, hook)
    documentation = specification.__doc__ or ""
    assert documentation.partition("\n")[0].endswith(".")
    assert "Called" in documentation
    arguments = specification.__code__.co_varnames[: specification.__code__.co_argcount]
    for argument in arguments:
        assert f":param {argument}:" in documentation
    if specification.__annotations__["return"] != "None":
        assert ":return:" in documentation


def test_a_run_has_what_hooks_may_rely_on() -> None:
    declared = {name: value for name, value in vars(LoggedRun).items() if not name.startswith("_")}
    assert len(declared) > 10
    for name, value in declared.items():
        found = getattr(RunHandle, name)
        if callable(value):
            assert inspect.signature(found) == inspect.signature(value), name
        else:
            assert isinstance(found, property), name
