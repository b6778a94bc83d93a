"""Projects, runs and sweeps as the dicts that GraphQL answers are picked from."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from . import artifacts, history
from .filters import chosen, page
from .state import EVENTS, HISTORY, OUTPUT, Agent, Project, Run, Store, Sweep

View = dict[str, Any]


class Views:
    """Makes views of the store's objects; `url` is the server's, for links to files."""

    def __init__(self, store: Store, url: str, parquet: Callable[[], bool]) -> None:
        self.store = store
        self.url = url
        self.parquet = parquet

    def user(self) -> View:
        """The one user of this server."""
        name = self.store.viewer
        return {
            "__typename": "User",
            "id": base64.b64encode(f"User:{name}".encode()).decode(),
            "name": name,
            "username": name,
            "entity": name,
            "email": f"{name}@example.com",
            "admin": False,
            "flags": "{}",
            "teams": page([]),
            "apiKeys": page([]),
            "organizations": [],
        }

    def entity(self, name: str) -> View:
        """A user or team that owns projects."""
        return {
            "id": base64.b64encode(f"Entity:{name}".encode()).decode(),
            "name": name,
            "isTeam": False,
            "available": False,
        }

    def project(self, project: Project | None) -> View | None:
        """A project with its runs and sweeps."""
        if project is None:
            return None

        def runs(order: str | None = None, filters: str | None = None, **paging: Any) -> View:
            found = chosen(list(project.runs.values()), filters, order)
            return page([self.run(run) for run in found], **_paging(paging))

        def run(name: str, **_: Any) -> View | None:
            return self.run(project.runs.get(name))

        def count(filters: str | None = None) -> int:
            return len(chosen(list(project.runs.values()), filters, None))

        def sweeps(**paging: Any) -> View:
            return page([self.sweep(s) for s in project.sweeps.values()], **_paging(paging))

        return {
            "__typename": "Project",
            "id": project.storage_id,
            "internalId": str(project.number),
            "name": project.name,
            "entityName": project.entity,
            "entity": self.entity(project.entity),
            "createdAt": project.created_at,
            "readOnly": False,
            "isBenchmark": False,
            "user": self.user(),
            "runs": runs,
            "runCount": count,
            "run": run,
            "bucket": run,
            "sweep": lambda sweepName: self.sweep(project.sweeps.get(sweepName)),
            "sweeps": sweeps,
            **self._artifacts(project),
            "totalSweeps": len(project.sweeps),
        }

    def _artifacts(self, project: Project) -> View:
        def member(name: str) -> View | None:
            return artifacts.membership(project, artifacts.named(project, name), self.url)

        def collection(name: str) -> View:
            return {
                "__typename": "ArtifactSequence",
                "artifactMembership": lambda aliasName: member(f"{name}:{aliasName}"),
            }

        return {
            "artifact": lambda name: (member(name) or {}).get("artifact"),
            "artifactCollectionMembership": member,
            "artifactCollection": collection,
        }

    def run(self, run: Run | None) -> View | None:
        """A run with everything that was sent to it."""
        if run is None:
            return None
        project = self.store.made_project(run.entity, run.project)
        view = {
            "__typename": "Run",
            "id": run.storage_id,
            "name": run.id,
            "displayName": run.display_name,
            "projectId": str(project.number),
            "project": lambda: self.project(project),
            "sweepName": run.sweep,
            "jobType": run.job_type,
            "readOnly": False,
            "createdAt": run.created_at,
            "heartbeatAt": run.heartbeat_at,
            "user": self.user(),
            "exitcode": run.exit_code,
            "stopped": run.stopped,
            "shouldStop": run.stopped,
            "failed": run.state == "failed",
            "running": run.state == "running",
        }
        for name in ("state", "tags", "group", "notes", "description", "commit", "host"):
            view[name] = getattr(run, name)
        view["outputArtifacts"] = lambda **_: page(
            [artifacts.view(project, a, self.url) for a in project.artifacts if a.run == run.id]
        )
        return {**view, **self._contents(run), **self._files(run)}

    def _contents(self, run: Run) -> View:
        def internal(keys: list[str] | None = None) -> str:
            found = run.raw_config.get("_wandb", {}).get("value", {})
            return json.dumps({k: v for k, v in found.items() if keys is None or k in keys})

        def parquet_history(liveKeys: list[str] | None = None) -> View:
            exported = self.parquet() and not run.is_open and run.history
            live = [] if exported else run.history
            wanted = liveKeys or ["_step"]
            link = f"{self.url}/storage/{quote(run.path)}?history=0"
            return {
                "parquetUrls": [link] if exported else [],
                "liveData": [{key: row.get(key) for key in wanted} for row in live],
            }

        return {
            "config": json.dumps(run.raw_config),
            "summaryMetrics": json.dumps(run.summary),
            "systemMetrics": json.dumps(next(reversed(run.events), {})),
            "wandbConfig": internal,
            "historyKeys": lambda **_: history.keys(run),
            "history": lambda **asked: history.page(run, **asked),
            "events": lambda samples=None: history.thinned(list(run.lines(EVENTS)), samples),
            "sampledHistory": lambda specs: history.samples(run, specs),
            "parquetHistory": parquet_history,
            "historyLineCount": run.lines(HISTORY).count,
            "eventsLineCount": run.lines(EVENTS).count,
            "logLineCount": run.lines(OUTPUT).count,
            "historyTail": lambda: json.dumps([json.dumps(row) for row in run.history[-1:]]),
            "eventsTail": lambda: json.dumps(list(run.lines(EVENTS))[-1:]),
            "logLines": lambda **asked: _log_lines(run, **asked),
        }

    def _files(self, run: Run) -> View:
        def files(
            names: list[str] | None = None, pattern: str | None = None, **paging: Any
        ) -> View:
            like = (pattern or "%").replace("%", "*").replace("_", "?")
            found = [
                self.file(run, name)
                for name in sorted(run.files)
                if (name in names if names else fnmatchcase(name, like))
            ]
            return page(found, **_paging(paging))

        return {"files": files, "fileCount": len(run.files)}

    def file(self, run: Run, name: str) -> View:
        """A saved file, with links to read it and to write it."""
        content = run.files.get(name)
        path = f"{quote(run.path)}/{quote(name)}"
        storage = f"{self.url}/storage/{path}"
        md5 = None if content is None else hashlib.md5(content).digest()
        return {
            "id": base64.b64encode(f"File:{run.path}/{name}".encode()).decode(),
            "name": name,
            "url": lambda upload=False: storage if upload else f"{self.url}/files/{path}",
            "directUrl": storage,
            "uploadUrl": storage,
            "sizeBytes": str(len(content or b"")),
            "mimetype": mimetypes.guess_type(name)[0],
            "updatedAt": run.heartbeat_at,
            "md5": None if md5 is None else base64.b64encode(md5).decode(),
        }

    def sweep(self, sweep: Sweep | None) -> View | None:
        """A sweep with its runs and agents."""
        if sweep is None:
            return None
        project = self.store.made_project(sweep.entity, sweep.project)
        runs = [run for run in project.runs.values() if run.sweep == sweep.id]

        def own_runs(**paging: Any) -> View:
            return page([self.run(run) for run in runs], **_paging(paging))

        return {
            "__typename": "Sweep",
            "id": sweep.storage_id,
            "name": sweep.id,
            "displayName": sweep.display_name,
            "method": sweep.config.get("method"),
            "state": sweep.state,
            "description": sweep.description,
            "config": sweep.text,
            "createdAt": sweep.created_at,
            "updatedAt": sweep.created_at,
            "heartbeatAt": sweep.created_at,
            "runCount": len(runs),
            "runCountExpected": sweep.expected,
            "project": lambda: self.project(project),
            "runs": own_runs,
            "agents": lambda: page([self.agent(sweep, a) for a in sweep.agents.values()]),
            "agent": lambda agentName: self.agent(sweep, sweep.agents.get(agentName)),
        }

    def agent(self, sweep: Sweep, agent: Agent | None) -> View | None:
        """An agent of a sweep with the runs that it was given."""
        if agent is None:
            return None
        every = self.store.made_project(sweep.entity, sweep.project).runs.values()
        runs = [run for run in every if run.agent == agent.id]
        return {
            "id": agent.id,
            "name": agent.id,
            "host": agent.host,
            "state": "RUNNING",
            "totalRuns": len(runs),
            "createdAt": agent.created_at,
            "heartbeatAt": agent.heartbeat_at,
            "runs": lambda **paging: page([self.run(run) for run in runs], **_paging(paging)),
        }


def _paging(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given.get(name) for name in ("first", "after")}


def _log_lines(
    run: Run, first: int | None = None, after: str | None = None, last: int | None = None, **_: Any
) -> View:
    """The console's lines, from the beginning or the end."""
    nodes = [{"number": n, "line": line, "level": None} for n, line in enumerate(run.output)]
    return page(nodes[-last:] if last else nodes, first, after)
