"""Three schedules × two seeds on synthetic data; then: lrtrack compare --experiment quickstart"""

import torch

import lrtrack


def train(schedule: str, seed: int, steps: int = 300) -> None:
    """An ordinary training; only the `with` line is lrtrack's."""
    torch.manual_seed(seed)
    inputs = torch.randn(512, 20)
    targets = (inputs[:, :1] * inputs[:, 1:2]).tanh()
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sched = {
        "step": lambda: torch.optim.lr_scheduler.StepLR(opt, step_size=100, gamma=0.3),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=steps),
        "onecycle": lambda: torch.optim.lr_scheduler.OneCycleLR(opt, 0.3, total_steps=steps),
    }[schedule]()

    with lrtrack.track(opt, sched, experiment="quickstart", seed=seed):
        for step in range(steps):
            batch = slice(step * 32 % 512, step * 32 % 512 + 32)
            opt.zero_grad()
            loss = torch.nn.functional.mse_loss(model(inputs[batch]), targets[batch])
            loss.backward()
            opt.step()
            sched.step()


if __name__ == "__main__":
    for schedule in ("step", "cosine", "onecycle"):
        for seed in range(2):
            train(schedule, seed)
