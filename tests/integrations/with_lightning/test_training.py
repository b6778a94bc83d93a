"""`trainer.fit` records the same as a plain loop, bit for bit."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, QUIET, Adversaries, Manual, Module, fit

pytestmark = NOISE


@pytest.mark.parametrize("module", [Module, Manual])
def test_records_equal_those_of_a_plain_loop(module, digits, local, steps_of) -> None:
    """Automatic and manual optimization record the same run as a plain loop."""
    expected = digits().plain()
    fit(module(digits()))
    (history,) = local()

    assert steps_of(history) == steps_of(expected)
    assert history.state is State.FINISHED
    assert history.run.schedule == expected.run.schedule
    assert history.run.optimizer == expected.run.optimizer
    assert history.run.total_steps == (12 if module is Module else None)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_accumulated_batches_count_in_one_step(clip, digits, local, steps_of) -> None:
    """Accumulated batches count in one step, with the mean loss and both clipping norms."""
    expected = digits(steps=6, batches=12).plain(accumulate=2, clip=clip)
    module = Module(digits(steps=6, batches=12))
    fit(module, accumulate_grad_batches=2, gradient_clip_val=clip)

    assert ("grad_norm_preclip" in expected.metrics) is (clip is not None)
    assert steps_of(local()[0]) == steps_of(expected)


def test_the_batches_left_at_the_end_of_an_epoch_make_a_step(digits, local) -> None:
    """The batches left at the end of an epoch make a step with their mean loss."""
    task, losses = digits(steps=3, batches=5), []

    class Noting(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            losses.append(self.task.loss(*batch))
            return losses[-1]

    fit(Noting(task), accumulate_grad_batches=2)
    half = [(loss / 2).item() for loss in losses]
    expected = [half[0] + half[1], half[2] + half[3], 2 * half[4]]

    assert local()[0].metrics["loss"].tolist() == expected
    assert "loss_count" not in local()[0].metrics


def test_a_module_that_steps_at_every_second_batch_itself(digits, local) -> None:
    """If a module steps at every second batch, the losses of the other batches count in no step."""
    task, losses = digits(steps=4, batches=8), []

    class Rarely(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            losses.append(self.task.loss(*batch))
            return losses[-1]

        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any) -> None:
            if batch_idx % 2:
                optimizer.step(closure=closure)
            else:
                closure()

        def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
            pass

    fit(Rarely(task))

    assert local()[0].metrics["loss"].tolist() == [loss.item() for loss in losses[1::2]]


def test_clipping_by_value(digits, local) -> None:
    """With clipping by value, the norm is that of the gradients that the optimizer receives."""
    task, norms = digits(), []

    class Noting(Module):
        def configure_gradient_clipping(self, optimizer: Any, *given: Any, **named: Any) -> None:
            super().configure_gradient_clipping(optimizer, *given, **named)
            norms.append(_norm(self.model))

    fit(Noting(task), gradient_clip_val=0.01, gradient_clip_algorithm="value")
    metrics = local()[0].metrics

    assert max(norms) < 0.01 * sum(p.numel() for p in task.model.parameters()) ** 0.5
    assert metrics["grad_norm"] == pytest.approx(norms, rel=1e-5)
    assert "grad_norm_preclip" not in metrics


def _norm(model: torch.nn.Module) -> float:
    gradients = [p.grad.double().flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(gradients).norm().item()


def _mixed(kind: str) -> dict[str, Any]:
    from lightning.pytorch.plugins import MixedPrecision

    return {"plugins": [MixedPrecision(kind, "cpu")]}


@pytest.mark.parametrize("options", [{"precision": "bf16-mixed"}, _mixed("16-mixed")])
def test_mixed_precision(options, digits, local) -> None:
    """In mixed precision, losses and norms are unscaled, and a skipped step leaves no record."""
    task, losses, norms = digits(steps=6, batches=12), [], []
    scaled = "plugins" in options

    class Noting(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.task.loss(*batch) * (float("inf") if scaled and batch_idx == 5 else 1)
            losses.append(loss.item() / 2)
            return loss

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            norms.append(_norm(self.model))

    fit(Noting(task), accumulate_grad_batches=2, **options)
    steps = [step for step in range(6) if not scaled or step != 2]
    (history,) = local()

    assert history.steps.tolist() == list(range(len(steps)))
    assert history.metrics["loss"] == pytest.approx(
        [losses[2 * step] + losses[2 * step + 1] for step in steps], rel=1e-6
    )
    assert history.metrics["grad_norm"] == pytest.approx([norms[s] for s in steps], rel=1e-6)


@pytest.mark.parametrize("closures", [False, True])
def test_two_optimizers_have_a_run_each(closures, digits, local) -> None:
    """Two optimizers have a run each, named by their networks and in one group."""
    module = Adversaries(digits(steps=3), closures)
    fit(module)
    runs = {history.run.prefix: history for history in local()}
    groups = {history.run.group for history in runs.values()}

    assert sorted(runs) == ["critic/", "generator/"]
    assert len(groups) == 1
    assert None not in groups
    for name, losses in module.losses.items():
        assert runs[f"{name}/"].metrics[f"{name}/loss"].tolist() == losses
    assert runs["critic/"].run.schedule.name == "constant"
    assert runs["generator/"].run.schedule.name == "ExponentialLR"
    assert runs["generator/"].metrics["generator/lr"].tolist() == [0.02, 0.01, 0.005]


def test_a_scheduler_s_name_comes_before_that_of_the_network(digits, local) -> None:
    """Optimizers without names are numbered by class, as Lightning does it."""

    class Shared(Manual):
        def configure_optimizers(self) -> Any:
            optimizers = [torch.optim.SGD(self.parameters(), lr=rate) for rate in (0.1, 0.2, 0.3)]
            return optimizers, [{"scheduler": ExponentialLR(optimizers[0], 0.9), "name": "slow"}]

        def training_step(self, batch: Any, batch_idx: int) -> None:
            for optimizer in self.optimizers():
                optimizer.step()

    fit(Shared(digits(steps=1)), LRTrack(tracker="local", prefix="mine/", group="ours"))

    assert sorted(history.run.prefix for history in local()) == [
        "mine/SGD-1/",
        "mine/SGD/",
        "mine/slow/",
    ]
    assert {history.run.group for history in local()} == {"ours"}


def test_two_schedulers_of_one_optimizer_are_described_as_one(digits, local) -> None:
    """Two schedulers of one optimizer are described as one, and a plateau's metric is recorded."""
    task = digits(steps=2)

    class Both(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("mine", float(batch_idx), on_epoch=True, on_step=False)
            return super().training_step(batch, batch_idx)

        def configure_optimizers(self) -> Any:
            plateau = ReduceLROnPlateau(self.task.optimizer, patience=7)
            watching = {"scheduler": plateau, "monitor": "mine"}
            return [self.task.optimizer], [
                {"scheduler": self.task.scheduler, "interval": "step"},
                watching,
            ]

    fit(Both(task))
    (history,) = local()
    schedule = history.run.schedule
    inner = [inner_schedule["name"] for inner_schedule in schedule.params["schedulers"]]

    assert (schedule.name, inner) == ("Schedulers", ["OneCycleLR", "ReduceLROnPlateau"])
    assert history.series("plateau_metric")[1].tolist() == [0.5]


def test_an_optimizer_that_is_lightnings_own_wrapper(digits, local) -> None:
    """LightningOptimizer wrappers from configure_optimizers are unwrapped."""
    from lightning.pytorch.core.optimizer import LightningOptimizer

    class Wrapping(Module):
        def configure_optimizers(self) -> Any:
            return LightningOptimizer(self.task.optimizer)

    fit(Wrapping(digits(steps=2)))
    (history,) = local()

    assert (history.steps.tolist(), history.run.optimizer["name"]) == ([0, 1], "SGD")


def test_lbfgs_takes_many_evaluations_for_one_step(digits, local) -> None:
    """LBFGS evaluates many times a step; the record has the loss of the first evaluation."""
    task, losses = digits(steps=2), []

    class Second(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            losses.append((batch_idx, self.task.loss(*batch)))
            return losses[-1][1]

        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=4)

    fit(Second(task))
    first = [next(loss.item() for at, loss in losses if at == step) for step in range(2)]

    assert len(losses) > 4
    assert local()[0].metrics["loss"].tolist() == first


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1}])
def test_training_is_the_same_with_and_without(options, digits) -> None:
    """Weights, optimizer and random numbers are bit-equal with and without lrtrack."""
    states = []
    for callbacks in ([], [LRTrack(tracker="local", norms="layer")]):
        module = Module(digits(steps=24))
        trainer = lightning.Trainer(**QUIET, max_epochs=1, callbacks=callbacks, **options)
        trainer.fit(module, module.task.loader())
        task = module.task
        states.append([task.model.state_dict(), task.optimizer.state_dict(), torch.get_rng_state()])

    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_a_training_that_raises_ends_as_failed(digits, local) -> None:
    """A training that raises is FAILED, and the exception passes through unchanged."""

    class Breaking(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 3:
                raise RuntimeError("no more")
            return super().training_step(batch, batch_idx)

    callback = LRTrack(tracker="local")
    with pytest.raises(RuntimeError, match="no more"):
        fit(Breaking(digits()), callback)
    (history,) = local()

    assert (history.state, history.steps.tolist()) == (State.FAILED, [0, 1, 2])
    assert callback.runs == []


def test_the_sanity_check_and_validation_are_no_training(digits, local, steps_of) -> None:
    """The sanity check, validate() and test() change no record and open no run."""

    class Validating(Module):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            assert (callback.run is None) is self.trainer.sanity_checking

        def test_step(self, batch: Any, batch_idx: int) -> None:
            """Tests nothing."""
            assert callback.run is None

    expected = digits().plain()
    task = digits()
    module, callback = Validating(task), LRTrack(tracker="local")
    trainer = lightning.Trainer(**QUIET, max_epochs=1, callbacks=[callback], val_check_interval=5)
    trainer.fit(module, task.loader(), task.loader())

    assert steps_of(local()[0]) == steps_of(expected)
    trainer.test(module, task.loader())
    assert len(local()) == 1
