"""Ray Tune sweeps two schedules × two seeds; then: lrtrack compare --experiment ray"""

import ray
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import lrtrack
from lrtrack.integrations.ray import report, sweep, track

STEPS, BATCH = 200, 64


def train(config: dict) -> None:
    """An ordinary function of Ray Tune."""
    torch.manual_seed(config["seed"])
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sched = lrtrack.scheduler(opt, config, total_steps=STEPS)
    with track(opt, sched, checkpoint={"model": model, "opt": opt, "sched": sched}) as run:
        for _ in range(run.step + 1, STEPS):  # of a trial that was interrupted, the rest
            batch = torch.randint(len(labels), (BATCH,))
            opt.zero_grad()
            cross_entropy(model(inputs[batch]), labels[batch]).backward()
            opt.step()
            sched.step()
            report(run, every=50)


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    schedules = ["onecycle(max_lr=0.3)", "warmup(steps=20) -> cosine"]
    results = sweep(train, schedules, seeds=2, experiment="ray", verbose=0)
    best = results.get_best_result("loss_final", "min")
    print(best.config["schedule"], best.metrics["loss_final"])
