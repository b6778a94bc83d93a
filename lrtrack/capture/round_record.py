"""What one round of several optimizers has shown, and the record that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrtrack.capture.device_scalars import add, hold_number, joint, quotient

#: Metric name → value.
Metrics = dict[str, Any]
#: Metrics of the first optimizer that are the run's, too, beside its learning rate.
_OF_THE_FIRST = ("lr_effective", "momentum", "weight_decay")
#: Metrics that may be followed by the name of a layer.
_OF_LAYERS = ("grad_norm", "update_norm", "weight_norm", "update_ratio")


@dataclass
class Clip:
    """Optimizers that stepped with the same notes: gradients that one call may have clipped."""

    noted: Any
    preclip: Any = None
    norms: list[Any] = field(default_factory=list)


@dataclass
class Round:
    """What the steps of one round have shown so far.

    Attributes:
        stepped: the members that have stepped, with their metrics; None where not recorded.
        losses: each loss with its number of backward calls, by the member that stepped first.
        shared: whether a member stepped without a loss of its own.
        lacks_norm: whether a member stepped without a norm of its gradients.
        written: whether the record has been passed on; then only changes follow.
        later: what the user has logged at this step.
    """

    stepped: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    losses: dict[int, tuple[Any, int]] = field(default_factory=dict)
    clips: list[Clip] = field(default_factory=list)
    shared: bool = False
    lacks_norm: bool = False
    when: float = 0.0
    changed: bool = False
    written: dict[str, Any] | None = None
    later: dict[str, Any] = field(default_factory=dict)

    def add(self, key: int, metrics: Metrics, preclip: Any, own: bool) -> None:
        """Add the metrics of an optimizer's step.

        Args:
            key: the optimizer's place in the order.
            preclip: the norm before clipping as the step's notes have it.
            own: whether the loss is not that of an earlier step.
        """
        self.stepped[key], self.changed = metrics, True
        loss, count = metrics.pop("loss", None), metrics.pop("loss_count", 1.0)
        if loss is not None and own:
            self.losses[key] = loss, int(count)
        else:
            self.shared = True
        if own or not self.clips or self.clips[-1].noted is not preclip:
            self.clips.append(Clip(preclip))
        clip = self.clips[-1]
        clip.preclip = metrics.pop("grad_norm_preclip", None)
        if "grad_norm" in metrics:
            clip.norms.append(metrics["grad_norm"])
        else:
            self.lacks_norm = True

    def of_first(self, optimizer: Any) -> Metrics:
        """The metrics of the first optimizer that are those of the run, too.

        Args:
            optimizer: the first optimizer, which need not have stepped in this round.
        """
        first = self.stepped.get(0) or {}
        metrics = {name: first[name] for name in _OF_THE_FIRST if name in first}
        rate = first.get("lr")
        if rate is None:  # it has not stepped, or has no rate
            rate = optimizer.param_groups[0]["lr"]
            rate = None if rate is None else hold_number(rate)
        return metrics if rate is None else {"lr": rate, **metrics}

    def norms(self, *, measured: bool = True) -> Metrics:
        """The norm over all optimizers, and what it was before clipping.

        Gradients that no call has clipped count in both, so that the two can be compared.

        Args:
            measured: whether norms were computed in this round. If not, only clipping gives some,
                and a sum over all needs that of each optimizer.
        """
        metrics: Metrics = {}
        norms = [norm for clip in self.clips for norm in clip.norms]
        if norms and (measured or not self.lacks_norm):
            metrics["grad_norm"] = joint(norms)
        were_clipped = [clip.preclip is not None for clip in self.clips]
        if any(were_clipped) and (measured or all(were_clipped)):
            before = [[c.preclip] if c.preclip is not None else c.norms for c in self.clips]
            metrics["grad_norm_preclip"] = joint([norm for part in before for norm in part])
        return metrics

    def updates(self, weights: Sequence[Metrics]) -> Metrics:
        """How far the round has moved the weights of all optimizers; nothing if that is unknown.

        Args:
            weights: for each optimizer the norms of its weights before the round; empty if the
                round is not measured.
        """
        stepped = [own for own in self.stepped.values() if own is not None]
        known = all("update_norm" in own for own in stepped)
        if not stepped or not weights or not known or not all("weight_norm" in w for w in weights):
            return {}
        update = joint([own["update_norm"] for own in stepped])
        weight = joint([own["weight_norm"] for own in weights])
        return {
            "update_norm": update,
            "weight_norm": weight,
            "update_ratio": quotient(update, weight),
        }

    def loss(self) -> tuple[Any, int]:
        """The sum of all losses, None without any, and the number of backward calls."""
        total, calls = None, 0
        for key in sorted(self.losses):
            loss, count = self.losses[key]
            total, calls = add(total, loss), calls + count
        return total, calls


def named(name: str, metrics: Mapping[str, Any], *, layers: bool) -> Metrics:
    """The metrics of one optimizer under its name.

    Args:
        name: the optimizer's name; empty for one that has no metrics of its own.
        layers: whether `grad_norm/…` and the like are of layers, whose names need no other.
    """
    renamed = {}
    for metric, value in metrics.items():
        head, slash, rest = metric.partition("/")
        if layers and head in _OF_LAYERS and slash:
            renamed[metric] = value
        elif name:
            renamed[f"{head}/{name}{slash}{rest}"] = value
    return renamed
