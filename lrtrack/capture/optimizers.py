"""Optimizers: found inside wrappers, put into words, and the device they work on."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

#: Where wrappers keep the optimizer that they wrap.
_INNER = ("optimizer", "base")
#: What schedule-free optimizers count in their groups, among the hyper-parameters.
_SCHEDULE_FREE = {"k", "train_mode", "weight_sum", "lr_max", "scheduled_lr"}


def unwrap(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside `optimizer`, through any number of wrappers around it.

    A wrapper may call itself an optimizer (accelerate's do) without ever having become one: what
    can be observed has torch's step hooks.

    Raises:
        TypeError: there is none.
    """
    found, seen = optimizer, 0
    while found is not None and not _has_hooks(found) and seen < 10:
        wrapped = (getattr(found, name, None) for name in _INNER)
        found, seen = next((inner for inner in wrapped if inner is not None), None), seen + 1
    if not isinstance(found, torch.optim.Optimizer):
        raise TypeError(
            "track() expects a torch.optim.Optimizer (or a wrapper that carries one in "
            f".optimizer) as its first argument, got {type(optimizer).__name__}"
        )
    return found


def _has_hooks(optimizer: Any) -> bool:
    is_one = isinstance(optimizer, torch.optim.Optimizer)
    return is_one and "_optimizer_step_pre_hooks" in vars(optimizer)


def describe_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Name and hyper-parameters of group 0 as they were before the scheduler moved them."""
    described: dict[str, Any] = {"name": type(optimizer).__name__}
    group = optimizer.param_groups[0] if optimizer.param_groups else {}
    noted = _SCHEDULE_FREE if "weight_sum" in optimizer.defaults else set()
    for key, default in optimizer.defaults.items():
        if key in noted:
            continue
        moved = "base_momentum" in group and key in ("momentum", "betas")
        value = _plain(default if moved else group.get(key, default))
        if value is not None:
            described[key] = value
    for name in (*_INNER, "base_optimizer"):  # of one that observes itself, such as Lookahead
        inner = getattr(optimizer, name, None)
        if isinstance(inner, torch.optim.Optimizer):
            described["optimizer"] = type(inner).__name__
    if "initial_lr" in group:  # set by a scheduler, which has changed `lr` since
        described["lr"] = _plain(group["initial_lr"])
    return described


def device_of(optimizer: torch.optim.Optimizer) -> tuple[str, str]:
    """Type and name of the device that the parameters are on, not of what the machine has."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            return parameter.device.type, _device_name(parameter.device)
    return "cpu", _device_name(torch.device("cpu"))


def devices() -> list[tuple[str, str]]:
    """Type and name of every device that torch can use here, the processor first."""
    found = [torch.device("cpu")]
    for kind, backend in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        if backend.is_available():
            found += [torch.device(kind, index) for index in range(backend.device_count())]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return [(device.type, _device_name(device)) for device in found]


def world_size() -> int:
    """Processes that train together; 1 alone, and where unknown."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    told = os.environ.get("WORLD_SIZE", "1")  # torchrun's word, before the process group is up
    return int(told) if told.isdigit() and "RANK" in os.environ else 1


def rank() -> int:
    """This process's number among those that train together; 0 alone, and where unknown."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    told = os.environ.get("RANK", "0")  # torchrun's word, before the process group is up
    return int(told) if told.isdigit() and os.environ.get("WORLD_SIZE", "1") != "1" else 0


def _plain(value: Any) -> Any:
    """A hyper-parameter as JSON can hold it; None for what it cannot."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return torch.xpu.get_device_name(device)
    if device.type == "cpu":
        return cpu_name()
    return device.type


def cpu_name() -> str:
    """The processor's model; where that is not known, its kind."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 (not a user's path)
            for line in lines:
                if line.lower().startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
