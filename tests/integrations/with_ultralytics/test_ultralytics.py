"""A YOLO training with the callbacks, compared with what torch's hooks and the trainer measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lrtrack.errors import UsageError
from lrtrack.records import State

pytest.importorskip("ultralytics", reason="brings 400 MB of OpenCV and polars: tox -e ultralytics")
from ultralytics import YOLO

from lrtrack.integrations.ultralytics import LRTrack

pytestmark = pytest.mark.filterwarnings("ignore")  # of torchvision, pin_memory and others

NETWORK = """
nc: 1
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
head:
  - [[0, 1], 1, Detect, [nc]]
"""
#: 8 images in batches of 2.
OPTIONS: dict[str, Any] = {
    "batch": 2,
    "imgsz": 32,
    "device": "cpu",
    "optimizer": "SGD",
    "amp": False,
    "plots": False,
    "val": False,
    "verbose": False,
}


@pytest.fixture
def train(clean_place: Path) -> Callable[..., Any]:
    """Trains a tiny network on noise, with functions to attach before, and returns its trainer."""
    noise = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (clean_place / kind / split).mkdir(parents=True)
        for number in range(8):
            pixels = noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(clean_place / "images" / split / f"{number}.png")
            (clean_place / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    Path("data.yaml").write_text(
        f"path: {clean_place}\ntrain: images/train\nval: images/val\nnames: {{0: x}}\n"
    )
    Path("tiny.yaml").write_text(NETWORK)

    def run(attach: Callable[[Any], Any], **options: Any) -> Any:
        model = YOLO("tiny.yaml", task="detect")
        attach(model)
        model.train(data="data.yaml", project="out", **{**OPTIONS, **options})
        return model.trainer

    return run


def measuring(steps: list[Any], losses: list[float]) -> Callable[[Any], None]:
    """Notes the rate and the gradient norm of each step, and the loss of each batch."""

    def note(optimizer: Any, args: Any, kwargs: Any) -> None:
        gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
        norm = torch.nn.utils.get_total_norm([g for g in gradients if g is not None])
        rates = [group["lr"] for group in optimizer.param_groups]
        steps.append((rates, float(norm), len(losses)))

    def attach(model: Any) -> None:
        model.add_callback("on_train_start", lambda t: t.optimizer.register_step_pre_hook(note))
        model.add_callback("on_train_batch_end", lambda t: losses.append(t.loss.item()))

    return attach


@pytest.mark.parametrize(("nbs", "warmup_epochs"), [(2, 1.0), (6, 2.0), (6, 0.0)])
def test_records_are_those_of_the_steps(local, train, nbs: int, warmup_epochs: float) -> None:
    """Rates, norms and mean losses are those of each step, whose number is known before."""
    steps: list[Any] = []
    losses: list[float] = []
    measure = measuring(steps, losses)

    def attach(model: Any) -> None:
        measure(model)
        LRTrack(tracker="local").attach(model)

    trainer = train(attach, epochs=3, nbs=nbs, warmup_epochs=warmup_epochs, seed=4)
    (history,) = local()
    ends = [at + 1 for _, _, at in steps]  # the batch whose end is noted after its step
    expected = [np.mean(losses[a:b]) for a, b in zip([0, *ends], ends, strict=False)]

    assert history.steps.tolist() == list(range(len(steps)))
    for group in range(3):
        rates = history.series(f"lr/{group}")[1].tolist()
        assert rates == [rates_of_groups[group] for rates_of_groups, _, _ in steps]
    assert history.series("grad_norm")[1].tolist() == pytest.approx(
        [n for _, n, _ in steps], rel=1e-5
    )
    assert history.series("loss")[1].tolist() == pytest.approx(expected, rel=1e-6)
    assert history.run.total_steps == len(steps)
    assert (history.run.seed, history.run.config["nbs"], history.state) == (4, nbs, State.FINISHED)
    assert history.run.schedule.name == "UltralyticsLinear"
    assert len(history.series("train/box_loss")[0]) == trainer.epochs
    assert history.run.diagnoses == ()


def test_weights_are_the_same_without(train) -> None:
    """Weights are bit-equal with and without lrtrack."""
    states = []
    for attach in (lambda model: None, LRTrack(tracker="local").attach):
        trainer = train(attach, epochs=2)
        states.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))

    assert torch.equal(*states)


def test_a_training_that_breaks_is_failed(local, train) -> None:
    """A training that an exception leaves is FAILED at once."""

    def fail(trainer: Any) -> None:
        raise RuntimeError("broken")

    def attach(model: Any) -> None:
        LRTrack(tracker="local").attach(model)
        model.add_callback("on_train_epoch_end", fail)

    with pytest.raises(RuntimeError, match="broken"):
        train(attach, epochs=2, nbs=2)

    (history,) = local()
    assert (history.state, history.steps.tolist()) == (State.FAILED, [0, 1, 2, 3])


def test_wrong_arguments_are_refused_at_once() -> None:
    """A misspelt option, an invalid value and what is no model are refused."""
    with pytest.raises(TypeError, match="experimnt"):
        LRTrack(experimnt="x")
    with pytest.raises(UsageError, match="at least 1"):
        LRTrack(every=0)
    with pytest.raises(TypeError, match="expects an Ultralytics model"):
        LRTrack().attach(torch.nn.Linear(1, 1))
