"""What the server knows: projects, runs, and the lines that clients streamed to them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
SUMMARY = "wandb-summary.json"
OUTPUT = "output.log"


def now() -> str:
    """The time as the service writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unwrapped(config: dict[str, Any]) -> dict[str, Any]:
    """A config without `{"value": …}` around its values and without `_wandb`."""
    plain = {}
    for key, value in config.items():
        if key not in ("_wandb", "wandb_version"):
            plain[key] = value["value"] if isinstance(value, dict) and "value" in value else value
    return plain


@dataclass
class Lines:
    """The lines of one streamed file, each at its offset; a line sent twice is kept once."""

    at: dict[int, str] = field(default_factory=dict)
    of_clients: dict[tuple[str, int], int] = field(default_factory=dict)

    def write(self, offset: int, lines: list[str], client: str = "") -> None:
        """Put `lines` from `offset` on; in shared mode each client counts for itself."""
        for place, line in enumerate(lines, start=offset):
            if client:
                place = self.of_clients.setdefault((client, place), self.count)
            self.at[place] = line

    @property
    def count(self) -> int:
        """The offset after the last line."""
        return max(self.at, default=-1) + 1

    def __iter__(self) -> Iterator[str]:
        for place in sorted(self.at):
            yield self.at[place]


@dataclass
class Run:
    """One run; `id` and `name` are what `wandb.Api()` calls by these words."""

    entity: str
    project: str
    id: str
    display_name: str = ""
    state: str = "running"
    raw_config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    description: str | None = None
    commit: str | None = None
    host: str | None = None
    program: str | None = None
    sweep: str | None = None
    agent: str | None = None
    exit_code: int | None = None
    stopped: bool = False
    created_at: str = field(default_factory=now)
    heartbeat_at: str = field(default_factory=now)
    files: dict[str, bytes] = field(default_factory=dict)
    streams: dict[str, Lines] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name that people see."""
        return self.display_name

    @property
    def storage_id(self) -> str:
        """The opaque id that mutations use."""
        text = f"Run:v1:{self.id}:{self.project}:{self.entity}"
        return base64.b64encode(text.encode()).decode()

    @property
    def path(self) -> str:
        """`entity/project/id`."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def config(self) -> dict[str, Any]:
        """The config as the user wrote it."""
        return unwrapped(self.raw_config)

    def lines(self, name: str) -> Lines:
        """The lines of one streamed file."""
        return self.streams.setdefault(name, Lines())

    @property
    def history(self) -> list[dict[str, Any]]:
        """The history's rows, in order; in shared mode the server counts the steps itself."""
        lines = self.lines(HISTORY)
        counted = set(lines.of_clients.values())
        rows = []
        for place in sorted(lines.at):
            row = {"_step": place, **json.loads(lines.at[place])}
            rows.append({**row, "_step": place} if place in counted else row)
        return rows

    @property
    def events(self) -> list[dict[str, Any]]:
        """The rows of system metrics."""
        return [json.loads(line) for line in self.lines(EVENTS)]

    @property
    def output(self) -> list[str]:
        """The console's lines."""
        return list(self.lines(OUTPUT))

    @property
    def is_open(self) -> bool:
        """Whether the run still goes on, or will."""
        return self.state in ("running", "pending")

    def stream(self, body: dict[str, Any], client: str = "") -> None:
        """Take one file_stream request; `client` is set in shared mode only."""
        self.heartbeat_at = now()
        for name, chunk in (body.get("files") or {}).items():
            content = chunk["content"]
            content = [content] if isinstance(content, str) else content
            if name == SUMMARY:
                latest = json.loads(content[-1])
                self.summary = {**self.summary, **latest} if client else latest
            else:
                self.lines(name).write(chunk.get("offset", 0), content, client)
        if body.get("complete"):
            self.exit_code = body.get("exitcode") or 0
            self.state = "finished" if self.exit_code == 0 else "failed"
        elif body.get("preempting"):
            self.state = "preempting"
        else:
            self.state = "running"


@dataclass
class Agent:
    """One `wandb agent`, which asks for runs."""

    id: str
    host: str
    sweep: str
    created_at: str = field(default_factory=now)
    heartbeat_at: str = field(default_factory=now)


@dataclass
class Sweep:
    """One sweep; `remaining` gives the parameters of the runs not yet handed out."""

    entity: str
    project: str
    id: str
    text: str
    config: dict[str, Any]
    remaining: Iterator[dict[str, Any]]
    expected: int | None
    state: str = "PENDING"
    display_name: str | None = None
    description: str | None = None
    agents: dict[str, Agent] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    created_at: str = field(default_factory=now)

    @property
    def storage_id(self) -> str:
        """The opaque id that mutations use."""
        text = f"Sweep:v1:{self.id}:{self.project}:{self.entity}"
        return base64.b64encode(text.encode()).decode()


@dataclass
class Artifact:
    """One version of an artifact; `manifest` is what the client uploaded as such."""

    id: str
    name: str
    type: str
    digest: str
    version: int
    state: str = "PENDING"
    run: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)
    created_at: str = field(default_factory=now)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Project:
    """One project of an entity."""

    entity: str
    name: str
    number: int
    runs: dict[str, Run] = field(default_factory=dict)
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    created_at: str = field(default_factory=now)

    @property
    def storage_id(self) -> str:
        """The opaque id."""
        return base64.b64encode(f"Project:v1:{self.name}:{self.entity}".encode()).decode()


class Store:
    """All projects; hold `lock` while you look at it or change it."""

    def __init__(self, viewer: str) -> None:
        self.viewer = viewer
        self.lock = threading.RLock()
        self.projects: dict[tuple[str, str], Project] = {}
        self._numbers = itertools.count(1)

    def project(self, entity: str | None, name: str | None) -> Project | None:
        """A project, if there is one."""
        return self.projects.get((entity or self.viewer, name or "uncategorized"))

    def made_project(self, entity: str | None, name: str | None) -> Project:
        """A project, made if there is none."""
        key = (entity or self.viewer, name or "uncategorized")
        if key not in self.projects:
            self.projects[key] = Project(*key, next(self._numbers))
        return self.projects[key]

    def run(self, entity: str, project: str, name: str) -> Run | None:
        """A run by its path."""
        found = self.project(entity, project)
        return found.runs.get(name) if found else None

    def runs(self) -> Iterator[Run]:
        """Every run of every project."""
        for project in self.projects.values():
            yield from project.runs.values()

    def sweeps(self) -> Iterator[Sweep]:
        """Every sweep of every project."""
        for project in self.projects.values():
            yield from project.sweeps.values()

    def fresh_id(self) -> str:
        """Eight letters and digits that no run or sweep or agent has had yet."""
        digest = hashlib.sha256(str(next(self._numbers)).encode()).digest()
        return base64.b32encode(digest).decode()[:8].lower()
