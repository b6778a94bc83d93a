"""Handing out a sweep's runs: grids, random draws, nested parameters."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator
from typing import Any

import yaml

from .answering import Refused
from .state import Agent, Run, Store, Sweep, now


def _below(parameter: Any) -> dict[str, Any] | None:
    """The parameters nested in a parameter, if it has such."""
    nested = parameter.get("parameters") if isinstance(parameter, dict) else None
    return nested if isinstance(nested, dict) else None


def _choices(parameter: dict[str, Any]) -> list[Any]:
    """All values of one parameter of a grid."""
    if "value" in parameter:
        return [parameter["value"]]
    if "values" in parameter:
        return list(parameter["values"])
    step = parameter.get("q", 1)
    count = math.floor((parameter["max"] - parameter["min"]) / step + 1e-9) + 1
    return [parameter["min"] + index * step for index in range(count)]


def grid(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination; the last parameter changes fastest."""
    axes = []
    for parameter in parameters.values():
        nested = _below(parameter)
        axes.append(_choices(parameter) if nested is None else grid(nested))
    return [dict(zip(parameters, point, strict=True)) for point in itertools.product(*axes)]


def _drawn(parameter: dict[str, Any], rng: random.Random) -> Any:
    """One value of one parameter, drawn as its distribution says."""
    if "value" in parameter:
        return parameter["value"]
    if "values" in parameter:
        weights = parameter.get("probabilities")
        return rng.choices(parameter["values"], weights)[0]
    kind = parameter.get("distribution", "uniform")
    if "normal" in kind:
        value = rng.gauss(parameter.get("mu", 0), parameter.get("sigma", 1))
        value = math.exp(value) if "log" in kind else value
    elif kind == "int_uniform":
        return rng.randint(parameter["min"], parameter["max"])
    elif kind.endswith("log_uniform_values"):
        low, high = math.log(parameter["min"]), math.log(parameter["max"])
        value = math.exp(rng.uniform(low, high))
    elif kind.endswith("log_uniform"):
        value = math.exp(rng.uniform(parameter["min"], parameter["max"]))
    else:
        value = rng.uniform(parameter["min"], parameter["max"])
    step = parameter.get("q", 1)
    return round(value / step) * step if kind.startswith("q_") else value


def draw(parameters: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """One point, drawn at random."""
    point = {}
    for name, parameter in parameters.items():
        nested = _below(parameter)
        point[name] = _drawn(parameter, rng) if nested is None else draw(nested, rng)
    return point


def plan(config: dict[str, Any], seed: int) -> tuple[Iterator[dict[str, Any]], int | None]:
    """The points of a sweep in the order of handing out, and how many there are."""
    cap = config.get("run_cap")
    parameters = config.get("parameters") or {}
    if config.get("method") == "grid":
        points = grid(parameters)[:cap]
        return iter(points), len(points)
    rng = random.Random(seed)
    endless = iter(lambda: draw(parameters, rng), None)
    return itertools.islice(endless, cap), cap


def upserted(store: Store, seed: int, **given: Any) -> Sweep:
    """Make a sweep, or change one: its state, its config."""
    text, wanted = given.get("config") or "", given.get("id")
    found = next((s for s in store.sweeps() if wanted in (s.storage_id, s.id)), None)
    if wanted and found is None:
        raise Refused("sweep not found during upsertSweep", 404)
    if found is None:
        project = store.made_project(given.get("entityName"), given.get("projectName"))
        config = yaml.safe_load(text or "{}")
        if "method" not in config:
            raise Refused("sweep config: method is required", 400)
        points, expected = plan(config, seed)
        name = store.fresh_id()
        found = Sweep(project.entity, project.name, name, text, config, points, expected)
        project.sweeps[name] = found
    elif text:
        found.text, found.config = text, yaml.safe_load(text)
        points, found.expected = plan(found.config, seed)
        found.remaining = itertools.islice(points, len(found.given), None)
    found.state = (given.get("state") or found.state).upper()
    found.display_name = given.get("displayName") or found.display_name
    found.description = given.get("description") or found.description
    return found


def new_agent(store: Store, host: str, sweep: Sweep) -> Agent:
    """An agent that starts to work for a sweep."""
    agent = Agent(store.fresh_id(), host, sweep.id)
    sweep.agents[agent.id] = agent
    if sweep.state == "PENDING":
        sweep.state = "RUNNING"
    return agent


def commands(store: Store, agent_id: str, run_state: str | None) -> list[dict[str, Any]]:
    """What an agent is to do next: a run, the stop of runs, or to leave."""
    sweep = next((s for s in store.sweeps() if agent_id in s.agents), None)
    if sweep is None:
        raise Refused("agent not found during agentHeartbeat", 404)
    sweep.agents[agent_id].heartbeat_at = now()
    busy = list(json.loads(run_state or "{}"))
    runs = store.made_project(sweep.entity, sweep.project).runs
    stops = [name for name in busy if name in runs and runs[name].stopped]
    if sweep.state == "CANCELED":
        stops = busy
    if stops:
        return [{"type": "stop", "run_id": name} for name in stops]
    if busy or sweep.state == "PAUSED":
        return []
    point = next(sweep.remaining, None) if sweep.state == "RUNNING" else None
    if point is None:
        sweep.state = "FINISHED" if sweep.state == "RUNNING" else sweep.state
        return [{"type": "exit"}]
    return [_handed_out(store, sweep, agent_id, point)]


def _handed_out(store: Store, sweep: Sweep, agent: str, point: dict[str, Any]) -> dict[str, Any]:
    """The command that hands one run out, which exists from then on."""
    arguments = {name: {"value": value} for name, value in point.items()}
    run = Run(sweep.entity, sweep.project, store.fresh_id(), state="pending", sweep=sweep.id)
    run.display_name = f"loopback-sweep-{len(sweep.given) + 1}"
    run.raw_config, run.agent = dict(arguments), agent
    store.made_project(sweep.entity, sweep.project).runs[run.id] = run
    sweep.given.append(run.id)
    return {
        "type": "run",
        "run_id": run.id,
        "run_storage_id": run.storage_id,
        "program": sweep.config.get("program"),
        "args": arguments,
        "logs": [],
    }
