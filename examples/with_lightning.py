"""Lightning, two schedules on the digits; then: lrtrack compare --experiment with-lightning"""

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from lrtrack.integrations.lightning import LRTrack

SCHEDULES = {
    "cosine": lambda opt, steps: CosineAnnealingLR(opt, T_max=steps),
    "onecycle": lambda opt, steps: OneCycleLR(opt, 0.3, total_steps=steps),
}


class Digits(LightningModule):
    """A small network under one of the schedules; nothing of it is lrtrack's."""

    def __init__(self, schedule: str) -> None:
        super().__init__()
        self.schedule = schedule
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
        )

    def training_step(self, batch, batch_idx):
        """The loss of a batch."""
        inputs, labels = batch
        return cross_entropy(self.layers(inputs), labels)

    def configure_optimizers(self):
        """SGD, and the schedule at each step."""
        opt = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        sched = SCHEDULES[self.schedule](opt, self.trainer.estimated_stepping_batches)
        return [opt], [{"scheduler": sched, "interval": "step"}]


def train(schedule: str, seed: int) -> None:
    """An ordinary fit; the callback is all there is of lrtrack."""
    seed_everything(seed, verbose=False)
    digits = load_digits()
    rows = TensorDataset(torch.tensor(digits.data / 16).float(), torch.tensor(digits.target))
    trainer = Trainer(
        max_epochs=4,
        logger=False,
        enable_checkpointing=False,
        gradient_clip_val=1.0,
        callbacks=[LRTrack(experiment="with-lightning")],
    )
    trainer.fit(Digits(schedule), DataLoader(rows, batch_size=64, shuffle=True))


if __name__ == "__main__":
    for schedule in SCHEDULES:
        for seed in range(2):
            train(schedule, seed)
