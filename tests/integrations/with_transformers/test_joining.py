"""The runs that the Trainer's own callbacks open in MLflow and W&B are joined."""

from __future__ import annotations

import pytest
from wandb_loopback.clients import script

from lrtrack.integrations.transformers import LRTrack


@pytest.mark.parametrize("ours_is", ["last", "first"])
def test_the_run_of_the_mlflow_callback_is_joined(trainer, store, ours_is: str) -> None:
    """Wherever it is in the list; every step is there, though the Trainer logs each fourth."""
    import mlflow
    from transformers.integrations import MLflowCallback

    ours = LRTrack(flush_timeout=300.0, prefix="lrtrack/")
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
    assert run.data.tags["lrtrack.lrtrack.scheduler.name"] == "OneCycleLR"
    assert run.data.params["lrtrack.lrtrack.scheduler"] == "OneCycleLR"
    assert run.data.params["lrtrack.lrtrack.seed"] == "42"
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
ours = LRTrack(flush_timeout=300.0)
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
