"""transformers' Trainer with the callback, held against the same training as a plain loop."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from wandb_loopback.clients import script

from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.records import State

transformers = pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("accelerate", reason="needs accelerate")
LRTrack = __import__("lrtrack.integrations.transformers", fromlist=["LRTrack"]).LRTrack


class Model(torch.nn.Module):
    """The digits' network, in the shape that the Trainer knows."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        """The loss of a batch."""
        return {"loss": torch.nn.functional.cross_entropy(self.inner(inputs), labels)}


class Trainer(transformers.Trainer):
    """It leaves the rows in their order."""

    def _get_train_sampler(self, *_: Any) -> None:
        return None


class Interrupted(transformers.TrainerCallback):
    """A training that breaks in the middle of a step."""

    def __init__(self, at: int, error: type[BaseException] = RuntimeError) -> None:
        self.at, self.error = at, error

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Break, if it is time."""
        if state.global_step == self.at:
            raise self.error("broken")


@pytest.fixture
def trainer(digits: Any) -> Iterator[Callable[..., Any]]:
    """Make a Trainer for a task; accelerate's state, which is one a process, is put back."""

    def make(
        callbacks: list[Any], task: Any = None, model: Any = None, rows: Any = None, **given: Any
    ) -> Any:
        task = task or digits()
        arguments = transformers.TrainingArguments(
            **{
                "output_dir": "out",
                "num_train_epochs": 1,
                "per_device_train_batch_size": 16,
                "use_cpu": True,
                "report_to": "none",
                "save_strategy": "no",
                "logging_strategy": "no",
                "disable_tqdm": True,
                "dataloader_pin_memory": False,
                **given,
            }
        )
        rows = rows or [{"inputs": x, "labels": y} for x, y in zip(*task.rows, strict=True)]
        found = Trainer(
            model or Model(task.model),
            arguments,
            train_dataset=rows,
            eval_dataset=rows[:32],
            optimizers=(None, None) if model else (task.optimizer, task.scheduler),
            callbacks=callbacks,
        )
        found.remove_callback(transformers.PrinterCallback)
        return found

    yield make
    state = __import__("accelerate.state", fromlist=["AcceleratorState"])
    state.AcceleratorState._reset_state(reset_partial_state=True)
    state.GradientState._reset_state()


@pytest.mark.parametrize(("accumulate", "clip"), [(1, 0.5), (3, 0.5), (1, None)])
def test_records_equal_those_of_a_plain_loop(
    digits, trainer, local, steps_of, accumulate: int, clip: float | None
) -> None:
    """To the last bit, the Trainer's own accumulation and clipping included."""
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
    found, expected = steps_of(history), steps_of(plain)
    if clip is None:  # later releases look at the norm by clipping at infinity
        found.pop("grad_norm_preclip", None)
        norms = found["grad_norm"], expected.pop("grad_norm")
        expected["grad_norm"] = found["grad_norm"]
        assert norms[1] == pytest.approx(norms[0], rel=1e-6)

    assert found == expected
    assert history.run.schedule == plain.run.schedule
    assert (history.run.seed, history.run.name, history.state) == (7, "mine", State.FINISHED)
    assert history.run.config["gradient_accumulation_steps"] == accumulate
    assert history.run.config["steps_per_epoch"] == 12
    assert history.run.diagnoses == ()


def test_weights_are_the_same_without(digits, trainer) -> None:
    """Bit for bit: nothing of the training is changed."""
    found = []
    for callbacks in ([], [LRTrack(tracker="local", norms="layer")]):
        task = digits()
        trainer(callbacks, task, max_grad_norm=0.5).train()
        found.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))

    assert torch.equal(*found)


def test_what_the_user_says_comes_first(trainer, local) -> None:
    """Before what the Trainer knows; in the configuration key by key."""
    config = {"num_train_epochs": 99, "depth": 3}
    trainer([LRTrack(tracker="local", seed=1, name="n", config=config)], seed=7).train()
    (history,) = local()

    assert (history.run.seed, history.run.name) == (1, "n")
    assert (history.run.config["num_train_epochs"], history.run.config["depth"]) == (99, 3)
    assert history.run.config["per_device_train_batch_size"] == 16


def test_evaluations_are_recorded_at_the_step_they_follow(trainer, local, steps_of) -> None:
    """And one before the training at its beginning; not what they cost, nor one afterwards."""
    found = trainer(
        [LRTrack(tracker="local")], eval_strategy="steps", eval_steps=4, eval_on_start=True
    )
    found.train()
    found.evaluate()
    (history,) = local()
    steps = steps_of(history)

    assert set(steps["eval_loss"]) == {0, 3, 7, 11}
    assert not [name for name in steps if name.startswith("eval_") and name != "eval_loss"]
    assert set(steps["lr"]) == set(range(12))


@pytest.mark.parametrize("ours_is", ["last", "first"])
def test_the_run_of_the_mlflow_callback_is_joined(trainer, store, ours_is: str) -> None:
    """Wherever it is in the list; every step is there, though the Trainer logs each fourth."""
    import mlflow
    from transformers.integrations import MLflowCallback

    ours = LRTrack(flush_timeout=60.0, prefix="lrtrack/")
    found = trainer(
        [ours] if ours_is == "last" else [ours, MLflowCallback()],
        report_to="mlflow" if ours_is == "last" else "none",
        logging_strategy="steps",
        logging_steps=4,
        eval_strategy="epoch",
    )
    found.train()
    client = mlflow.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    rates = client.get_metric_history(run.info.run_id, "lrtrack/lr")
    theirs = client.get_metric_history(run.info.run_id, "learning_rate")
    evaluated = client.get_metric_history(run.info.run_id, "eval_loss")

    assert [point.step for point in sorted(rates, key=lambda p: p.step)] == list(range(12))
    assert sorted(point.step for point in theirs) == [4, 8, 12]
    assert [point.step for point in evaluated] == [12]
    assert run.data.tags["lrtrack.scheduler.name"] == "OneCycleLR"
    assert (run.data.params["seed"], run.data.params["scheduler"]) == ("42", "OneCycleLR")
    assert run.info.status == "FINISHED"
    assert ours.run.id == run.info.run_id


def test_the_run_of_the_wandb_callback_is_joined(wandb_server) -> None:
    """Its rows keep W&B's own count, and all of ours are there beside them."""
    done = script(
        wandb_server,
        """
import torch, transformers, wandb
from lrtrack.integrations.transformers import LRTrack

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 3)
    def forward(self, inputs, labels):
        return {"loss": torch.nn.functional.cross_entropy(self.inner(inputs), labels)}

rows = [{"inputs": torch.ones(4) * at, "labels": torch.tensor(at % 3)} for at in range(40)]
ours = LRTrack(flush_timeout=60.0)
transformers.Trainer(
    Model(),
    transformers.TrainingArguments(
        "out", max_steps=20, per_device_train_batch_size=2, use_cpu=True, report_to="wandb",
        logging_steps=5, save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
    ),
    train_dataset=rows,
    callbacks=[ours],
).train()
assert ours.run.id == wandb.run.id
wandb.finish()
""",
    )

    assert done.returncode == 0, done.stderr
    (run,) = wandb_server.runs("tester/huggingface")
    ours = [row for row in run.history if "lr" in row]
    theirs = [row for row in run.history if "train/loss" in row]
    assert [row["lrtrack/step"] for row in ours] == list(range(20))
    assert [row["train/global_step"] for row in theirs] == [5, 10, 15, 20]
    defined = run.raw_config["_wandb"]["value"]["m"]
    (axis,) = [each["5"] for each in defined if each.get("1") == "lr"]
    assert defined[axis - 1]["1"] == "lrtrack/step"
    assert [row["_step"] for row in run.history] == list(range(len(run.history)))
    assert run.config["lrtrack"]["scheduler"]["name"] == "LambdaLR"


def interrupt(trainer: Any, **given: Any) -> None:
    """Train 12 steps with a checkpoint after each third, but break before the ninth."""
    with pytest.raises(RuntimeError, match="broken"):
        trainer([LRTrack(tracker="local"), Interrupted(8)], **given).train()


SAVING = {"save_strategy": "steps", "save_steps": 3, "max_grad_norm": 0.5}


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_a_training_goes_on_in_its_run(
    digits, trainer, local, steps_of, clean_place, restore: bool, moved: bool
) -> None:
    """From its checkpoint, wherever that is now: each step once, and as in one go."""
    plain = digits().plain(clip=0.5)
    interrupt(trainer, **SAVING)
    place = Path("out/checkpoint-6")
    if moved:
        place = Path(shutil.move(place, "elsewhere"))
    (before,) = local()  # what was on disk when the checkpoint was made
    again = trainer(
        [LRTrack(tracker="local")], restore_callback_states_from_checkpoint=restore, **SAVING
    )
    again.train(resume_from_checkpoint=str(place))
    (history,) = local()

    assert set(range(6)) <= set(before.steps.tolist())
    assert (history.run.id, history.state) == (before.run.id, State.FINISHED)
    assert steps_of(history) == steps_of(plain)


def test_a_checkpoint_of_a_training_without_the_callback(trainer, local, steps_of) -> None:
    """A run of its own, whose steps are numbered as the Trainer's."""
    with pytest.raises(RuntimeError, match="broken"):
        trainer([Interrupted(8)], **SAVING).train()
    trainer([LRTrack(tracker="local")], **SAVING).train(resume_from_checkpoint=True)

    (history,) = local()
    assert history.steps.tolist() == list(range(6, 12))


@pytest.mark.parametrize("same", [False, True])
def test_going_on_beside_the_mlflow_callback(
    trainer, store, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Ours follow it into another run, at the right steps; in the same run each is there once."""
    import mlflow

    given = {**SAVING, "report_to": "mlflow"}
    ours = LRTrack(flush_timeout=60.0)
    with pytest.raises(RuntimeError, match="broken"):
        trainer([ours, Interrupted(8)], **given).train()
    mlflow.end_run()
    if same:
        monkeypatch.setenv("MLFLOW_RUN_ID", ours.run.id)
    trainer([LRTrack(flush_timeout=60.0)], **given).train(resume_from_checkpoint=True)
    client = mlflow.MlflowClient(tracking_uri=store)
    experiments = [each.experiment_id for each in client.search_experiments()]
    steps = [
        sorted(point.step for point in client.get_metric_history(run.info.run_id, "lr"))
        for run in client.search_runs(experiments, order_by=["start_time"])
    ]

    assert steps == ([list(range(12))] if same else [list(range(8)), list(range(6, 12))])


def test_another_trainer_ends_the_run_of_one_that_broke(trainer, local) -> None:
    """As FAILED: an exception reaches no callback. One around it goes on."""

    class Inner(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 6:
                trainer([LRTrack(tracker="local", name="inner")]).train()

    with pytest.raises(KeyboardInterrupt):
        broken = [LRTrack(tracker="local", name="broken"), Interrupted(4, KeyboardInterrupt)]
        trainer(broken).train()
    trainer([LRTrack(tracker="local", name="outer"), Inner()]).train()
    found = {history.run.name: (history.state, len(history.steps)) for history in local()}

    assert found == {
        "broken": (State.FAILED, 4),
        "outer": (State.FINISHED, 12),
        "inner": (State.FINISHED, 12),
    }


def test_a_model_of_transformers(trainer, local, steps_of) -> None:
    """Built from a configuration, with the Trainer's own optimizer, schedule and param groups."""
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
    """With DeepSpeed's optimizer, or none, it is said what is not recorded."""
    from accelerate.utils.deepspeed import DeepSpeedOptimizerWrapper

    found = trainer([])
    callback = LRTrack(tracker="local")
    for optimizer, said in (
        (None, "no optimizer"),
        (DeepSpeedOptimizerWrapper(digits().optimizer), "DeepSpeed"),
    ):
        callback.on_train_begin(found.args, found.state, found.control)
        with pytest.warns(LRTrackWarning, match=said):
            callback.on_epoch_begin(found.args, found.state, found.control, optimizer=optimizer)
        callback.on_train_end(found.args, found.state, found.control)

    assert (callback.run, local()) == (None, [])


@pytest.mark.parametrize(
    ("options", "error"), [({"experimnt": "x"}, TypeError), ({"tracker": "mlfow"}, UsageError)]
)
def test_a_mistake_is_told_before_the_training(options, error) -> None:
    """Where the callback is made."""
    with pytest.raises(error):
        LRTrack(**options)


def test_an_old_release_is_refused(clean_place) -> None:
    """With the oldest that is supported, and the line that installs it."""
    metadata = clean_place / "transformers-4.30.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.30.0\n")
    code = f"import sys; sys.path.insert(0, {str(clean_place)!r})\n"
    code += "import lrtrack.integrations.transformers"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert "lrtrack supports 4.50 and later" in done.stderr
    assert "pip install -U 'lrtrack[transformers]' 'transformers>=4.50'" in done.stderr
