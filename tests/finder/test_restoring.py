"""After `find_lr` everything is restored in place and bit for bit, whatever happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fixtures.programs import EXIT_WITHOUT_SHUTDOWN

import lrtrack
from lrtrack.finder.snapshot import Snapshot

KEYS = {"num_steps": 12, "start": 1e-4, "end": 1.0, "record": False}


def lookahead(parameters: Any) -> Any:
    """Returns a wrapper that keeps slow weights beside its optimizer's."""
    package = pytest.importorskip("pytorch_optimizer")
    return package.Lookahead(torch.optim.Adam(parameters, lr=0.01), k=2)


def ranger21(parameters: Any) -> Any:
    """Returns an optimizer with a built-in schedule and plain numbers as state."""
    package = pytest.importorskip("pytorch_optimizer")
    return package.Ranger21(parameters, num_iterations=100, lr=0.01)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), capturable=False),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "Ranger": lambda p: pytest.importorskip("pytorch_optimizer").Ranger(p, lr=0.01),
    "Ranger21": ranger21,
    "Lookahead": lookahead,
}


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_bit_equal(new_training, equal, name, before) -> None:
    """Training after a range test gives the same numbers as without it."""
    bare = new_training(OPTIMIZERS[name], before)
    untouched = bare.state()
    bare.train(5)
    after = bare.state()
    tested = new_training(OPTIMIZERS[name], before)
    lrtrack.find_lr(tested.model, tested.optimizer, tested.step, **KEYS)
    at_once = tested.state()
    tested.train(5)

    assert equal(at_once, untouched)
    assert tested.losses == bare.losses
    assert equal(tested.state(), after)
    assert not equal(after, untouched)


def test_the_test_did_move_things(training, equal) -> None:
    """The range test really changes the training before it restores it."""
    seen = []

    def step() -> torch.Tensor:
        loss = training.step()
        seen.append(training.state())
        return loss

    lrtrack.find_lr(training.model, training.optimizer, step, **KEYS)

    first, last = seen[0], seen[-1]
    for key in ("model", "own", "gradients", "optimizer", "random"):
        assert not equal(first[key], last[key]), key


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("record", [False, True])
def test_after_an_exception(new_training, equal, error, record) -> None:
    """An exception from `step()` is raised unchanged, and everything is restored."""
    untouched = new_training().state()
    tested = new_training()
    raised = error("in the middle")
    calls = 0

    def step() -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = tested.step()
        if calls == 6:
            tested.model.eval()
            raise raised
        return loss

    with pytest.raises(error) as caught:
        lrtrack.find_lr(
            tested.model,
            tested.optimizer,
            step,
            **KEYS | {"record": record},
            track={"tracker": "local"},
        )

    assert caught.value is raised
    assert equal(tested.state(), untouched)


def test_interrupted_once_more(new_training, equal) -> None:
    """A second Ctrl-C while restoring does not leave half of the state changed."""

    class Interrupted(dict):
        left = 1

        def clear(self) -> None:
            if self.left:
                self.left -= 1
                raise KeyboardInterrupt
            super().clear()

    untouched = new_training().state()
    training = new_training()
    training.model.odd = Interrupted(a=1)

    with pytest.raises(KeyboardInterrupt):
        lrtrack.find_lr(training.model, training.optimizer, training.step, **KEYS)
    assert training.model.odd.left == 0
    assert equal(training.state(), untouched)


def test_identity_of_everything(training) -> None:
    """Parameters, gradients, buffers, groups and optimizer tensors are the same objects."""
    optimizer, model = training.optimizer, training.model

    def objects() -> list[int]:
        tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]
        states = [each for p in model.parameters() for each in optimizer.state[p].values()]
        groups = [optimizer.state, optimizer.param_groups, *optimizer.param_groups]
        return [id(each) for each in (*tensors, *states, *groups, model.memory, model.seen)]

    before = objects()
    lrtrack.find_lr(model, optimizer, training.step, **KEYS)

    assert objects() == before


def test_absent_gradients_stay_absent(new_training) -> None:
    """Parameters without a gradient have none afterwards."""
    training = new_training(before=0)
    lrtrack.find_lr(training.model, training.optimizer, training.step, **KEYS)

    assert [p.grad for p in training.model.parameters()] == [None] * 6


def test_nothing_is_left_on_the_optimizer(training) -> None:
    """The optimizer has no extra hook or key, so torch's warnings stay correct."""
    before = dict(vars(training.optimizer))
    hooks = list(training.optimizer._optimizer_step_pre_hooks)
    lrtrack.find_lr(training.model, training.optimizer, training.step, **KEYS)

    assert {key: id(value) for key, value in vars(training.optimizer).items()} == {
        key: id(value) for key, value in before.items()
    }
    assert list(training.optimizer._optimizer_step_pre_hooks) == hooks


def test_a_nested_scheduler(new_training, equal) -> None:
    """A scheduler that `step()` changes is restored with its inner ones if it was passed."""
    training = new_training()
    optimizer = torch.optim.SGD(training.model.parameters(), lr=0.1, momentum=0.9)
    inner = [
        torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=4),
        torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=50),
    ]
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, inner, milestones=[5])
    optimizer.step()
    scheduler.step()
    state = scheduler.state_dict()
    before = [vars(each).copy() for each in (scheduler, *inner)]
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}

    def step() -> torch.Tensor:
        for each in inner:
            each.last_epoch += 1
            each._last_lr = [7.0]
        scheduler._last_lr.append(8.0)
        return training.step()

    lrtrack.find_lr(training.model, optimizer, step, scheduler=scheduler, **KEYS)

    assert [vars(each) for each in (scheduler, *inner)] == before
    assert scheduler.state_dict() == state
    assert {k: v for k, v in optimizer.param_groups[0].items() if k != "params"} == group


def test_modes_are_put_back(training) -> None:
    """Calls of `train()` and `eval()` in `step()` are undone module by module."""
    training.model.layers[2].eval()
    before = [module.training for module in training.model.modules()]

    def step() -> torch.Tensor:
        training.model.train()
        return training.step()

    lrtrack.find_lr(training.model, training.optimizer, step, **KEYS)

    assert [module.training for module in training.model.modules()] == before


def test_buffers_that_are_replaced_or_expanded() -> None:
    """A replaced buffer is restored as the old object, and an expanded one is restored."""
    model = torch.nn.Linear(2, 1)
    model.register_buffer("count", torch.zeros(1))
    model.register_buffer("wide", torch.ones(1).expand(3))
    old, optimizer = model.count, torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> torch.Tensor:
        model.count = model.count + 1
        model.wide._base.add_(1)
        loss = model(torch.ones(1, 2)).square().sum()
        loss.backward()
        return loss

    lrtrack.find_lr(model, optimizer, step, **KEYS)

    assert model.count is old
    assert model.count.tolist() == [0.0]
    assert model.wide.tolist() == [1.0, 1.0, 1.0]


def test_what_cannot_be_put_back_does_not_keep_the_rest() -> None:
    """A tensor whose shape has changed is an error, and everything else is restored."""
    model = torch.nn.Linear(2, 1)
    first, last = model.weight, model.bias
    before = last.detach().clone()
    snapshot = Snapshot(model, torch.optim.SGD(model.parameters(), lr=0.1))
    first.data = torch.zeros(5)
    last.data.add_(1)

    with pytest.raises(RuntimeError, match="could not restore everything"):
        snapshot.restore()
    assert torch.equal(last, before)


def test_inside_an_open_block(training, local) -> None:
    """A block of `track()` around a range test on its optimizer records nothing of the test."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.train(2)
        lrtrack.find_lr(training.model, training.optimizer, training.step, **KEYS)
        assert run.step == 1
        training.train(2)

    (history,) = local()
    assert history.steps.tolist() == [0, 1, 2, 3]
    assert history.metrics["loss"].tolist() == training.losses[3:]


def test_inside_the_block_of_another_optimizer(training, new_training, local) -> None:
    """The loss of a range test is not added to the next step of another optimizer."""
    other = new_training()
    with lrtrack.track(other.optimizer, tracker="local"):
        lrtrack.find_lr(training.model, training.optimizer, training.step, **KEYS)
        other.train(1)

    (history,) = local()
    assert history.metrics["loss"].tolist() == other.losses[3:]


TORCHRUN = """
import torch, lrtrack
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
before = [p.detach().clone() for p in model.parameters()]
parallel = torch.nn.parallel.DistributedDataParallel(model)
opt = torch.optim.SGD(parallel.parameters(), lr=0.1)
inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(rank)) * (1 + 3 * rank)
def step():
    loss = parallel(inputs).square().mean()
    loss.backward()
    return loss
result = lrtrack.find_lr(parallel, opt, step, track={"tracker": "local", "flush_timeout": 0})
equal = all(map(torch.equal, before, model.parameters()))
print(f"<{rank} {len(result.lrs)} {result.suggestion} {result.stopped} {equal}>", flush=True)
torch.distributed.destroy_process_group()
"""


def test_two_processes_stop_together(clean_place, local) -> None:
    """Under DDP all processes stop at the same rate, and one run is recorded."""
    (clean_place / "train.py").write_text(TORCHRUN + EXIT_WITHOUT_SHUTDOWN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node=2", "train.py"], capture_output=True, text=True, timeout=300
    )
    told = sorted(part.partition(">")[0].split() for part in done.stdout.split("<")[1:])

    assert done.returncode == 0, done.stderr
    assert [words[0] for words in told] == ["0", "1"]
    assert told[0][1:] == told[1][1:]
    assert told[0][3:] == ["diverged", "True"]
    (history,) = local()
    assert len(history.steps) == int(told[0][1])
