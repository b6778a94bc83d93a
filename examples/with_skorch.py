"""skorch, a grid search over peaks of one-cycle; then: lrtrack compare --experiment with-skorch"""

import math

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import OneCycleLR

from lrtrack.integrations.skorch import LRTrack

EPOCHS, BATCH, FOLDS = 4, 64, 2


def search() -> GridSearchCV:
    """An ordinary grid search; the callback is all there is of lrtrack."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = (digits.data / 16).astype("float32"), digits.target
    steps = EPOCHS * math.ceil(len(labels) // FOLDS / BATCH)  # one fold of two trains each net
    net = NeuralNetClassifier(
        torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer__momentum=0.9,
        batch_size=BATCH,
        max_epochs=EPOCHS,
        train_split=None,
        verbose=0,
        callbacks=[
            (
                "schedule",
                LRScheduler(OneCycleLR, max_lr=0.1, total_steps=steps, step_every="batch"),
            ),
            ("lrtrack", LRTrack(experiment="with-skorch")),
        ],
    )
    grid = {"callbacks__schedule__max_lr": [0.03, 0.1, 0.3]}
    return GridSearchCV(net, grid, cv=FOLDS, scoring="accuracy", refit=False).fit(inputs, labels)


if __name__ == "__main__":
    print(search().best_params_)
