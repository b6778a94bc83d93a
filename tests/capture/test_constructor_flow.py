"""What bytecode says about constructors, methods and functions, in each version of Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrtrack.capture.bytecode import changed_by, changing, names_used, use_of
from lrtrack.capture.constructor_flow import flow_of
from lrtrack.capture.rebinding import rebound


class Base:
    def __init__(self, optimizer: Any, t_max: int) -> None:
        self.optimizer = optimizer
        self.total = t_max


class Many(Base):
    def __init__(
        self, optimizer: Any, total: int, rate: float, power: int, *, shape: str, **others: Any
    ) -> None:
        if total < 0:
            raise ValueError(f"total must not be negative, not {total}")
        self.plain = total
        self.one = self.two = rate
        self.left, self.right = power, shape
        self.negative = -power
        steps = int(total * 0.1)
        self.steps = steps
        again = rate
        self.again = again
        self.chosen = shape or "cos"
        self.kept = others["kept"]
        self.base = optimizer.param_groups[0]["lr"]
        self.slopes = [group["lr"] / steps for group in optimizer.param_groups]
        self.foreign = self.unknown * rate
        self.counter = 0
        self.seen: list[int] = []
        self.table = {"a": 1}
        super().__init__(optimizer, t_max=power)

    @property
    def cached(self) -> int:
        self._cached = 3
        return self._cached

    def step(self) -> None:
        self.counter += 1
        self.seen.append(self.counter)
        self.table["a"] = self.total
        for group in self.optimizer.param_groups:
            group["lr"] = self.factor(self.counter)

    def factor(self, step: int) -> float:
        return self._share(step) * self.steps

    def _share(self, step: int) -> float:
        return step / self.plain

    def load_state_dict(self, state: Any) -> None:
        self.steps = state["steps"]


def test_copies() -> None:
    """Arguments that an attribute holds unchanged are found, also through other variables."""
    copies = flow_of(Many).copies

    assert {key: copies[key] for key in ("total", "rate")} == {
        "total": ["plain"],
        "rate": ["one", "two", "again"],
    }
    assert "negative" not in copies.get("power", [])
    assert flow_of(Base).copies == {"optimizer": ["optimizer"], "t_max": ["total"]}


def test_sources() -> None:
    """The arguments from which an attribute is computed are found, and what else it takes."""
    sources = flow_of(Many).sources
    expected: dict[str, set[str | None]] = {
        "plain": {"total"}, "one": {"rate"}, "two": {"rate"}, "negative": {"power"},
        "steps": {"total"}, "again": {"rate"}, "chosen": {"shape"}, "kept": {"others"},
        "base": {"optimizer"}, "foreign": {None, "rate"}, "counter": set(), "table": set(),
    }  # fmt: skip

    assert expected == {key: sources[key] for key in expected}
    assert {"power", "shape"} == sources["left"] | sources["right"]
    assert "optimizer" in sources["slopes"]


def test_arguments_passed_on() -> None:
    """The arguments of the constructor below are found."""
    assert {"optimizer", "power"} == flow_of(Many).passed_on


def test_state() -> None:
    """What methods change is state, unless they only set an object up or keep a result."""
    state = {"counter", "seen", "table"}

    assert state == state & changing(Many)
    assert not changing(Many) & {"steps", "plain", "total", "_cached", "optimizer", "factor"}


def test_names() -> None:
    """The names that a method uses include those of the methods that it calls."""
    use = use_of(Many.factor.__code__)
    names = names_used(Many, use.names)

    assert {"_share", "steps", "plain"} == names
    assert frozenset() == changed_by(Many, use)
    assert "counter" in changed_by(Many, use_of(Many.step.__code__))


def counted(width: int) -> tuple[Callable[[int], float], ...]:
    calls, rounds, table = 0, 0, {"a": 0}
    if width < 0:
        width = 1

    def factor(step: int) -> float:
        nonlocal calls
        calls += 1
        table["a"] += 1
        return {5: 0.25, 7: 2.5}[step] / width + rounds + table["a"]

    rounds = 3
    return factor, lambda step: 0.95**step / rounds


def test_functions() -> None:
    """Variables that change after a function was made differ from those that do not."""
    factor, other = counted(5)
    use = use_of(factor.__code__)

    assert {
        name: rebound(factor, name)  # type: ignore[arg-type]
        for name in ("calls", "rounds", "width")
    } == {"calls": True, "rounds": True, "width": False}
    assert not rebound(other, "rounds")  # type: ignore[arg-type]
    assert "table" in use.mutated
    assert "width" not in use.mutated
    assert {"a"} == use.words
    assert use_of(other.__code__).numbers == (0.95,)
    assert {0.25, 2.5, 5, 7} == set(use.numbers)
