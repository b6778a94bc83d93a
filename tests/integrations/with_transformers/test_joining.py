"""The runs that the Trainer's own callbacks open in MLflow and W&B are joined."""

from __future__ import annotations

import pytest
from wandb_loopback.clients import script

from lrtrack.integrations.transformers import LRTrack


@pytest.mark.parametrize("ours_is", ["last", "first"])
def test_the_run_of_the_mlflow_callback_is_joined(trainer, store, ours_is: str) -> None:
    """The MLflow callback's run is joined, wherever it is in the list, with every step."""
    import mlflow
    from transformers.integrations import MLflowCallback

    callback = LRTrack(flush_timeout=300.0, prefix="lrtrack/")
    trainer_used = trainer(
        [callback] if ours_is == "last" else [callback, MLflowCallback()],
        report_to="mlflow" if ours_is == "last" else "none",
        logging_strategy="steps",
        logging_steps=4,
        eval_strategy="epoch",
    )
    trainer_used.train()
    client = mlflow.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    rates = client.get_metric_history(run.info.run_id, "lrtrack/lr")
    logged = client.get_metric_history(run.info.run_id, "learning_rate")
    evaluated = client.get_metric_history(run.info.run_id, "eval_loss")

    assert [point.step for point in sorted(rates, key=lambda p: p.step)] == list(range(12))
    assert sorted(point.step for point in logged) == [4, 8, 12]
    assert [point.step for point in evaluated] == [12]
    assert run.data.tags["lrtrack.lrtrack.scheduler.name"] == "OneCycleLR"
    assert run.data.params["lrtrack.lrtrack.scheduler"] == "OneCycleLR"
    assert run.data.params["lrtrack.lrtrack.seed"] == "42"
    assert run.info.status == "FINISHED"
    assert callback.run.id == run.info.run_id


def test_the_run_of_the_wandb_callback_is_joined(wandb_server) -> None:
    """In the W&B callback's run, its rows keep W&B's count and lrtrack's are complete."""
    process = script(
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

    assert process.returncode == 0, process.stderr
    (run,) = wandb_server.runs("tester/huggingface")
    rows = [row for row in run.history if "lr" in row]
    trainer_rows = [row for row in run.history if "train/loss" in row]
    assert [row["lrtrack/step"] for row in rows] == list(range(20))
    assert [row["train/global_step"] for row in trainer_rows] == [5, 10, 15, 20]
    defined = run.raw_config["_wandb"]["value"]["m"]
    (axis,) = [definition["5"] for definition in defined if definition.get("1") == "lr"]
    assert defined[axis - 1]["1"] == "lrtrack/step"
    assert [row["_step"] for row in run.history] == list(range(len(run.history)))
    assert run.config["lrtrack"]["scheduler"]["name"] == "linear"
