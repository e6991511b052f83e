"""What integrations share: patching and its undo, isolation, work beside training, the switch."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest

from modeldb_core.autologging import (
    Background,
    Guard,
    Integration,
    Patches,
    entered,
    intercept,
    is_inside,
    quiet,
    rolled_back,
)
from modeldb_core.autologging import background as background_module
from modeldb_core.errors import ModelDBWarning
from modeldb_core.runtime import exits


class Model:
    """A class of a framework."""

    def fit(self, data: list[int], *, weight: float = 1.0) -> Model:
        """Fit it."""
        self.seen = (data, weight)
        return self

    def fit_twice(self, data: list[int]) -> Model:
        return self.fit(data).fit(data)

    @classmethod
    def make(cls) -> Model:
        return cls()


class Child(Model):
    """Inherits everything."""


@pytest.fixture
def patches():
    done = Patches()
    yield done
    done.undo()
    intercept("test", None)


# -- patching ------------------------------------------------------------------------------------------------------


def test_calls_go_through_the_interceptor_and_undo_leaves_no_trace(patches: Patches):
    before = dict(Model.__dict__)
    calls: list[Any] = []

    def interceptor(original: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append((instance, args, kwargs))
        return original(instance, *args, **kwargs)

    assert patches.wrap_method(Model, "fit", "test")
    intercept("test", interceptor)
    model = Child()
    assert model.fit([1], weight=2.0) is model
    assert calls == [(model, ([1],), {"weight": 2.0})]
    patches.undo()
    assert dict(Model.__dict__) == before
    assert Model.__dict__["fit"] is before["fit"]


def test_a_wrapped_method_looks_like_the_original(patches: Patches):
    signature, doc = inspect.signature(Model.fit), Model.fit.__doc__
    patches.wrap_method(Model, "fit", "test")
    assert inspect.isfunction(Model.fit)
    assert inspect.signature(Model.fit) == signature
    assert inspect.signature(Model().fit).parameters.keys() == {"data", "weight"}
    assert Model.fit.__doc__ == doc
    assert Model.fit.__qualname__ == "Model.fit"


def test_only_what_a_class_itself_defines_is_wrapped_and_only_once(patches: Patches):
    assert not patches.wrap_method(Child, "fit", "test")
    assert not patches.wrap_method(Model, "missing", "test")
    assert not patches.wrap_method(Model, "make", "test")
    assert patches.wrap_method(Model, "fit", "test")
    assert not patches.wrap_method(Model, "fit", "test")
    assert not patches.wrap_method(int, "__add__", "test")


def test_undo_leaves_what_somebody_else_wrapped_later(patches: Patches):
    original = Model.fit
    patches.wrap_method(Model, "fit", "test")
    ours = Model.fit

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    calls: list[Any] = []
    intercept("test", lambda original, instance, args, kwargs: calls.append(instance))
    intercept("test", None)
    Model.fit = theirs  # type: ignore[method-assign]
    try:
        patches.undo()
        assert Model.fit is theirs
        assert Model().fit([3]).seen == ([3], 1.0)
        assert calls == []
    finally:
        Model.fit = original  # type: ignore[method-assign]


def test_calls_inside_a_recorded_call_are_not_recorded_again(patches: Patches):
    seen = []

    def interceptor(original: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(original.__name__)
        with entered():
            return original(instance, *args, **kwargs)

    patches.wrap_method(Model, "fit", "test")
    patches.wrap_method(Model, "fit_twice", "test")
    intercept("test", interceptor)
    Model().fit_twice([1])
    assert seen == ["fit_twice"]
    assert not is_inside()


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return checked


@decorated
def score(y: list[int], *, weight: int = 1) -> int:
    """Add up."""
    return weight * sum(y)


def test_a_decorated_function_is_wrapped_for_whoever_has_imported_it(patches: Patches):
    imported_before, seen = score, []
    before = inspect.signature(score)

    def interceptor(original: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append((original.__name__, instance, args))
        return original(*args, **kwargs) + 1

    intercept("test", interceptor)
    assert patches.wrap_function(score, "test")
    assert not patches.wrap_function(len, "test")
    assert not patches.wrap_function(decorated, "test")
    assert imported_before([1, 2], weight=2) == 7
    assert seen == [("score", None, ([1, 2],))]
    assert inspect.signature(score) == before
    assert pickle.loads(pickle.dumps(score)) is score
    with entered():
        assert score([1, 2]) == 3
    patches.undo()
    assert score([1, 2]) == 3
    assert len(seen) == 1


def test_a_function_that_somebody_else_has_wrapped_since_is_left_to_them(patches: Patches):
    intercept("test", lambda original, instance, args, kwargs: original(*args, **kwargs) + 1)
    total = decorated(lambda y: sum(y))
    (cell,) = total.__closure__
    own = cell.cell_contents
    assert patches.wrap_function(total, "test")
    ours = cell.cell_contents
    cell.cell_contents = theirs = lambda y: 10 * ours(y)
    assert total([1, 2]) == 40
    patches.undo()
    assert cell.cell_contents is theirs
    cell.cell_contents = own


def test_a_class_that_is_pickled_by_value_takes_the_wrapper_along_harmlessly(patches: Patches):
    cloudpickle = pytest.importorskip("cloudpickle")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Local:\n    def fit(self, n):\n        return n + 1\n", namespace)
    local = namespace["Local"]
    lock = threading.Lock()
    intercept("test", lambda original, instance, args, kwargs: lock and original(instance, *args, **kwargs))
    patches.wrap_method(local, "fit", "test")
    data = cloudpickle.dumps(local())
    intercept("test", None)
    assert pickle.loads(data).fit(1) == 2


def test_methods_that_are_available_on_a_condition_stay_so(patches: Patches):
    from sklearn.utils.metaestimators import available_if

    class Conditional:
        def __init__(self, there: bool) -> None:
            self.there = there

        @available_if(lambda self: self.there)
        def fit(self) -> str:
            return "fitted"

    seen = []

    def interceptor(original: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(instance)
        return original(instance, *args, **kwargs)

    descriptor = Conditional.__dict__["fit"]
    assert patches.wrap_method(Conditional, "fit", "test")
    intercept("test", interceptor)
    assert Conditional(True).fit() == "fitted"
    assert len(seen) == 1
    assert not hasattr(Conditional(False), "fit")
    assert not patches.wrap_method(Conditional, "fit", "test"), "it is wrapped only once"
    assert descriptor.fn is Conditional.__dict__["fit"].fn.__wrapped__, "the original is as it was"
    patches.undo()
    assert Conditional.__dict__["fit"] is descriptor
    assert Conditional(True).fit() == "fitted"
    assert len(seen) == 1
    assert patches.wrap_method(Conditional, "fit", "test"), "what is switched on again records again"


@pytest.mark.parametrize("error", [TypeError, AttributeError])
def test_a_class_that_takes_no_attributes_is_left_as_it_is(error: type[Exception], patches: Patches):
    class Fixed(type):
        def __setattr__(cls, name: str, value: object) -> None:
            raise error(name)

    class Closed(metaclass=Fixed):
        def fit(self) -> str:
            return "fitted"

    assert not patches.wrap_method(Closed, "fit", "test")
    patches.undo()
    assert Closed().fit() == "fitted"


def test_undo_puts_back_what_was_there_before_everything(patches: Patches):
    class Changing:
        value = "before"

    assert patches.replace(Changing, "value", "first")
    assert patches.replace(Changing, "value", "second")
    assert patches.replace(Changing, "new", "third")
    patches.undo()
    assert (Changing.value, hasattr(Changing, "new")) == ("before", False)


# -- isolation -----------------------------------------------------------------------------------------------------


def say(text: str = "again") -> None:
    warnings.warn(text, UserWarning, stacklevel=1)


def test_quiet_drops_warnings_of_this_thread_only():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            say("mine")
            other = threading.Thread(target=say, args=("theirs",))
            other.start()
            other.join()
        say("after")
    assert [str(warning.message) for warning in caught] == ["theirs", "after"]


def test_quiet_leaves_filters_and_memory_of_shown_warnings_alone():
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter("default")
        before = list(warnings.filters)
        registry: dict[Any, Any] = globals().setdefault("__warningregistry__", {})
        registry.clear()
        say()
        with quiet():
            say()
            say("only inside")
        say()  # shown before: it must not come again because of us
        say("only inside")  # never shown before: it must come although we dropped one like it
        assert warnings.filters == before
    assert [str(warning.message) for warning in caught] == ["again", "only inside"]


def test_no_warning_is_lost_when_another_thread_leaves_its_quiet_block_meanwhile():
    inside, leave, left = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with quiet():
            inside.set()
            leave.wait(60)
        left.set()

    class WhenLookedAt(type):
        def __subclasscheck__(cls, subclass: type) -> bool:
            leave.set()
            left.wait(60)
            return False

    class Category(Warning, metaclass=WhenLookedAt):
        pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.filters.insert(0, ("ignore", None, Category, None, 0))  # type: ignore[attr-defined]
        other = threading.Thread(target=work)
        other.start()
        inside.wait(60)
        say("the program's own")
        other.join()
    assert [str(warning.message) for warning in caught] == ["the program's own"]


def test_quiet_works_where_warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            say()
        with pytest.raises(UserWarning):
            say()


def test_a_failing_step_warns_once_notes_every_time_and_raises_nothing():
    guard, notes = Guard("framework"), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            with guard.step("do it", notes.append):
                msg = "broken"
                raise ValueError(msg)
    assert [warning.category for warning in caught] == [ModelDBWarning]
    assert "could not do it: ValueError: broken" in str(caught[0].message)
    assert notes == ["Autologging of framework could not do it: ValueError: broken."] * 3


def test_a_failing_step_within_another_one_is_heard():
    guard = Guard("framework")
    with pytest.warns(ModelDBWarning, match="could not do the inner one"), guard.step("do the outer one"):
        with guard.step("do the inner one"):
            msg = "broken"
            raise ValueError(msg)
        say("of the outer one")


def test_a_failing_step_raises_nothing_even_if_warnings_are_errors_and_notes_fail():
    def fail(_: str) -> None:
        msg = "no note"
        raise OSError(msg)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Guard("framework").step("do it", fail):
            msg = "broken"
            raise RuntimeError(msg)


def test_ctrl_c_passes_through_a_step():
    with pytest.raises(KeyboardInterrupt), Guard("framework").step("do it"):
        raise KeyboardInterrupt
    assert not is_inside()


class TimeLimit:
    """Bounds what it interrupts: an object, and a method, that a program installs for a signal."""

    def __call__(self, number: int, frame: Any) -> None:
        msg = "it takes too long"
        raise TimeoutError(msg)

    def method(self, number: int, frame: Any) -> None:
        self(number, frame)


def limit(limited: TimeLimit, number: int, frame: Any) -> None:
    limited(number, frame)


@pytest.mark.parametrize(
    "handler",
    [TimeLimit(), TimeLimit().method, functools.partial(limit, TimeLimit()), lambda *given: limit(TimeLimit(), *given)],
    ids=["object", "method", "partial", "function"],
)
def test_what_a_signal_handler_of_the_program_raises_passes_through_a_step(handler: Any):
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(TimeoutError, match="too long"), Guard("framework").step("do it"):
            signal.raise_signal(signal.SIGUSR1)
        with pytest.warns(ModelDBWarning, match="TimeoutError"), Guard("framework").step("do it"):
            raise TimeoutError  # the step's own
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_a_strangers_code_changes_is_put_back():
    class Stranger:
        def __init__(self) -> None:
            self.calls = 0

    stranger = Stranger()
    np.random.seed(5)
    random.seed(5)
    expected = np.random.RandomState(5).random(), random.Random(5).random()
    with rolled_back(stranger):
        stranger.calls += 1
        stranger.extra = 1  # type: ignore[attr-defined]
        np.random.random()
        random.random()
    assert vars(stranger) == {"calls": 0}
    assert (np.random.random(), random.random()) == expected


@pytest.mark.parametrize("draw", [np.random.random, np.random.normal], ids=["position", "half of a pair"])
def test_a_random_state_of_which_little_was_used_is_put_back_too(draw: Any):
    np.random.seed(5)
    draw()  # the next number takes another place in the same state
    expected = draw(), draw(), draw()
    np.random.seed(5)
    draw()
    with rolled_back():
        draw()
    assert (draw(), draw(), draw()) == expected


# -- beside training -----------------------------------------------------------------------------------------------


def test_jobs_are_done_in_order_and_can_be_waited_for_by_key():
    background, done, gate = Background("test"), [], threading.Event()

    def wait_at_the_gate() -> None:
        gate.wait(10)
        done.append(1)

    background.submit(wait_at_the_gate, ["a"])
    background.submit(lambda: done.append(2), ["b"])
    assert not background.wait("a", timeout_s=0.01)
    assert not background.wait("unknown", "a", timeout_s=0.01), "one of several keys is enough"
    assert background.wait("unknown")
    gate.set()
    assert background.wait("b")
    assert done == [1, 2]
    assert background.wait()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_failing_job_does_not_stop_the_ones_after_it(error: type[BaseException]):
    background, done = Background("test"), []

    def fail() -> None:
        msg = "broken"
        raise error(msg)

    background.submit(fail)
    background.submit(lambda: done.append(1))
    assert background.wait()
    assert done == [1]


def test_the_thread_ends_when_there_was_no_job_for_a_while_and_comes_back_with_the_next(monkeypatch):
    monkeypatch.setattr(background_module, "IDLE_S", 0.0)
    background, done = Background("test-idle"), []
    for number in range(20):
        background.submit(lambda number=number: done.append(number))
        assert background.wait()
        for thread in [thread for thread in threading.enumerate() if thread.name == "test-idle"]:
            thread.join(10)
            assert not thread.is_alive()
    assert done == list(range(20))


def test_a_job_may_wait_without_waiting_for_itself():
    background, done = Background("test"), []
    background.submit(lambda: done.append(background.wait()))
    assert background.wait()
    assert done == [True]


def test_many_jobs_make_the_caller_wait_instead_of_piling_up():
    background, done = Background("test"), []
    for number in range(500):
        background.submit(lambda number=number: done.append(number))
        assert len(background._jobs) <= 65
    background.wait()
    assert done == list(range(500))


def test_where_many_jobs_wait_the_caller_waits_for_the_oldest_alone():
    background, first, second, taken = Background("test"), threading.Event(), threading.Event(), threading.Event()
    background.submit(lambda: first.wait(60) and None)
    background.submit(lambda: second.wait(60) and None)
    for _ in range(background_module.MAX_WAITING - 2):
        background.submit(lambda: None)
    caller = threading.Thread(target=lambda: background.submit(lambda: None) and taken.set())
    caller.start()
    assert not taken.is_set()
    first.set()
    assert taken.wait(50)
    second.set()
    caller.join()
    assert background.wait()


def test_what_is_done_beside_training_warns_of_nothing_and_is_not_recorded_itself():
    background, seen, shown = Background("test"), [], []

    def work() -> None:
        say("of a job")
        seen.append(is_inside())

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *told, **_: shown.append(str(told[0]))  # type: ignore[assignment]
        background.submit(work)
        assert background.wait()
    assert (seen, shown) == ([True], [])


def test_where_jobs_pile_up_behind_one_that_hangs_more_are_refused():
    background, gate = Background("test"), threading.Event()
    background.submit(lambda: gate.wait(60) and None)
    taken = [background.submit(lambda: None, patience_s=0.01) for _ in range(100)]
    assert taken == [True] * 63 + [False] * 37
    gate.set()
    assert background.wait()
    assert background.submit(lambda: None, patience_s=0.01)


def test_a_job_that_submits_more_does_not_wait_for_itself_where_many_wait():
    background, gate, done = Background("test", exit_timeout_s=0.1), threading.Event(), []

    def submit_more() -> None:
        gate.wait(60)
        background.submit(lambda: done.append("more"))

    background.submit(submit_more)
    for _ in range(background_module.MAX_WAITING - 1):
        background.submit(lambda: None)
    gate.set()
    assert background.wait(timeout_s=60)
    assert done == ["more"]


def test_a_job_that_hangs_does_not_keep_the_program_from_ending():
    program = (
        "import threading; from modeldb_core.autologging import Background\n"
        "Background('uploading', exit_timeout_s=0.1).submit(threading.Event().wait)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "ended before uploading was done: 1 jobs are left" in done.stderr


def test_however_many_stores_hang_a_program_waits_at_its_end_for_the_time_of_one():
    program = (
        "import threading; from modeldb_core.autologging import Background\n"
        "kept = [Background(f'uploading {n}', exit_timeout_s=2.0) for n in range(100)]\n"
        "for background in kept: background.submit(threading.Event().wait)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr.count("was done: 1 jobs are left") == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_without_the_parents_jobs():
    background, gate = Background("test"), threading.Event()
    background.submit(lambda: gate.wait(10) and None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads is what is tested
        pid = os.fork()
    if pid == 0:
        done: list[int] = []
        background.submit(lambda: done.append(1))
        os._exit(0 if background.wait(timeout_s=10) and done == [1] else 1)
    _, status = os.waitpid(pid, 0)
    gate.set()
    background.wait()
    assert os.waitstatus_to_exitcode(status) == 0


# -- the switch ----------------------------------------------------------------------------------------------------


@pytest.fixture
def integration():
    state: list[str] = []
    found: Integration[str] = Integration(lambda patches: state.append("on"), lambda: state.append("off"))
    found.state = state  # type: ignore[attr-defined]
    return found


def test_a_call_is_in_force_until_it_is_switched_off(integration: Any):
    integration.switch("a")
    assert integration.options() == "a"
    integration.switch("b")
    assert integration.options() == "b"
    assert integration.state == ["on"]
    integration.switch(None)
    assert integration.options() is None
    assert integration.state == ["on", "off"]
    integration.switch("c")
    assert integration.options() == "c"
    assert integration.state == ["on", "off", "on"]


def test_what_is_switched_off_in_a_block_only_is_as_it_was_after_it(integration: Any):
    with integration.switch(None):
        assert integration.state == [], "a block that is off patches nothing"
    with integration.switch("block"):
        with integration.switch(None):
            assert integration.options() is None
        assert integration.options() == "block"
    integration.switch("program")
    off = integration.switch(None)
    integration.switch("later")
    with off:
        assert integration.options() is None
    assert integration.options() == "later"


def test_a_block_that_is_off_switches_nothing_on_again_that_was_switched_off_since(integration: Any):
    integration.switch("program")
    off = integration.switch(None)
    with off:
        pass
    assert integration.options() == "program"
    integration.switch(None)
    with off:
        pass
    assert integration.options() is None


def test_with_limits_it_to_the_block_and_blocks_nest(integration: Any):
    with integration.switch("outer"):
        assert integration.options() == "outer"
        with integration.switch("inner"):
            assert integration.options() == "inner"
        assert integration.options() == "outer"
    assert integration.options() is None
    assert integration.state[-1] == "off"


def test_a_block_within_a_program_that_logs_puts_its_options_back(integration: Any):
    integration.switch("program")
    with pytest.raises(ValueError, match="stop"), integration.switch("block"):
        assert integration.options() == "block"
        raise ValueError("stop")
    assert integration.options() == "program"
    with integration.switch(None):
        assert integration.options() is None
    assert integration.options() == "program"


def test_one_switch_may_be_entered_within_itself(integration: Any):
    outer, inner = integration.switch("outer"), integration.switch("inner")
    with outer, inner:
        with outer:
            assert integration.options() == "outer"
        assert integration.options() == "inner"
    assert integration.options() is None


def test_switching_off_counts_within_a_block_too(integration: Any):
    with integration.switch("block"):
        integration.switch(None)
        assert integration.options() is None
        assert integration.state[-1] == "off"
    assert integration.options() is None


def test_switches_that_were_made_one_after_the_other_are_limited_to_their_blocks_all(integration: Any):
    first, second, third = (integration.switch(name) for name in ("first", "second", "third"))
    with second, first:
        assert integration.options() == "first"
    assert integration.options() == "third"
    with third:
        assert integration.options() == "third"
    assert integration.options() is None
    assert integration.state[-1] == "off"


def test_as_a_decorator_it_is_in_force_while_the_function_runs(integration: Any):
    @integration.switch("function")
    def train(x: int) -> Any:
        """Train."""
        return x, integration.options()

    assert integration.options() is None
    assert integration.state == ["on", "off"], "nothing is patched until it runs"
    assert train(1) == (1, "function")
    assert train(2) == (2, "function")
    assert integration.options() is None
    assert train.__name__ == "train"


@pytest.mark.usefixtures("no_running_loop")
def test_as_a_decorator_of_a_coroutine_it_is_in_force_while_it_runs(integration: Any):
    @integration.switch("coroutine")
    async def train() -> Any:
        await asyncio.sleep(0)
        return integration.options()

    class Training:
        async def __call__(self) -> Any:
            await asyncio.sleep(0)
            return integration.options()

    assert asyncio.run(train()) == "coroutine"
    assert asyncio.run(integration.switch("object")(Training())()) == "object"
    assert integration.options() is None


def test_the_innermost_block_counts_in_threads_started_in_it_too(integration: Any):
    seen: list[Any] = []
    with integration.switch("block"):
        thread = threading.Thread(target=lambda: seen.append(integration.options()))
        thread.start()
        thread.join()
    assert seen == ["block"]


def test_a_job_that_waits_for_its_run_where_no_thread_can_be_started_does_not_wait_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exits, "start_thread", lambda *_: None)
    background, done = Background("test"), []
    background.submit(lambda: done.append(background.wait("run", timeout_s=0.1)), ["run"])
    assert done == [True]
    assert background.submit(lambda: done.append(True))
    assert (len(done), len(background)) == (2, 0)
