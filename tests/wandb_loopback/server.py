"""The loopback W&B server as tests use it."""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from graphql import GraphQLSyntaxError

from . import artifacts, history
from .answering import Answer, Refused
from .http import Asked, Listener, Reply
from .schema import Schema
from .state import Artifact, Run, Store, Sweep
from .views import Views

FEATURES = {"FILESTREAM_GZIP", "MARK_RUN_FILES_UPLOADED", "SWEEPS_QUERY_FILTERING"}
_JSON = {"Content-Type": "application/json"}

Fault = Callable[[str, str, str], tuple[int, dict[str, str], str | bytes] | None]


class Request(NamedTuple):
    """What a client asked for; `operation` is GraphQL's name for it, else the kind of transfer."""

    method: str
    path: str
    operation: str


class Loopback:
    """A W&B server for one test; use it in a `with` block.

    `fault(method, path, body)` may answer in the server's place, before anything happens;
    `lost(method, path, body)` likewise, but after the server has done what was asked.
    `parquet` says whether finished runs are exported, `features` what the server says it can,
    `appends` whether a run that starts again without `resume` goes on after its rows instead
    of writing over them from the first on.
    """

    def __init__(self, entity: str = "tester", seed: int = 0) -> None:
        self.entity = entity
        self.api_key = "0123456789" * 4
        self.requests: list[Request] = []
        self.errors: list[str] = []
        self.fault: Fault | None = None
        self.lost: Fault | None = None
        self.parquet = False
        self.appends = False
        self.features = set(FEATURES)
        self.seed = seed
        self.store = Store(entity)
        self._port = 0
        self._listener: Listener | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="wandb-home-", ignore_cleanup_errors=True)
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()
        if self._home is not None:
            self._home.cleanup()

    @property
    def url(self) -> str:
        """Where the server listens; the same after `down` and `up`."""
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listen, on the same port as before."""
        if self._listener is None:
            self._listener = Listener(self._port, self._answer)
            self._port = self._listener.server_address[1]

    def down(self) -> None:
        """Stop to listen and hang up on every client; not from `fault`, for it waits for that."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def environment(self, **more: str) -> dict[str, str]:
        """Environment variables for a client; nothing of the real home is read or written."""
        assert self._home is not None, "the server has not started"
        home = Path(self._home.name)
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.api_key,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "WANDB__SERVICE_WAIT": "300",
            "WANDB_CONFIG_DIR": str(home / "config"),
            "WANDB_CACHE_DIR": str(home / "cache"),
            "WANDB_DATA_DIR": str(home / "data"),
            "NETRC": str(home / "netrc"),
            "HOME": str(home),
            **more,
        }

    def runs(self, path: str) -> list[Run]:
        """The runs of `entity/project`, oldest first; none if there is no such project."""
        entity, _, project = path.rpartition("/")
        found = self.store.project(entity, project)
        return list(found.runs.values()) if found else []

    def run(self, path: str) -> Run:
        """The run at `entity/project/id`, or the only run of `entity/project`."""
        entity, project, *name = path.split("/")
        found = [r for r in self.runs(f"{entity}/{project}") if not name or r.id == name[0]]
        (only,) = found
        return only

    def sweeps(self, path: str) -> list[Sweep]:
        """The sweeps of `entity/project`, oldest first."""
        entity, _, project = path.rpartition("/")
        found = self.store.project(entity, project)
        return list(found.sweeps.values()) if found else []

    def artifacts(self, path: str) -> list[Artifact]:
        """The artifacts that were uploaded to `entity/project`, each version of each."""
        entity, _, project = path.rpartition("/")
        found = self.store.project(entity, project)
        return list(found.artifacts) if found else []

    def operations(self) -> list[str]:
        """The names of what was asked for, in order."""
        return [request.operation for request in list(self.requests)]

    def _answer(self, asked: Asked) -> Reply:
        text = asked.body.decode("utf-8", "replace")
        self.requests.append(Request(asked.method, asked.path, _operation(asked)))
        try:
            wrong = self.fault(asked.method, asked.path, text) if self.fault else None
            if wrong is None:
                with self.store.lock:
                    reply = self._routed(asked)
                wrong = self.lost(asked.method, asked.path, text) if self.lost else None
        except Exception as error:
            self.errors.append(f"{asked.method} {asked.path}: {error!r} for {text[:2000]}")
            return _refused(500, repr(error))
        return _faulty(wrong) if wrong else reply

    def _routed(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        head, _, rest = parts.path.lstrip("/").partition("/")
        if head == "storage":
            return self._storage(asked, rest, parts.query)
        if head == "artifacts":
            return self._artifact(asked, rest)
        if not self._is_known(asked):
            return _unknown_key(asked)
        if head == "graphql":
            return self._graphql(asked)
        if head == "files" and rest.endswith("/file_stream"):
            return self._file_stream(asked, rest)
        if head == "files" and asked.method in ("GET", "HEAD"):
            return self._storage(asked, rest, "")
        return _refused(404, "not found")

    def _is_known(self, asked: Asked) -> bool:
        secret = base64.b64encode(f"api:{self.api_key}".encode()).decode()
        return asked.headers.get("authorization") in (f"Basic {secret}", f"Bearer {self.api_key}")

    def _graphql(self, asked: Asked) -> Reply:
        body = json.loads(asked.body)
        views = Views(self.store, self.url, lambda: self.parquet)
        schema = Schema(self.store, views, self.features, self.seed, self.appends)
        try:
            answer = Answer(body["query"], body.get("variables") or {}, body.get("operationName"))
            data = answer.of(schema.query(), schema.mutation())
        except GraphQLSyntaxError as error:
            return _refused(400, str(error))
        except Refused as error:
            return _refused(error.status, str(error), answer.first_field)
        return Reply(200, _JSON, json.dumps({"data": history.plain(data)}).encode())

    def _file_stream(self, asked: Asked, rest: str) -> Reply:
        run = self.store.run(*map(unquote, rest.split("/")[:3]))
        if run is None:
            return _refused(404, f"run {rest.removesuffix('/file_stream')} not found")
        run.stream(json.loads(asked.body), asked.headers.get("x-wandb-async-client-id", ""))
        reply: dict[str, Any] = {
            "exitcode": run.exit_code,
            "limits": {},
            "stopped": run.stopped,
        }
        return Reply(200, _JSON, json.dumps(reply).encode())

    def _artifact(self, asked: Asked, rest: str) -> Reply:
        wanted, part, *name = rest.split("/", 2)
        _, found = artifacts.located(self.store, wanted)
        path = unquote(name[0]) if name else ""
        if asked.method != "PUT":
            text = json.dumps(found.manifest).encode()
            return _part(asked, text if part == "manifest" else found.files[path])
        if part == "manifest":
            found.manifest = json.loads(asked.body)
        else:
            found.files[path] = asked.body
        return Reply(200, {}, b"")

    def _storage(self, asked: Asked, rest: str, query: str) -> Reply:
        entity, project, name, *file = rest.split("/", 3)
        run = self.store.run(unquote(entity), unquote(project), unquote(name))
        path = unquote(file[0]) if file else ""
        if run is None:
            return _refused(404, "run not found")
        if asked.method == "PUT":
            run.files[path] = asked.body
            return Reply(200, {}, b"")
        content = history.parquet(run) if query.startswith("history") else run.files.get(path)
        return _refused(404, "file not found") if content is None else _part(asked, content)


def _operation(asked: Asked) -> str:
    """GraphQL's name of a request, or `file_stream`, `upload`, `download`."""
    if asked.path.startswith("/graphql"):
        try:
            body = json.loads(asked.body)
            return body.get("operationName") or Answer(body["query"], {}).name
        except (ValueError, KeyError, GraphQLSyntaxError):
            return "unreadable"
    if asked.path.endswith("/file_stream"):
        return "file_stream"
    return "upload" if asked.method == "PUT" else "download"


def _faulty(wrong: tuple[int, dict[str, str], Any]) -> Reply:
    status, headers, body = wrong
    return Reply(status, headers, body if isinstance(body, bytes) else str(body).encode())


def _refused(status: int, message: str, field: str = "", code: str = "") -> Reply:
    """An error as the service puts it."""
    error: dict[str, Any] = {"message": message}
    if field:
        error["path"] = [field]
    if code:
        error["extensions"] = {"code": code}
    body = {"errors": [error], "data": {field: None} if field else None}
    return Reply(status, _JSON, json.dumps(body).encode())


def _unknown_key(asked: Asked) -> Reply:
    field = ""
    if asked.path.startswith("/graphql"):
        field = Answer(json.loads(asked.body)["query"], {}).first_field
    return _refused(401, "user is not logged in", field, "PERMISSION_ERROR")


def _part(asked: Asked, content: bytes) -> Reply:
    """A file, or the range of bytes that was asked for."""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("range", ""))
    if wanted is None:
        return Reply(200, headers, content)
    first, last = wanted.groups()
    start = int(first) if first else max(0, len(content) - int(last))
    stop = min(len(content), int(last) + 1) if first and last else len(content)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return Reply(206, headers, content[start:stop])
