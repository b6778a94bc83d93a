"""Several optimizers in one training: what a round is, and what its record holds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD
from torch.optim.optimizer import _global_optimizer_post_hooks as everywhere

from .rounds import Pair, watched, watched_alone


@pytest.fixture
def pair() -> Pair:
    """Two optimizers."""
    return Pair()


def test_both_steps_after_one_backward_see_loss_and_norm(pair) -> None:
    """Two steps after one backward pass are one round with its loss and unclipped norm."""
    with watched(pair.both) as records:
        for value in (8.0, 4.0):
            pair.loss(value, 3.0, 4.0).backward()
            clip_grad_norm_([pair.one, pair.two], 1.0)
            pair.muon.step()
            pair.adamw.step()

    assert records.written == [0, 1]
    assert records.column("loss") == [8.0, 4.0]
    assert records.column("loss/muon") == [None, None]
    assert records.column("loss_count") == [None, None]
    assert records.column("grad_norm_preclip") == [5.0, 5.0]
    assert records.column("grad_norm") == pytest.approx([1.0, 1.0])
    assert records.column("grad_norm/muon") == pytest.approx([0.6, 0.6])
    assert records.column("grad_norm/adamw") == pytest.approx([0.8, 0.8])
    assert records.column("lr") == records.column("lr/muon") == [0.5, 0.5]
    assert records.column("lr/adamw") == [0.25, 0.25]


def test_each_optimizer_has_its_own_loss_after_its_own_backward(pair) -> None:
    """A loss that only one optimizer's step follows is recorded under its name, too."""
    with watched(pair.both) as records:
        for _ in range(2):
            pair.loss(8.0, 3.0).backward()
            pair.muon.step()
            pair.loss(2.0, 0.0, 4.0).backward()
            pair.adamw.step()

    assert records.column("loss") == [10.0, 10.0]
    assert records.column("loss/muon") == [8.0, 8.0]
    assert records.column("loss/adamw") == [2.0, 2.0]
    assert records.column("loss_count") == [2.0, 2.0]
    assert records.column("grad_norm/muon") == [3.0, 3.0]


def test_a_repeated_step_ends_the_round(pair) -> None:
    """With n critic steps for each generator step, a round without a generator step exists."""
    with watched({"critic": pair.muon, "generator": pair.adamw}) as records:
        for at in range(6):
            pair.loss(10.0 + at, 1.0).backward()
            pair.muon.step()
            if at % 3 == 2:
                pair.loss(1.0, 0.0, 2.0).backward()
                pair.adamw.step()

    assert records.column("loss/critic") == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    assert records.column("loss/generator") == [None, None, 1.0, None, None, 1.0]
    assert records.column("lr/generator") == [None, None, 0.25, None, None, 0.25]
    assert records.column("loss") == [10.0, 11.0, 13.0, 13.0, 14.0, 16.0]
    assert records.column("grad_norm")[1:3] == [1.0, math.hypot(1.0, 2.0)]


def test_the_first_optimizer_may_skip_rounds(pair) -> None:
    """The metric `lr` is the first optimizer's rate also in rounds that it skips."""
    with watched(pair.both) as records:
        for _ in range(2):
            pair.loss(1.0, 1.0, 1.0).backward()
            pair.adamw.step()

    assert records.column("lr") == [0.5, 0.5]
    assert records.column("lr/muon") == [None, None]


def test_accumulated_losses_are_added_up(pair) -> None:
    """A round's loss is the sum over its backward calls, and their number is recorded."""
    with watched(pair.both) as records:
        for _ in range(2):
            for value in (1.0, 2.0, 4.0):
                pair.loss(value, 1.0, 1.0).backward()
            pair.muon.step()
            pair.adamw.step()

    assert records.column("loss") == [7.0, 7.0]
    assert records.column("loss_count") == [3.0, 3.0]


def test_lists_of_single_parameters_are_rounds_by_backward() -> None:
    """A pass that reaches other parameters than the one before it is a round of its own."""
    weights = [torch.nn.Parameter(torch.ones(())) for _ in range(2)]
    inner = {weight: SGD([weight], lr=0.5) for weight in weights}
    for weight in weights:
        weight.register_post_accumulate_grad_hook(lambda w: inner[w].step())
    for optimizers in (list(inner.values()), inner):
        with watched(optimizers) as records:
            for reached in ((0,), (1,), (0, 1)):
                for weight in weights:
                    weight.grad = None
                loss = sum((at + 2) * (weights[at] - weights[at].detach() + 1) for at in reached)
                assert isinstance(loss, torch.Tensor)
                loss.backward()

        assert records.column("loss") == [2.0, 3.0, 5.0]
        assert records.column("grad_norm") == [2.0, 3.0, math.hypot(2.0, 3.0)]


def test_an_alternating_list_keeps_its_rounds(pair) -> None:
    """Optimizers of one parameter that step after their own `backward()` share a round."""
    with watched([pair.muon, pair.adamw]) as records:
        for _ in range(2):
            pair.loss(8.0, 3.0).backward()
            pair.muon.step()
            pair.loss(2.0, 0.0, 4.0).backward()
            pair.adamw.step()

    assert records.column("loss") == [10.0, 10.0]


def test_closures_bring_their_own_losses(pair) -> None:
    """Steps with closures count the loss of each closure, as one round."""

    def closure(*loss: float) -> Callable[[], torch.Tensor]:
        def evaluate() -> torch.Tensor:
            value = pair.loss(*loss)
            value.backward()
            return value

        return evaluate

    with watched(pair.both) as records:
        pair.muon.step(closure(3.0, 1.0))
        pair.adamw.step(closure(4.0, 0.0, 1.0))

    assert records.column("loss") == [7.0]
    assert records.column("loss/adamw") == [4.0]


def test_every_counts_rounds(pair) -> None:
    """With `every=2`, each second round is recorded, of all optimizers."""
    with watched(pair.both, every=2) as records:
        for at in range(5):
            pair.loss(float(at), 1.0, 1.0).backward()
            pair.muon.step()
            pair.adamw.step()

    assert records.written == [0, 2, 4]
    assert records.column("loss") == [0.0, 2.0, 4.0]
    assert records.column("lr/adamw") == [0.25] * 3
    assert records.rounds.step == 4


def test_param_groups_have_names_below_the_optimizers(pair) -> None:
    """Rates and norms of param groups stand below the name of their optimizer."""
    grouped = SGD(
        [{"params": [pair.one], "name": "a"}, {"params": [pair.two], "lr": 0.125}], lr=1.0
    )
    third = torch.nn.Parameter(torch.ones(()))
    with watched({"x": grouped, "y": SGD([third], lr=0.75)}, norms="group") as records:
        pair.loss(1.0, 3.0, 4.0).backward()
        grouped.step()

    assert records.rows[0] == {
        "lr": 1.0, "grad_norm": 5.0, "loss": 1.0, "loss/x": 1.0, "lr/x": 1.0, "lr/x/a": 1.0,
        "lr/x/1": 0.125, "grad_norm/x": 5.0, "grad_norm/x/a": 3.0, "grad_norm/x/1": 4.0,
    }  # fmt: skip


def test_what_the_user_logs_replaces_the_loss_of_the_open_round(pair) -> None:
    """A loss that is logged before the next round replaces the captured one."""
    with watched(pair.both) as records:
        for at in range(2):
            pair.loss(1.0, 1.0, 1.0).backward()
            pair.muon.step()
            pair.adamw.step()
            records.rounds.amend(0.0, {"loss": 50.0 + at})

    assert records.column("loss") == [50.0, 51.0]


def test_a_round_that_is_asked_for_early_changes_later(pair) -> None:
    """The record of a round that was passed on before its end gets the later steps as changes."""
    with watched(pair.both) as records:
        pair.loss(1.0, 3.0, 4.0).backward()
        pair.muon.step()
        records.rounds.publish()
        early = dict(records.rows[0])
        pair.adamw.step()

    assert early["grad_norm"] == 3.0
    assert records.written == [0]
    assert records.column("grad_norm") == [5.0]
    assert records.column("lr/adamw") == [0.25]


def test_many_optimizers_without_names_are_one() -> None:
    """One optimizer for each of many parameters, stepped inside backward, is one training."""
    parameters = [torch.nn.Parameter(torch.ones(())) for _ in range(40)]
    optimizers = {parameter: SGD([parameter], lr=0.5) for parameter in parameters}
    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(lambda p: optimizers[p].step())
    with watched(list(optimizers.values())) as records:
        for _ in range(3):
            for parameter in parameters:
                parameter.grad = None
            (0.0 * sum(parameters) + torch.stack(parameters).detach().sum() + 7.0).backward()

    assert [sorted(row) for row in records.rows.values()] == [["grad_norm", "loss", "lr"]] * 3
    assert records.column("loss") == [47.0] * 3
    assert records.column("lr") == [0.5] * 3


def test_a_skipped_step_of_a_scaler_leaves_the_loss_to_the_other(pair) -> None:
    """If a scaler skips one optimizer's step, the other one's round has the loss."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    with watched(pair.both) as records:
        for gradient in (1.0, math.inf, 1.0):
            scaler.scale(pair.loss(6.0, 1.0, 1.0)).backward()
            pair.one.grad.mul_(gradient)
            scaler.step(pair.muon)
            scaler.step(pair.adamw)
            scaler.update()

    assert records.column("loss") == [6.0, 6.0, 6.0]
    assert records.column("lr/muon") == [0.5, None, 0.5]
    assert records.column("lr/adamw") == [0.25] * 3


def test_other_optimizers_do_not_mix_in(pair) -> None:
    """The loss of an optimizer that is not tracked belongs to no round."""
    other = torch.nn.Parameter(torch.ones(()))
    outside = SGD([other], lr=0.1)
    with watched(pair.both) as records, watched_alone(outside):
        pair.loss(1.0, 1.0, 1.0).backward()
        pair.muon.step()
        (other * 99.0).backward()
        outside.step()
        pair.adamw.step()

    assert records.column("loss") == [1.0]


def test_nothing_stays_behind(pair) -> None:
    """After the block, no hook is left on any optimizer, nor in torch."""
    with watched(pair.both):
        during = len(everywhere)

    assert (during, len(everywhere)) == (1, 0)
    for optimizer in pair.both.values():
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
