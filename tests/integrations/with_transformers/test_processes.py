"""Two processes of transformers' Trainer, and of the accelerate that it needs, by torchrun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.programs import EXIT_WITHOUT_SHUTDOWN

DISTRIBUTED = """
import json, pathlib, sys, torch, transformers
from accelerate import Accelerator
from lrtrack.integrations.accelerate import LRTrack as Tracker

torch.manual_seed(0)
model = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rows = [(torch.ones(4) * at / 64, torch.tensor(at % 3)) for at in range(64)]
loader = torch.utils.data.DataLoader(rows, batch_size=2)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=len(loader))
accelerator = Accelerator(cpu=True, log_with=Tracker(tracker="local", name="accelerate"))
prepared = accelerator.prepare(model, optimizer, scheduler, loader)
model, optimizer, scheduler, loader = prepared
accelerator.init_trackers("digits")
gathered = []
for inputs, labels in loader:
    loss = torch.nn.functional.cross_entropy(model(inputs), labels)
    accelerator.backward(loss)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    gathered.append(accelerator.gather(loss.detach()).mean().item())
    accelerator.log({"loss": gathered[-1]})
accelerator.log({"rank": accelerator.process_index})
for tracker in accelerator.trackers:
    tracker.finish()

from lrtrack.integrations.transformers import LRTrack as Callback

class Model(torch.nn.Module):
    # A loss per token, which the Trainer scales by the number of tokens in all processes.
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 3)
    def forward(self, inputs, labels, num_items_in_batch=None, **kwargs):
        loss = torch.nn.functional.cross_entropy(
            self.inner(inputs).flatten(0, 1), labels.flatten(), reduction="sum"
        )
        return {"loss": loss / (num_items_in_batch or (labels != -100).sum())}

def tokens(at):
    # Eight tokens, of which some count.
    labels = torch.tensor([at % 3] * (at % 7 + 1) + [-100] * (7 - at % 7))
    return {"inputs": torch.randn(8, 4), "labels": labels}

def train(name, **options):
    trainer = transformers.Trainer(
        Model(),
        transformers.TrainingArguments(
            "out", per_device_train_batch_size=2, use_cpu=True, report_to="none", disable_tqdm=True,
            save_strategy="no", dataloader_pin_memory=False, num_train_epochs=1, logging_steps=1,
            max_grad_norm=9.0, average_tokens_across_devices=True, **options,
        ),
        train_dataset=[tokens(at) for at in range(64)],
        callbacks=[Callback(tracker="local", name=name)],
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

logged = {
    "accelerate": gathered,
    "transformers": train("transformers"),
    "accumulated": train("accumulated", gradient_accumulation_steps=2),
}
if accelerator.is_main_process:
    pathlib.Path("logged.json").write_text(json.dumps(logged))
torch.distributed.destroy_process_group()
"""


def test_two_processes(clean_place, local, steps_of) -> None:
    """Two processes give one run with the loss that the framework logs, and accelerate's way of
    stepping schedulers causes no diagnosis.
    """
    program = Path("train.py")
    program.write_text(DISTRIBUTED + EXIT_WITHOUT_SHUTDOWN)
    command = [sys.executable, "-P", "-m", "torch.distributed.run"]
    command += ["--standalone", "--nproc-per-node=2", str(program)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    histories = {history.run.name: history for history in local()}

    assert process.returncode == 0, process.stderr
    assert {name: h.run.world_size for name, h in histories.items()} == {
        "accelerate": 2,
        "transformers": 2,
        "accumulated": 2,
    }
    for name, losses in json.loads(Path("logged.json").read_text()).items():
        steps = 8 if name == "accumulated" else 16
        assert histories[name].steps.tolist() == list(range(steps))
        # Transformers 4 rounds what it logs to four decimals.
        precision = {"rel": 1e-6} if name == "accelerate" else {"abs": 5.1e-5}
        assert histories[name].metrics["loss"] == pytest.approx(losses, **precision)
        if name != "accelerate":
            assert histories[name].metrics["train/loss"].tolist() == losses
    assert all(history.run.diagnoses == () for history in histories.values())
    assert steps_of(histories["accelerate"])["rank"] == {15: 0.0}
    assert "LRTrack" not in process.stderr
