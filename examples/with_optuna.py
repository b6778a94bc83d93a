"""Optuna searches schedules, pruning bad ones; then: lrtrack compare --experiment optuna"""

import optuna
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import lrtrack
from lrtrack.integrations.optuna import prune, suggest_schedule, track

STEPS, BATCH = 200, 64
SCHEDULES = [
    "onecycle(max_lr=0.01..1 log, pct_start={0.2, 0.4})",
    "warmup(steps=10..50) -> cosine",
    "exponential(gamma=0.97..0.999)",
]


def objective(trial: optuna.Trial) -> float:
    """One trial: an ordinary training."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    spec = suggest_schedule(trial, SCHEDULES)
    sched = lrtrack.scheduler(opt, spec, total_steps=STEPS)
    with track(trial, opt, sched, experiment="optuna") as run:
        for _ in range(STEPS):
            batch = torch.randint(len(labels), (BATCH,))
            opt.zero_grad()
            cross_entropy(model(inputs[batch]), labels[batch]).backward()
            opt.step()
            sched.step()
            prune(trial, run, every=20)
    return run.loss()  # the mean of the last 5 % of steps


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="schedules",
        storage="sqlite:///optuna.db",  # more machines: a database all of them reach
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    study.optimize(objective, n_trials=8)
    print(study.best_value, study.best_params)
