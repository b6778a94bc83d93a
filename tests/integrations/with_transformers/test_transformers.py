"""transformers' Trainer with the callback, compared with the same training as a plain loop."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.integrations.transformers import LRTrack
from lrtrack.records import State

from .trainers import Interrupted


@pytest.mark.parametrize(("accumulate", "clip"), [(1, 0.5), (3, 0.5), (1, None)])
def test_records_equal_those_of_a_plain_loop(
    digits, trainer, local, steps_of, accumulate: int, clip: float | None
) -> None:
    """Records equal those of a plain loop bit for bit, with accumulation and clipping."""
    plain = digits(batches=12 * accumulate).plain(accumulate, clip)
    trainer(
        [LRTrack(tracker="local")],
        digits(batches=12 * accumulate),
        gradient_accumulation_steps=accumulate,
        max_grad_norm=clip or 0.0,
        seed=7,
        run_name="mine",
    ).train()
    (history,) = local()
    steps, expected = steps_of(history), steps_of(plain)
    if clip is None:  # later releases measure the norm by clipping at infinity
        steps.pop("grad_norm_preclip", None)
        norms = steps["grad_norm"], expected.pop("grad_norm")
        expected["grad_norm"] = steps["grad_norm"]
        assert norms[1] == pytest.approx(norms[0], rel=1e-6)

    assert steps == expected
    assert history.run.schedule == plain.run.schedule
    assert (history.run.seed, history.run.name, history.state) == (7, "mine", State.FINISHED)
    assert history.run.config["gradient_accumulation_steps"] == accumulate
    assert history.run.config["steps_per_epoch"] == history.run.total_steps == 12
    assert history.run.diagnoses == ()


def test_weights_are_the_same_without(digits, trainer) -> None:
    """Weights are bit-equal with and without lrtrack."""
    states = []
    for callbacks in ([], [LRTrack(tracker="local", norms="layer")]):
        task = digits()
        trainer(callbacks, task, max_grad_norm=0.5).train()
        states.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))

    assert torch.equal(*states)


def test_what_the_user_says_comes_first(trainer, local) -> None:
    """The user's options override what the Trainer knows, in the configuration key by key."""
    config = {"num_train_epochs": 99, "depth": 3}
    trainer([LRTrack(tracker="local", seed=1, name="n", config=config)], seed=7).train()
    (history,) = local()

    assert (history.run.seed, history.run.name) == (1, "n")
    assert (history.run.config["num_train_epochs"], history.run.config["depth"]) == (99, 3)
    assert history.run.config["per_device_train_batch_size"] == 16


def test_evaluations_are_recorded_at_the_step_they_follow(trainer, local, steps_of) -> None:
    """Evaluations are recorded at the step they follow, without their cost."""
    trainer_used = trainer(
        [LRTrack(tracker="local")], eval_strategy="steps", eval_steps=4, eval_on_start=True
    )
    trainer_used.train()
    trainer_used.evaluate()
    (history,) = local()
    steps = steps_of(history)

    assert set(steps["eval_loss"]) == {0, 3, 7, 11}
    assert not [name for name in steps if name.startswith("eval_") and name != "eval_loss"]
    assert set(steps["lr"]) == set(range(12))


def test_what_the_trainer_logs_is_recorded_under_its_name(trainer, local, steps_of) -> None:
    """The mean of several steps and a subclass's own metrics are recorded where they are logged."""

    class Logging(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 5:
                made.log({"reward": 2.0, "reward_runtime": 1.0, "text": "no number"})

    made = trainer([LRTrack(tracker="local"), Logging()], logging_strategy="steps", logging_steps=4)
    made.train()
    (history,) = local()
    steps = steps_of(history)
    logged = {e["step"] - 1: e["loss"] for e in made.state.log_history if "loss" in e}

    assert {name for name in steps if name.startswith("train/")} == {"train/loss", "train/reward"}
    assert steps["train/loss"] == logged
    assert list(logged) == [3, 7, 11]
    assert steps["train/reward"] == {4: 2.0}
    means = {at: sum(steps["loss"][at - back] for back in range(4)) / 4 for at in logged}
    # Transformers 4 rounds what it logs to four decimals.
    assert steps["train/loss"] == pytest.approx(means, abs=5.1e-5)


def test_another_trainer_ends_the_run_of_one_that_broke(trainer, local) -> None:
    """Another Trainer ends the run of one that broke as FAILED; a surrounding one continues."""

    class Inner(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 6:
                trainer([LRTrack(tracker="local", name="inner")]).train()

    with pytest.raises(KeyboardInterrupt):
        broken = [LRTrack(tracker="local", name="broken"), Interrupted(4, KeyboardInterrupt)]
        trainer(broken).train()
    trainer([LRTrack(tracker="local", name="outer"), Inner()]).train()
    runs = {history.run.name: (history.state, len(history.steps)) for history in local()}

    assert runs == {
        "broken": (State.FAILED, 4),
        "outer": (State.FINISHED, 12),
        "inner": (State.FINISHED, 12),
    }


def test_a_model_of_transformers(trainer, local, steps_of) -> None:
    """A transformers model is recorded with the Trainer's optimizer, schedule and param groups."""
    torch.manual_seed(0)
    small = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 32}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**small))
    tokens = [torch.randint(32, (16,)) for _ in range(48)]
    trainer(
        [LRTrack(tracker="local")],
        model=model,
        rows=[{"input_ids": row, "labels": row} for row in tokens],
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        warmup_steps=2,
    ).train()
    (history,) = local()
    steps = steps_of(history)

    assert set(steps) == {"lr", "lr/0", "lr/1", "loss", "grad_norm", "grad_norm_preclip"}
    rates, losses = (list(steps[name].values()) for name in ("lr", "loss"))
    assert pytest.approx([0.0, 5e-4, 1e-3, 7.5e-4, 5e-4, 2.5e-4]) == rates
    assert pytest.approx([np.log(32)] * 6, rel=0.1) == losses
    assert history.run.schedule.params["num_warmup_steps"] == 2
    assert (history.run.optimizer["name"], history.run.diagnoses) == ("AdamW", ())


def test_a_training_that_cannot_be_observed_goes_on(digits, trainer, local) -> None:
    """A training with DeepSpeed's optimizer, or none, continues and reports what is not
    recorded.
    """
    from accelerate.utils.deepspeed import DeepSpeedOptimizerWrapper

    trainer_used = trainer([])
    callback = LRTrack(tracker="local")
    for optimizer, said in (
        (None, "no optimizer"),
        (DeepSpeedOptimizerWrapper(digits().optimizer), "DeepSpeed"),
    ):
        callback.on_train_begin(trainer_used.args, trainer_used.state, trainer_used.control)
        with pytest.warns(LRTrackWarning, match=said):
            callback.on_epoch_begin(
                trainer_used.args, trainer_used.state, trainer_used.control, optimizer=optimizer
            )
        callback.on_train_end(trainer_used.args, trainer_used.state, trainer_used.control)

    assert (callback.run, local()) == (None, [])


class Rebuilt(transformers.TrainerCallback):
    """Builds the optimizer anew after three steps, over the same parameters."""

    def on_step_end(self, args, state, control, optimizer=None, **_) -> None:
        """Replaces the optimizer behind the Trainer's."""
        if state.global_step == 3:
            optimizer.optimizer = torch.optim.Adam(optimizer.param_groups[0]["params"], lr=1e-3)


def test_an_optimizer_that_is_built_anew(trainer, local) -> None:
    """A Trainer whose optimizer is replaced after three steps is reported with what steps now."""
    used = trainer([LRTrack(tracker="local"), Rebuilt()])
    with pytest.warns(LRTrackWarning, match="LR013"):
        used.train()
    (history,) = local()
    told = {d["code"]: d["message"] for d in history.run.diagnoses}
    later = used.state.global_step - 3

    assert told["LR013"] == (
        f"after 3 steps, no more steps of the SGD were seen, although {later} backward() calls "
        "followed: 1 other optimizer (Adam) steps instead."
    )


@pytest.mark.parametrize(
    ("options", "error"), [({"experimnt": "x"}, TypeError), ({"tracker": "mlfow"}, UsageError)]
)
def test_a_mistake_is_told_before_the_training(options, error) -> None:
    """A mistake is an error where the callback is made."""
    with pytest.raises(error):
        LRTrack(**options)


def test_an_old_release_is_refused(clean_place) -> None:
    """An old release is refused with the oldest supported one and the line that installs it."""
    metadata = clean_place / "transformers-4.30.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.30.0\n")
    code = f"import sys; sys.path.insert(0, {str(clean_place)!r})\n"
    code += "import lrtrack.integrations.transformers"
    process = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert "lrtrack needs 4.50 or later" in process.stderr
    assert "pip install -U 'lrtrack[transformers]' 'transformers>=4.50'" in process.stderr
