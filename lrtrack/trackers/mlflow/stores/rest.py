"""An MLflow server, asked by its REST API with the settings of MLflow's client.

Every answer other than the expected one, redirects included, is left to the client, so that
credentials go to no other address than the server's.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrack._optional import load
from lrtrack.journal import history_table
from lrtrack.trackers.mlflow.errors import TIMEOUT, TIMEOUT_VARIABLE
from lrtrack.trackers.mlflow.points import PAGE, series_from_pages
from lrtrack.trackers.mlflow.stores.artifacts import is_served, local_file, served_path
from lrtrack.trackers.mlflow.stores.base import (
    Experiment,
    RunData,
    RunInfo,
    StoredRun,
    Unsure,
    named,
    points_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from lrtrack.records.alignment import Series

_API = "/api/2.0/mlflow/"
#: Runs and experiments of one answer.
_RUNS, _EXPERIMENTS = 500, 1000
#: Bytes of a file that are in memory at a time.
_CHUNK = 1 << 20
#: Variables with which only the client knows how to authenticate.
_UNUSUAL = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "_MLFLOW_DATABRICKS_TRAFFIC_ID")
_CREDENTIALS = Path(".mlflow") / "credentials"
_BOOLEANS = {"": False, "false": False, "0": False, "true": True, "1": True}


@dataclass(frozen=True)
class Settings:
    """How to connect, as the client's variables say.

    Attributes:
        headers: those of every request.
        verify: whether to verify the server's certificate, or the authorities to do so with.
        cert: the file of the user's certificate; None without one.
        timeout: seconds to wait for an answer.
    """

    headers: Mapping[str, str]
    verify: bool | str
    cert: str | None
    timeout: float


def settings_from(environ: Mapping[str, str] = os.environ) -> Settings | None:
    """The settings in the client's variables; None where only the client can follow them."""
    insecure = _BOOLEANS.get(environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower())
    authorities = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    seconds = environ.get(TIMEOUT_VARIABLE, str(TIMEOUT))
    home = environ.get("HOME")
    if (
        any(environ.get(name) for name in _UNUSUAL)
        or insecure is None
        or (insecure and authorities is not None)
        or authorities == ""
        or not seconds.isdecimal()
        or not home
        or os.path.lexists(Path(home) / _CREDENTIALS)
    ):
        return None
    user, password = (environ.get(f"MLFLOW_TRACKING_{n}") for n in ("USERNAME", "PASSWORD"))
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    headers = {}
    if user and password:
        text = base64.standard_b64encode(f"{user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {text}"
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    cert = environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    return Settings(headers, authorities or not insecure, cert, float(seconds))


class RestStore:
    """Reads a server of MLflow.

    Args:
        uri: its address; credentials in it are used.
        settings: how to connect.
    """

    def __init__(self, uri: str, settings: Settings) -> None:
        self.uri = uri
        self._host = uri.removesuffix("/")
        self._session = load("requests").Session()
        self._settings = settings

    def experiment(self, experiment_id: str) -> Experiment | None:
        """See `Store`."""
        return self._one_experiment("experiments/get", experiment_id=experiment_id)

    def experiment_named(self, name: str) -> Experiment | None:
        """See `Store`."""
        return self._one_experiment("experiments/get-by-name", experiment_name=name)

    def experiments(self) -> list[Experiment]:
        """See `Store`."""
        answer = self._json("POST", "experiments/search", json={"max_results": _EXPERIMENTS})
        return [_experiment(data) for data in answer.get("experiments", ())]

    def experiment_of(self, run_id: str) -> str:
        """See `Store`."""
        answer = self._json("GET", "runs/get", params={"run_id": run_id})
        return str(answer["run"]["info"]["experiment_id"])

    def runs(
        self, experiment_id: str, conditions: Sequence[str], raw: Sequence[str] = ()
    ) -> list[StoredRun]:
        """See `Store`."""
        asked = {
            "experiment_ids": [experiment_id],
            "filter": " and ".join([*conditions, *raw]),
            "run_view_type": "ACTIVE_ONLY",
            "max_results": _RUNS,
        }
        runs: dict[str, StoredRun] = {}
        while True:
            answer = self._json("POST", "runs/search", json=asked)
            page = [_stored_run(data) for data in answer.get("runs", ())]
            runs |= {run.info.run_id: run for run in page}
            token = answer.get("next_page_token")
            if not token:
                return list(runs.values())
            if token == asked.get("page_token") or not page:
                raise Unsure("the server repeats a page")
            asked["page_token"] = token

    def points(self, run_id: str, names: Sequence[str]) -> dict[str, Series]:
        """See `Store`."""
        return {n: series_from_pages(partial(self._page, run_id, n)) for n in names}

    def history(self, run: StoredRun) -> pa.Table:
        """See `Store`."""
        root = run.info.artifact_uri
        if not is_served(root):
            return history_table.read_parquet(local_file(root))
        address = served_path(root)
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / history_table.NAME
                with self._answer("GET", address, stream=True) as answer, file.open("wb") as copy:
                    _expect(answer, 200)
                    for chunk in answer.iter_content(_CHUNK):
                        copy.write(chunk)
                return history_table.read_parquet(file)
        except Exception as error:  # the client knows other ways, and reports what is wrong
            raise Unsure("the file cannot be read") from error

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _one_experiment(self, endpoint: str, **asked: str) -> Experiment | None:
        answer = self._answer("GET", _API + endpoint, params=asked)
        if answer.status_code == 404:
            if answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise Unsure("not an answer of MLflow's")
        _expect(answer, 200)
        return _experiment(answer.json()["experiment"])

    def _page(self, run_id: str, name: str, token: str) -> Mapping[str, Any]:
        asked: dict[str, Any] = {"run_id": run_id, "metric_key": name, "max_results": PAGE}
        if token:
            asked["page_token"] = token
        return self._json("GET", "metrics/get-history", params=asked)

    def _json(self, method: str, endpoint: str, **content: Any) -> dict[str, Any]:
        answer = self._answer(method, _API + endpoint, **content)
        _expect(answer, 200)
        return dict(answer.json())

    def _answer(self, method: str, address: str, **content: Any) -> Any:
        settings = self._settings
        return self._session.request(
            method,
            self._host + address,
            headers=settings.headers,
            verify=settings.verify,
            cert=settings.cert,
            timeout=settings.timeout,
            allow_redirects=False,
            **content,
        )


def _expect(answer: Any, status: int) -> None:
    if answer.status_code != status:
        raise Unsure(f"the server answers {answer.status_code}")


def _experiment(data: Mapping[str, Any]) -> Experiment:
    return Experiment(str(data["experiment_id"]), str(data["name"]), str(data["lifecycle_stage"]))


def _stored_run(data: Mapping[str, Any]) -> StoredRun:
    info, contents = data["info"], data.get("data", {})
    tags = _texts(contents.get("tags", ()))
    latest = points_of(
        (
            str(point["key"]),
            float(point.get("value", 0)),  # "NaN" is text in JSON
            int(point.get("step", 0)),
            int(point.get("timestamp", 0)),
        )
        for point in contents.get("metrics", ())
    )
    return StoredRun(
        RunInfo(
            run_id=str(info["run_id"]),
            run_name=named(info.get("run_name"), tags),
            experiment_id=str(info["experiment_id"]),
            status=str(info["status"]),
            start_time=int(info.get("start_time") or 0),
            end_time=int(info.get("end_time") or 0) or None,
            artifact_uri=str(info.get("artifact_uri") or ""),
        ),
        RunData(_texts(contents.get("params", ())), tags, latest),
    )


def _texts(pairs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {str(pair["key"]): str(pair.get("value", "")) for pair in pairs}
