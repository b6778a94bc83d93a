"""Several optimizers in one block: what is in the run, and what trackers return of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker


class Gan:
    """A generator and a discriminator of one weight each, with fixed losses."""

    def __init__(self) -> None:
        self.weights = [torch.nn.Parameter(torch.ones(())) for _ in range(2)]
        self.d = torch.optim.SGD([self.weights[0]], lr=0.5)
        self.g = torch.optim.Adam([self.weights[1]], lr=0.25)
        self.optimizers = {"D": self.d, "G": self.g}
        self.schedulers = {"D": StepLR(self.d, 2), "G": ExponentialLR(self.g, 0.5)}

    def round(self, d: float = 3.0, g: float = 1.0) -> None:
        """Step both, each after its own loss."""
        for optimizer, weight, loss in ((self.d, self.weights[0], d), (self.g, self.weights[1], g)):
            optimizer.zero_grad()
            (0.0 * weight + loss).backward()
            optimizer.step()
        for scheduler in self.schedulers.values():
            scheduler.step()


@pytest.fixture
def gan() -> Gan:
    """A GAN."""
    return Gan()


def test_one_run_holds_all_optimizers(gan, local) -> None:
    """A block with several optimizers is one run, with metrics and fields for each."""
    with lrtrack.track(gan.optimizers, gan.schedulers, tracker="local", seed=3) as run:
        for at in range(4):
            gan.round()
            run.log(val=float(at))
            assert run.step == at
    (history,) = local()
    fields = history.fields()

    assert history.run.name == "StepLR + ExponentialLR-seed3"
    assert history.metrics["lr"].tolist() == history.metrics["lr/D"].tolist()
    assert history.metrics["lr/D"].tolist() == pytest.approx([0.5, 0.5, 0.05, 0.05])
    assert history.metrics["lr/G"].tolist() == [0.25, 0.125, 0.0625, 0.03125]
    assert history.metrics["loss"].tolist() == [4.0] * 4
    assert history.metrics["loss/G"].tolist() == [1.0] * 4
    assert history.metrics["val"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert history.run.diagnoses == ()
    assert (fields["optimizer.name"], fields["optimizer.D.name"]) == ("SGD + Adam", "SGD")
    assert (fields["optimizer.D.lr"], fields["optimizer.G.lr"]) == (0.5, 0.25)
    assert (fields["scheduler.D.step_size"], fields["scheduler.G.gamma"]) == (2, 0.5)


def test_the_summary_has_the_round_that_is_under_way(gan, clean_place) -> None:
    """A summary in the middle of a round has what is known, and the record is complete later."""
    with lrtrack.track(gan.optimizers, gan.schedulers, tracker="local") as run:
        gan.round()
        gan.d.step()
        middle = run.summary(), run.step
        gan.g.step()

    assert (middle[0]["lr/G"], middle[1]) == (0.25, 1)
    assert (run.summary()["lr/G"], run.step) == (0.125, 1)


def test_losses_of_uneven_rounds_are_not_corrected(gan, local) -> None:
    """Counts of backward calls that differ because an optimizer skips rounds change no loss."""
    with lrtrack.track(gan.optimizers, tracker="local") as run:
        for at in range(40):
            gan.weights[0].grad = None
            (0.0 * gan.weights[0] + 3.0).backward()
            gan.d.step()
            if at % 4 == 3:
                (0.0 * gan.weights[1] + 1.0).backward()
                gan.g.step()
    (history,) = local()

    assert run.loss(last=4) == pytest.approx(3.25)
    assert history.metrics["loss"].tolist() == [3.0, 3.0, 3.0, 4.0] * 10
    assert lrtrack.compare(tracker="local").schedules[0].final.mean == 3.5


def test_a_list_of_one_is_that_optimizer(training, new_training, local) -> None:
    """A single optimizer in a list is recorded exactly as without the list."""
    with lrtrack.track([training.optimizer], [training.scheduler], tracker="local"):
        training.run()
    alone = new_training()
    with lrtrack.track(alone.optimizer, alone.scheduler, tracker="local"):
        alone.run()
    second, first = local()

    assert sorted(first.metrics) == sorted(second.metrics)
    assert all((first.metrics[n] == second.metrics[n]).all() for n in first.metrics)
    assert first.run.schedule == second.run.schedule
    assert first.run.optimizer == second.run.optimizer


def test_training_is_unchanged(gan) -> None:
    """The weights of a tracked training are those of an untracked one, bit for bit."""

    def trained(task: Gan) -> list[float]:
        for _ in range(5):
            for optimizer, weight in zip(task.optimizers.values(), task.weights, strict=True):
                optimizer.zero_grad()
                (sum(task.weights) * weight).backward()
                optimizer.step()
        return [weight.item() for weight in task.weights]

    with lrtrack.track(gan.optimizers, gan.schedulers, tracker="local"):
        tracked = trained(gan)

    assert tracked == trained(Gan())


def test_a_plateau_metric_has_the_name_of_its_optimizer(gan, local) -> None:
    """Values given to plateau schedulers are told apart if there are several."""
    first, second = (ReduceLROnPlateau(o, patience=9) for o in gan.optimizers.values())
    gan.schedulers = {}
    with lrtrack.track(gan.optimizers, {"D": first, "G": second}, tracker="local"):
        gan.round()
        first.step(5.0)
        second.step(6.0)
    with lrtrack.track(gan.optimizers, {"D": None, "G": second}, tracker="local"):
        gan.round()
        second.step(7.0)
    one, two = local()

    assert one.metrics["plateau_metric"].tolist() == [7.0]
    assert two.metrics["plateau_metric/D"].tolist() == [5.0]
    assert two.metrics["plateau_metric/G"].tolist() == [6.0]


def test_mistakes_are_told_at_the_call(gan) -> None:
    """Schedulers that do not match, or belong to another optimizer, are errors at the call."""
    with pytest.raises(UsageError, match="2 optimizers, but 1 schedulers"):
        lrtrack.track([gan.d, gan.g], [gan.schedulers["D"]])
    with pytest.raises(UsageError, match="are called D, G, but the schedulers D"):
        lrtrack.track(gan.optimizers, {"D": gan.schedulers["D"]})
    with pytest.raises(UsageError, match="changes the learning rate of another optimizer"):
        lrtrack.track([gan.d, gan.g], [gan.schedulers["G"], None])
    with pytest.raises(TypeError, match=r"scheduler with a step\(\) method.*got float"):
        lrtrack.track([gan.d, gan.g], [0.1, None])
    with pytest.raises(TypeError, match=r"got types\.SimpleNamespace\. Fix: pass"):
        lrtrack.track([gan.d, SimpleNamespace()])


def test_mlflow_returns_each_optimizer(gan, store, monkeypatch) -> None:
    """MLflow has tags and params for each optimizer, and returns them as they were."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    options: dict[str, Any] = {"experiment": "gan", "flush_timeout": 300.0}
    with lrtrack.track(gan.optimizers, gan.schedulers, tracker="mlflow", **options) as run:
        for _ in range(3):
            gan.round()
    (history,) = MlflowTracker().histories(Query("gan", store))
    data = mlflow.MlflowClient(store).get_run(run.id).data

    assert history.steps.tolist() == [0, 1, 2]
    assert history.run.schedule.name == "StepLR + ExponentialLR"
    assert (history.run.optimizer["D.lr"], history.run.optimizer["G.name"]) == (0.5, "Adam")
    assert data.tags["lrtrack.scheduler.D.step_size"] == "2"
    assert data.tags["lrtrack.optimizer.G.name"] == "Adam"
    assert data.params["optimizer.G.lr"] == "0.25"
    assert data.metrics["lr/G"] == 0.0625


def test_prefixes_are_rows_and_names_of_their_own(gan, clean_place) -> None:
    """Blocks with different prefixes are never averaged, and a run's name has its prefix."""
    for prefix, loss in (("D/", 2.0), ("G/", 4.0)):
        with lrtrack.track(gan.d, prefix=prefix, tracker="local", seed=1):
            (0.0 * gan.weights[0] + loss).backward()
            gan.d.step()
    comparison = lrtrack.compare(tracker="local")

    assert {item.label: item.final.mean for item in comparison.schedules} == {
        "constant, prefix=D/": 2.0,
        "constant, prefix=G/": 4.0,
    }
    assert sorted(h.run.name for h in comparison.histories) == [
        "D-constant-seed1", "G-constant-seed1",
    ]  # fmt: skip


def test_mlflow_has_the_rate_that_one_of_two_was_given_by_hand(gan, store, monkeypatch) -> None:
    """Params, which MLflow never changes, wait until it is known whether a rate stayed."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    del gan.schedulers["D"]
    schedulers = {"D": None, **gan.schedulers}
    options: dict[str, Any] = {"experiment": "gan", "flush_timeout": 300.0}
    with lrtrack.track(gan.optimizers, schedulers, tracker="mlflow", **options):
        for at in range(12):
            gan.d.param_groups[0]["lr"] = 0.01 * 0.5 ** (at // 4)
            gan.round()
    (run,) = mlflow.search_runs(experiment_names=["gan"], output_format="list")
    params, tags = run.data.params, run.data.tags

    assert params["scheduler.D.name"] == tags["lrtrack.scheduler.D.name"] == "step"
    assert params["scheduler.source"] == tags["lrtrack.scheduler.source"] == "inferred"
    assert params["scheduler"] == tags["lrtrack.scheduler.name"] == "step + ExponentialLR"
    assert run.info.run_name == "step + ExponentialLR"
