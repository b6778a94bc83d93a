"""The queries and mutations that the server knows."""

from __future__ import annotations

import base64
import json
from typing import Any

from . import sweeps
from .answering import Refused
from .artifacts import Artifacts
from .filters import page
from .state import Project, Run, Store
from .views import View, Views

_UPSERTED = {
    "displayName": "display_name",
    "groupName": "group",
    "jobType": "job_type",
    "notes": "notes",
    "description": "description",
    "tags": "tags",
    "commit": "commit",
    "host": "host",
    "jobProgram": "program",
    "sweep": "sweep",
    "state": "state",
}


class Schema:
    """The roots of GraphQL answers."""

    def __init__(
        self, store: Store, views: Views, features: set[str], seed: int, appends: bool
    ) -> None:
        self.store = store
        self.views = views
        self.features = features
        self.seed = seed
        self.appends = appends

    def query(self) -> View:
        """What can be asked."""
        return {
            "viewer": lambda **_: self.views.user(),
            "serverInfo": self._server_info,
            "project": self._project,
            "model": self._project,
            "models": self._projects,
            **Artifacts(self.store, self.views.url).queries(),
            "entity": lambda name=None: self.views.entity(name or self.store.viewer),
        }

    def mutation(self) -> View:
        """What can be changed."""
        return {
            "upsertBucket": lambda input: self._upsert_bucket(**input),
            "upsertModel": lambda input: self._upsert_model(**input),
            "deleteRun": lambda input: self._delete_run(**input),
            "stopRun": lambda input: self._set(input["id"], stopped=True),
            "updateRunState": lambda input: self._set(input["id"], state=input["state"]),
            "createRunFiles": lambda input: self._create_run_files(**input),
            "markRunFilesUploaded": lambda input: {"success": True},
            "notifyScriptableRunAlert": lambda input: self._alert(**input),
            "deleteFiles": lambda input: self._delete_files(input["files"]),
            "upsertSweep": lambda input: self._upsert_sweep(**input),
            "createAgent": lambda input: self._create_agent(**input),
            "agentHeartbeat": lambda input: self._heartbeat(**input),
            **Artifacts(self.store, self.views.url).mutations(),
        }

    def _server_info(self) -> View:
        return {
            "cliVersionInfo": {"max_cli_version": "999.0.0", "min_cli_version": "0.10.0"},
            "latestLocalVersionInfo": None,
            "features": [{"name": name, "isEnabled": True} for name in sorted(self.features)],
        }

    def _project(self, name: str | None = None, entityName: str | None = None) -> View | None:
        return self.views.project(self.store.project(entityName, name))

    def _projects(self, entityName: str | None = None, **paging: Any) -> View:
        entity = entityName or self.store.viewer
        found = [p for p in self.store.projects.values() if p.entity == entity]
        views = [self.views.project(project) for project in found]
        return page(views, paging.get("first"), paging.get("after"))

    def _by_storage_id(self, wanted: str) -> Run:
        found = next((run for run in self.store.runs() if run.storage_id == wanted), None)
        if found is None:
            raise Refused("run not found", 404)
        return found

    def _set(self, wanted: str, **values: Any) -> View:
        run = self._by_storage_id(wanted)
        for name, value in values.items():
            setattr(run, name, value)
        return {"success": True}

    def _upsert_model(self, **given: Any) -> View:
        entity, name = given.get("entityName"), given.get("name")
        inserted = self.store.project(entity, name) is None
        view = self.views.project(self.store.made_project(entity, name))
        return {"model": view, "project": view, "inserted": inserted}

    def _upsert_bucket(self, **given: Any) -> View:
        inserted = False
        if given.get("name"):
            project = self.store.made_project(given.get("entityName"), given.get("modelName"))
            inserted = given["name"] not in project.runs
            run = project.runs.get(given["name"]) or self._new_run(project, given["name"])
        else:
            run = self._by_storage_id(given.get("id") or "")
        if run.state == "pending":
            run.state = "running"
        for name, attribute in _UPSERTED.items():
            if given.get(name) is not None:
                setattr(run, attribute, given[name])
        if given.get("config") is not None:
            run.raw_config = json.loads(given["config"])
        if given.get("summaryMetrics") is not None:
            run.summary = json.loads(given["summaryMetrics"])
        bucket = self.views.run(run) or {}
        if not self.appends:
            bucket["historyLineCount"] = 0
        return {"bucket": bucket, "inserted": inserted}

    def _new_run(self, project: Project, name: str) -> Run:
        run = Run(project.entity, project.name, name)
        run.display_name = f"loopback-{len(project.runs) + 1}"
        project.runs[name] = run
        return run

    def _delete_run(self, **given: Any) -> View:
        run = self._by_storage_id(given["id"])
        self.store.made_project(run.entity, run.project).runs.pop(run.id)
        return {"clientMutationId": None}

    def _alert(self, entityName: str, projectName: str, runName: str, **alert: Any) -> View:
        self.store.run(entityName, projectName, runName).alerts.append(alert)
        return {"success": True}

    def _create_run_files(self, **given: Any) -> View:
        run = self.store.run(given["entityName"], given["projectName"], given["runName"])
        if run is None:
            return {"runID": None, "uploadHeaders": [], "files": []}
        files = [self.views.file(run, name) for name in given["files"]]
        return {"runID": run.storage_id, "uploadHeaders": [], "files": files}

    def _delete_files(self, wanted: list[str]) -> View:
        for path in (base64.b64decode(each).decode().removeprefix("File:") for each in wanted):
            entity, project, run, name = path.split("/", 3)
            found = self.store.run(entity, project, run)
            if found:
                found.files.pop(name, None)
        return {"success": True}

    def _upsert_sweep(self, **given: Any) -> View:
        sweep = sweeps.upserted(self.store, self.seed, **given)
        return {"sweep": self.views.sweep(sweep), "configValidationWarnings": []}

    def _create_agent(self, **given: Any) -> View:
        project = self.store.project(given.get("entityName"), given.get("projectName"))
        sweep = project.sweeps.get(given["sweep"]) if project else None
        if sweep is None:
            raise Refused("sweep not found during createAgent", 404)
        agent = sweeps.new_agent(self.store, given.get("host") or "", sweep)
        return {"agent": self.views.agent(sweep, agent)}

    def _heartbeat(self, **given: Any) -> View:
        todo = sweeps.commands(self.store, given["id"], given.get("runState"))
        return {"agent": {"id": given["id"]}, "commands": json.dumps(todo)}
