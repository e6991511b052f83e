"""``modeldb.autolog()`` switches on every installed integration, whenever its framework is imported."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
import modeldb_lightning
import modeldb_sklearn
from modeldb_core import hookimpl
from modeldb_core.autologging import imports
from modeldb_core.autologging.switch import Integration
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, ModelDBWarning
from modeldb_core.plugins import load_settings, plugin_manager

calls: list[tuple[str, dict[str, Any]]] = []


class Acme:
    """Integrations of frameworks that are files in a folder."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.functions = functions

    @hookimpl
    def modeldb_register_autologgers(self) -> Any:
        return self.functions


def recorder(name: str) -> Callable[..., Any]:
    def switch_on(project: str | None = None, *, disable: bool = False) -> None:
        calls.append((name, {"project": project, "disable": disable}))

    return switch_on


@pytest.fixture
def frameworks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Return a function that installs a plugin; frameworks ``acme_a``, ``acme_b`` and a broken one can be imported."""
    monkeypatch.setenv("MODELDB_DISABLE_PLUGINS", "modeldb_sklearn,modeldb_lightning,modeldb_xgboost")
    (tmp_path / "acme_a.py").write_text("from importlib.util import find_spec\nloader = __loader__\nspec = __spec__\n")
    (tmp_path / "acme_b").mkdir()
    (tmp_path / "acme_b" / "__init__.py").write_text("")
    (tmp_path / "acme_b" / "late.py").write_text("x = 1\n")
    (tmp_path / "acme_broken.py").write_text(
        "import os\nif not os.environ.get('ACME_WORKS'):\n    raise OSError('no')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    manager, plugins = plugin_manager(load_settings()), []

    def install(plugin: Any) -> None:
        plugins.append(plugin)
        manager.register(plugin)

    calls.clear()
    yield install
    for plugin in plugins:
        manager.unregister(plugin)
    modeldb.autolog(disable=True)
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]
    assert imports._FINDER not in sys.meta_path


def ons() -> list[str]:
    return [name for name, arguments in calls if not arguments["disable"]]


def test_what_is_imported_is_switched_on_at_once_and_the_rest_when_it_is_imported(frameworks):
    frameworks(Acme(acme_a=recorder("a"), acme_b=recorder("b"), acme_nowhere=recorder("nowhere")))
    importlib.import_module("acme_a")
    modeldb.autolog(project="p")
    assert calls == [("a", {"project": "p", "disable": False})]
    assert "acme_b" not in sys.modules
    importlib.import_module("acme_b.late")  # by a submodule
    importlib.import_module("acme_b")
    assert ons() == ["a", "b"]


def test_a_submodule_that_a_framework_loads_late_can_be_waited_for(frameworks):
    frameworks(Acme(**{"acme_b.late": recorder("late")}))
    modeldb.autolog()
    importlib.import_module("acme_b")
    assert ons() == []
    importlib.import_module("acme_b.late")
    assert ons() == ["late"]


def test_the_framework_does_not_see_that_it_was_waited_for(frameworks):
    frameworks(Acme(acme_a=recorder("a")))
    modeldb.autolog()
    found = importlib.import_module("acme_a")
    assert type(found.loader) is type(found.__loader__) is type(found.__spec__.loader)
    assert type(found.loader).__module__ == "_frozen_importlib_external"
    assert found.spec.loader is found.loader
    assert found.loader.get_source("acme_a").startswith("from importlib")


def test_switching_off_undoes_everything_and_nothing_is_waited_for(frameworks):
    before = list(sys.meta_path)
    frameworks(Acme(acme_a=recorder("a"), acme_b=recorder("b")))
    importlib.import_module("acme_a")
    modeldb.autolog()
    assert len(sys.meta_path) == len(before) + 1
    modeldb.autolog(disable=True)
    assert sys.meta_path == before
    assert calls[-1] == ("a", {"project": None, "disable": True})
    importlib.import_module("acme_b")
    assert ons() == ["a"]


def test_an_import_that_fails_fails_as_ever_and_the_next_one_counts(frameworks, monkeypatch):
    frameworks(Acme(acme_broken=recorder("broken")))
    modeldb.autolog()
    with pytest.raises(OSError, match="^no$"):
        importlib.import_module("acme_broken")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("acme_nowhere_at_all")
    assert ons() == []
    monkeypatch.setenv("ACME_WORKS", "1")
    importlib.import_module("acme_broken")
    assert ons() == ["broken"]
    assert imports._FINDER not in sys.meta_path, "when nothing is waited for, imports are what they were"


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_broken_integration_is_named_in_a_warning_and_left_out(error: type[BaseException], frameworks):
    def broken(**_: Any) -> None:
        raise error("of an older version")

    frameworks(Acme(acme_a=broken, acme_b=recorder("b")))
    importlib.import_module("acme_b")
    modeldb.autolog()
    with pytest.warns(ModelDBWarning, match=r"acme_a by tests\.core\.test_autolog.* left out: \w+: of an older"):
        importlib.import_module("acme_a")
    assert ons() == ["b"]


@pytest.mark.parametrize("returned", [["acme"], {"acme_a": "autolog"}, {3: print}])
def test_what_is_no_map_of_functions_is_named_and_left_out(returned, frameworks):
    class Odd:
        @hookimpl
        def modeldb_register_autologgers(self) -> Any:
            return returned

    frameworks(Odd())
    frameworks(Acme(acme_b=recorder("b")))
    importlib.import_module("acme_b")
    with pytest.warns(ModelDBWarning, match="not a map from frameworks to functions"):
        modeldb.autolog()
    assert ons() == ["b"]


def test_arguments_that_an_integration_does_not_take_are_said(frameworks):
    frameworks(Acme(acme_a=recorder("a")))
    importlib.import_module("acme_a")
    with pytest.warns(ModelDBWarning, match="takes no experiment and no tags: what acme_a trains is recorded without"):
        modeldb.autolog(project="p", experiment="e", tags=["t"])
    assert calls == [("a", {"project": "p", "disable": False})]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"project": ""}, InvalidArgumentError),
        ({"project": "p" * 257}, InvalidArgumentError),
        ({"experiment": 3}, InvalidTypeError),
        ({"tags": "a"}, InvalidTypeError),
        ({"tags": [""]}, InvalidArgumentError),
        ({"client": "sqlite:///x.db"}, InvalidTypeError),
    ],
)
def test_wrong_arguments_raise_at_the_call(wrong, error, frameworks):
    frameworks(Acme(acme_a=recorder("a")))
    importlib.import_module("acme_a")
    with pytest.raises(error):
        modeldb.autolog(**wrong)
    assert calls == []


def switching(name: str, integrations: dict[str, Any]) -> Callable[..., Any]:
    integration: Integration[dict[str, Any]] = Integration(lambda patches: None, lambda: None)
    integrations[name] = integration

    def switch_on(project: str | None = None, *, disable: bool = False, log_models: bool = True) -> Any:
        return integration.switch(None if disable else {"project": project, "log_models": log_models})

    return switch_on


def test_as_a_block_and_a_decorator_it_is_in_force_in_there_only(frameworks):
    made: dict[str, Any] = {}
    frameworks(Acme(acme_a=switching("a", made), acme_b=switching("b", made)))
    importlib.import_module("acme_a")

    def projects() -> list[Any]:
        return [(each.options() or {}).get("project") for each in made.values()]

    @modeldb.autolog(project="decorated")
    def train() -> list[Any]:
        importlib.import_module("acme_b")  # while it is in force
        return projects()

    assert projects() == [None, None]
    assert train() == ["decorated", "decorated"]
    assert projects() == [None, None]
    with modeldb.autolog(project="outer"), modeldb.autolog(project="inner"):
        assert projects() == ["inner", "inner"]
    assert projects() == [None, None]
    assert train() == ["decorated", "decorated"]
    modeldb.autolog(project="base")
    assert train() == ["decorated", "decorated"]
    assert projects() == ["base", "base"]


@pytest.mark.parametrize("autolog", [modeldb.autolog, modeldb_sklearn.autolog, modeldb_lightning.autolog])
def test_every_autolog_takes_what_can_be_called_and_no_class(autolog: Any):
    class Training:
        def __call__(self, number: int) -> int:
            return number + 1

    for function in (Training(), Training().__call__, functools.partial(Training()), (1).__add__, abs):
        assert autolog(function)(1) == function(1)
    with pytest.raises(InvalidTypeError, match="is of type type; expected a Client"):
        autolog(Training)


def test_an_integration_without_a_switch_is_on_in_every_call_of_a_decorated_function(frameworks):
    frameworks(Acme(acme_a=recorder("a")))
    importlib.import_module("acme_a")

    @modeldb.autolog(project="decorated")
    def train() -> dict[str, Any]:
        return calls[-1][1]

    for _ in range(3):
        assert train() == {"project": "decorated", "disable": False}
        assert calls[-1][1]["disable"]


def test_a_framework_of_two_names_is_switched_on_once(frameworks):
    frameworks(Acme(acme_a=(function := recorder("both")), acme_b=function))
    for name in ("acme_a", "acme_b"):
        importlib.import_module(name)
    modeldb.autolog()
    assert ons() == ["both"]


def test_an_integration_of_any_arguments_gets_all_of_them(frameworks):
    taken: dict[str, Any] = {}
    written_in_c: dict[str, Any] = {}
    frameworks(Acme(acme_a=lambda **given: taken.update(given), acme_b=written_in_c.update))
    for name in ("acme_a", "acme_b"):
        importlib.import_module(name)
    modeldb.autolog(project="p", experiment="e")
    assert taken == written_in_c == {"project": "p", "experiment": "e"}


def test_a_framework_that_the_import_of_another_one_brings_is_switched_on_too(frameworks):
    integration: Integration[dict[str, Any]] = Integration(
        lambda _: [importlib.import_module(name) for name in ("acme_a", "acme_b")] and None, lambda: None
    )

    def switch_on(*, disable: bool = False, log_models: bool = True) -> Any:
        return integration.switch(None if disable else {"log_models": log_models})

    frameworks(Acme(acme_a=switch_on, acme_b=recorder("b")))
    modeldb.autolog()
    switch_on(log_models=False)  # as that of XGBoost, which imports scikit-learn
    assert integration.options() == {"log_models": False}
    assert ons() == ["b"]


def test_what_the_program_asks_of_one_integration_itself_counts(frameworks):
    integration: Integration[dict[str, Any]] = Integration(lambda _: importlib.import_module("acme_a"), lambda: None)

    def switch_on(*, disable: bool = False, log_models: bool = True) -> Any:
        return integration.switch(None if disable else {"log_models": log_models})

    frameworks(Acme(acme_a=switch_on))
    modeldb.autolog()
    switch_on(log_models=False)  # imports the framework
    assert integration.options() == {"log_models": False}


def test_many_threads_that_import_switch_on_once(frameworks):
    frameworks(Acme(acme_a=recorder("a"), acme_b=recorder("b")))
    modeldb.autolog()
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(60)
        importlib.import_module("acme_a")
        importlib.import_module("acme_b.late")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ons()) == ["a", "b"]


def test_it_imports_no_framework_and_records_what_is_trained_afterwards(tmp_path: Path):
    program = f"""
import sys
import modeldb_core as modeldb
client = modeldb.connect("sqlite:///{tmp_path}/m.db", journal_dir="{tmp_path}/j", capture_enabled=False)
modeldb.autolog(project="churn")
heavy = [name for name in ("sklearn", "torch", "lightning", "pytorch_lightning", "scipy", "skops") if name in sys.modules]
assert not heavy, heavy
from sklearn.linear_model import LogisticRegression
LogisticRegression().fit([[0.0], [1.0]], [0, 1])
run, = client.search_runs(project="churn")
assert run.name == "LogisticRegression", run.name
modeldb.autolog(disable=True)
LogisticRegression().fit([[0.0], [1.0]], [0, 1])
assert len(client.search_runs()) == 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
