"""skorch's fits that are interrupted or fail, and copies of nets before, during and after a fit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.base import clone

from lrtrack.records import State

pytest.importorskip("skorch", reason="needs skorch")
from skorch.callbacks import Callback

from lrtrack.integrations.skorch import LRTrack

from .test_situations import Measured
from .test_skorch import net_of, rows_of


class Acting(Callback):
    """Does something once, at the end of an epoch's second batch.

    Attributes:
        done_: whether it is done; `made_`: what came of it.
    """

    def __init__(self, action: Callable[[Any], Any]) -> None:
        self.action = action

    def initialize(self) -> Acting:
        """Forgets earlier fits."""
        self.done_, self.made_ = False, None
        return self

    def on_batch_end(self, net: Any, *args: Any, training: bool = True, **kwargs: Any) -> None:
        """Does it."""
        if len(net.history[-1, "batches"]) == 2 and not self.done_:
            self.done_ = True
            self.made_ = self.action(net)


def fail(_: Any) -> None:
    """Fails."""
    raise RuntimeError("broken")


def interrupt(_: Any) -> None:
    """Presses Ctrl-C."""
    raise KeyboardInterrupt


def pickled(net: Any) -> Any:
    """A copy by way of a pickle."""
    return pickle.loads(pickle.dumps(net))


def test_an_interrupted_fit(digits, local) -> None:
    """skorch ends an interrupted fit as any other: its run is FINISHED, with the steps it made."""
    net, rows = net_of([LRTrack(tracker="local"), Acting(interrupt)]), rows_of(digits(batches=4))
    net.fit(*rows)
    net.partial_fit(*rows)
    (history,) = local()

    assert (history.state, len(history.steps)) == (State.FINISHED, 6)


def test_a_failed_fit_is_failed_at_once(digits, local) -> None:
    """A fit that an exception leaves is FAILED while the net lives, and can be fitted again."""
    net, rows = net_of([LRTrack(tracker="local"), Acting(fail)]), rows_of(digits(batches=4))
    with pytest.raises(RuntimeError, match="broken"):
        net.fit(*rows)
    (history,) = local()
    assert (history.state, len(history.steps)) == (State.FAILED, 2)
    net.set_params(callbacks=[LRTrack(tracker="local")]).fit(*rows)

    assert [(h.state, len(h.steps)) for h in local()] == [(State.FINISHED, 4), (State.FAILED, 2)]


def test_a_fit_that_fails_before_it_begins(digits, local) -> None:
    """A net that was unpickled raises its own error where a fit cannot begin, and leaves no run."""
    net = net_of([LRTrack(tracker="local")]).initialize()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ValueError("refused")

    copied = pickled(net)
    copied.on_train_begin = refuse
    with pytest.raises(ValueError, match="refused"):
        copied.partial_fit(*rows_of(digits(batches=1)))

    assert local() == []


@pytest.mark.parametrize("copied", [clone, copy.deepcopy, pickled])
def test_copies_before_and_after(digits, local, copied: Any) -> None:
    """Copies of a net before and after its fit have each a run of their own, as has the net."""
    rows = rows_of(digits(batches=4))
    net = net_of([LRTrack(tracker="local", seed=5)])
    before = copied(net)
    net.fit(*rows)
    after = copied(net)
    for each in (before, after, net):
        each.partial_fit(*rows)

    assert sorted(len(history.steps) for history in local()) == [4, 4, 8]
    assert {history.run.seed for history in local()} == {5}


@pytest.mark.parametrize("copied", [clone, copy.deepcopy, pickled])
def test_a_copy_in_mid_training(digits, local, copied: Any) -> None:
    """A net that is copied in mid-training goes on in its run, and the copy makes its own."""
    rows, acting = rows_of(digits(batches=4)), Acting(copied)
    net = net_of([LRTrack(tracker="local"), acting])
    net.fit(*rows)
    (history,) = local()
    acting.made_.set_params(callbacks=[LRTrack(tracker="local")]).fit(*rows)

    losses = net.history[0, "batches", :, "train_loss"]
    assert history.series("loss")[1].tolist() == pytest.approx(losses, rel=1e-6)
    assert [len(history.steps) for history in local()] == [4, 4]


def test_two_callbacks_in_one_net(digits, local) -> None:
    """Two callbacks record the same steps, each in a run of its own."""
    callbacks = [(name, LRTrack(tracker="local", name=name)) for name in ("a", "b")]
    measured = Measured()
    net_of([*callbacks, measured], max_epochs=2).fit(*rows_of(digits(batches=4)))
    histories = local()

    assert {history.run.name for history in histories} == {"a", "b"}
    for history in histories:
        assert history.series("loss")[1].tolist() == pytest.approx(measured.losses, rel=1e-6)
        assert history.series("grad_norm")[1].tolist() == pytest.approx(measured.norms, rel=1e-5)
