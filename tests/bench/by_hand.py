"""Logging by hand in a loop, as the users of each package write it, and without a network."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

Log = Callable[[int, dict[str, float]], None]


def start(way: str, stack: ExitStack, model: Any) -> Log:
    """Opens a run of the way's package; returns what logs the metrics of one step into it.

    Args:
        way: one of `ways.BY_HAND`.
        stack: what ends the run.
        model: the module that is trained.
    """
    if way in ("mlflow", "mlflow-async"):
        import mlflow

        mlflow.set_experiment("bench")
        stack.enter_context(mlflow.start_run())
        return lambda step, found: mlflow.log_metrics(found, step=step, synchronous=way == "mlflow")
    own = {"tensorboard": _tensorboard, "trackio": _trackio, "swanlab": _swanlab, "aim": _aim}
    if way in own:
        return own[way](stack)
    import wandb

    run = stack.enter_context(wandb.init(mode="offline", project="bench"))
    if way == "wandb-watch":
        run.watch(model, log="gradients", log_freq=1)
    return lambda step, found: run.log(found)


def _tensorboard(stack: ExitStack) -> Log:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter("runs")
    stack.callback(writer.close)

    def log(step: int, found: dict[str, float]) -> None:
        for name, value in found.items():
            writer.add_scalar(name, value, step)

    return log


def _trackio(stack: ExitStack) -> Log:
    import trackio

    trackio.init(project="bench")
    stack.callback(trackio.finish)
    return lambda step, found: trackio.log(found, step=step)


def _swanlab(stack: ExitStack) -> Log:
    import swanlab

    swanlab.init(project="bench", mode="offline")
    stack.callback(swanlab.finish)
    return lambda step, found: swanlab.log(found, step=step)


def _aim(stack: ExitStack) -> Log:
    import aim

    run = aim.Run(repo=".", experiment="bench")
    stack.callback(run.close)
    return lambda step, found: run.track(found, step=step)


def refuse_the_network(tried: list[str]) -> None:
    """Makes each attempt of this process to leave this machine fail, and notes it in `tried`.

    What the package measures must not depend on a server that answers or does not. Connections
    to this machine are allowed.
    """

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            place = arguments[1]
        elif event == "socket.getaddrinfo":
            place = arguments
        else:
            return
        if isinstance(place, tuple) and place and not _local(place[0]):
            tried.append(str(place[0]))
            raise OSError(f"the benchmark does without a network, and {place[0]} was asked for")

    sys.addaudithook(look)


def _local(host: object) -> bool:
    if host in (None, "", b"", "localhost", socket.gethostname()):
        return True
    try:
        found = ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified
