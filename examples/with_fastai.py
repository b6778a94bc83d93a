"""fastai, two schedules on the digits; then: lrtrack compare --experiment with-fastai"""

from functools import partial

import torch
from fastai.callback.schedule import Learner
from fastai.data.core import DataLoaders
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import Adam
from fastai.torch_core import set_seed
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

from lrtrack.integrations.fastai import LRTrack

FITS = {
    "one-cycle": lambda learn: learn.fit_one_cycle(4, 0.01),
    "flat-cosine": lambda learn: learn.fit_flat_cos(4, 0.005),
}


def train(fit: str, seed: int) -> None:
    """An ordinary fit; the callback is all there is of lrtrack."""
    set_seed(seed, reproducible=True)
    digits = load_digits()
    rows = TensorDataset(torch.tensor(digits.data / 16).float(), torch.tensor(digits.target))
    training, validation = random_split(rows, [0.8, 0.2])
    loaders = DataLoaders(
        DataLoader(training, batch_size=64, shuffle=True, drop_last=True),
        DataLoader(validation, batch_size=512),
    )
    network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    learn = Learner(
        loaders,
        network,
        CrossEntropyLossFlat(),
        opt_func=partial(Adam, eps=1e-8),
        metrics=accuracy,
        cbs=LRTrack(experiment="with-fastai", seed=seed),
    )
    with learn.no_bar(), learn.no_logging():
        FITS[fit](learn)


if __name__ == "__main__":
    for fit in FITS:
        for seed in range(2):
            train(fit, seed)
