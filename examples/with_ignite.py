"""Two of PyTorch Ignite's own schedules × two seeds; then: lrtrack compare --experiment ignite"""

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers.param_scheduler import (
    CosineAnnealingScheduler,
    LinearCyclicalScheduler,
    create_lr_scheduler_with_warmup,
)
from ignite.metrics import Accuracy
from ignite.utils import manual_seed
from sklearn.datasets import load_digits

from lrtrack.integrations.ignite import LRTrack

EPOCHS, BATCH = 4, 64


def train(schedule: str, seed: int) -> None:
    """An ordinary training with Ignite; only the lines with `LRTrack` and `tracked` are new."""
    manual_seed(seed)
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
    rows = torch.utils.data.TensorDataset(inputs, torch.tensor(digits.target))
    training, validation = torch.utils.data.random_split(rows, [0.8, 0.2])
    loader = torch.utils.data.DataLoader(training, BATCH, shuffle=True)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    steps = EPOCHS * len(loader)
    scheduler = {
        "cosine": lambda: create_lr_scheduler_with_warmup(
            CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.0, steps), 0.0, steps // 10
        ),
        "triangle": lambda: LinearCyclicalScheduler(optimizer, "lr", 0.0, 0.4, steps),
    }[schedule]()

    trainer = create_supervised_trainer(model, optimizer, torch.nn.CrossEntropyLoss())
    evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy()})
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: evaluator.run(torch.utils.data.DataLoader(validation, 512))
    )
    tracked = LRTrack(optimizer, scheduler, experiment="ignite", seed=seed).attach(trainer)
    tracked.attach_output_handler(evaluator, tag="validation", metric_names=["accuracy"])
    trainer.run(loader, max_epochs=EPOCHS)


if __name__ == "__main__":
    for schedule in ("cosine", "triangle"):
        for seed in range(2):
            train(schedule, seed)
