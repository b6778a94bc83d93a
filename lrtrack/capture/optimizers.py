"""Finds optimizers inside wrappers, describes them, and names their devices."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

#: Attributes in which wrappers keep the optimizer that they wrap.
_INNER = ("optimizer", "base")
#: Counters of schedule-free optimizers, kept in their groups among the hyper-parameters.
_SCHEDULE_FREE = {"k", "train_mode", "weight_sum", "lr_max", "scheduled_lr"}


def unwrap(optimizer: Any) -> torch.optim.Optimizer:
    """Return the torch optimizer inside `optimizer`, through any number of wrappers.

    A wrapper may claim to be an optimizer (accelerate's do) without running its constructor, so an
    optimizer is recognized by torch's step hooks.

    Raises:
        TypeError: there is no optimizer inside.
    """
    candidate, depth = optimizer, 0
    while candidate is not None and not _has_hooks(candidate) and depth < 10:
        wrapped = (getattr(candidate, name, None) for name in _INNER)
        candidate, depth = next((inner for inner in wrapped if inner is not None), None), depth + 1
    if not isinstance(candidate, torch.optim.Optimizer):
        raise TypeError(
            "track() expects a torch.optim.Optimizer (or a wrapper that carries one in "
            f".optimizer) as its first argument, got {type(optimizer).__name__}"
        )
    return candidate


def _has_hooks(optimizer: Any) -> bool:
    is_one = isinstance(optimizer, torch.optim.Optimizer)
    return is_one and "_optimizer_step_pre_hooks" in vars(optimizer)


def describe_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the name and the hyper-parameters that group 0 had before the scheduler started."""
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
    for name in (*_INNER, "base_optimizer"):  # an optimizer inside itself, as in Lookahead
        inner = getattr(optimizer, name, None)
        if isinstance(inner, torch.optim.Optimizer):
            described["optimizer"] = type(inner).__name__
    if "initial_lr" in group:  # set by a scheduler, which has changed `lr` since
        described["lr"] = _plain(group["initial_lr"])
    return described


def device_of(optimizer: torch.optim.Optimizer) -> tuple[str, str]:
    """Return type and name of the device that holds the parameters."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            return parameter.device.type, _device_name(parameter.device)
    return "cpu", _device_name(torch.device("cpu"))


def devices() -> list[tuple[str, str]]:
    """Return type and name of every device that torch can use here, the CPU first."""
    usable = [torch.device("cpu")]
    for kind, backend in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        if backend.is_available():
            usable += [torch.device(kind, index) for index in range(backend.device_count())]
    if torch.backends.mps.is_available():
        usable.append(torch.device("mps"))
    return [(device.type, _device_name(device)) for device in usable]


def world_size() -> int:
    """Return the number of processes that train together; 1 if alone or unknown."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    size = os.environ.get("WORLD_SIZE", "1")  # torchrun sets it before the group exists
    return int(size) if size.isdigit() and "RANK" in os.environ else 1


def rank() -> int:
    """Return this process's rank among those that train together; 0 if alone or unknown."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    value = os.environ.get("RANK", "0")  # torchrun sets it before the process group exists
    return int(value) if value.isdigit() and os.environ.get("WORLD_SIZE", "1") != "1" else 0


def _plain(value: Any) -> Any:
    """Return a hyper-parameter as a JSON value; None if JSON cannot hold it."""
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
    """Return the CPU's model name; its architecture if that is unknown."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 (not a user's path)
            for line in lines:
                if line.lower().startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
