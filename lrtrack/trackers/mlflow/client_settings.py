"""The variables and files that decide how MLflow's client connects and authenticates."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from lrtrack.records import Target
from lrtrack.redaction import bare_uri, remember
from lrtrack.trackers.base import origin_of
from lrtrack.trackers.hooks import Access

#: Variables of MLflow, of its databases and of its artifact stores.
_CONNECTION = re.compile(
    r"MLFLOW_|AZURE_(?!OPENAI_)|GOOGLE_(?!API_KEY$|GENAI_|GEMINI_)|GCLOUD_|GCS_|DATABRICKS_|MYSQL_|PG[A-Z]+$"
    r"|AWS_(?!BATCH_JOB_|EXECUTION_ENV$)"
)
#: What MLflow's artifact stores, databases and plugins read besides.
_NEEDED = re.compile(
    r"(AWS|CLOUDSDK|ARM|IDENTITY|MSI|S3|BOTO|HADOOP|KRB5|ARROW_LIBHDFS|ORACLE|TNS|ODBC)_?\w*"
    r"|_MLFLOW_\w+|JAVA_HOME|CLASSPATH|SSH_AUTH_SOCK|KUBECONFIG|KUBERNETES_SERVICE_\w+"
)
#: Recorded with each run, or without effect on the server and the account of an upload.
_PER_RUN = {
    *("MLFLOW_RUN_ID", "MLFLOW_RUN_NAME", "MLFLOW_RUN_CONTEXT"),
    *("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"),
    *("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"),
    *("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL"),
}
_URI = "MLFLOW_TRACKING_URI"
_CREDENTIALS = "~/.mlflow/credentials"
#: Variables that hold paths.
_PATHS = re.compile(
    r"MLFLOW_TRACKING_(SERVER|CLIENT)_CERT_PATH|GOOGLE_APPLICATION_CREDENTIALS"
    r"|AWS_(SHARED_CREDENTIALS_FILE|CONFIG_FILE|CA_BUNDLE|WEB_IDENTITY_TOKEN_FILE)"
    r"|AZURE_(FEDERATED_TOKEN_FILE|CLIENT_CERTIFICATE_PATH|CONFIG_DIR)|DATABRICKS_CONFIG_FILE"
    r"|PG(PASSFILE|SERVICEFILE|SYSCONFDIR|SSLCERT|SSLKEY|SSLROOTCERT|SSLCRL)"
)
#: Credentials that MLflow sends to any server, or signs its requests with.
_SENT_TO_SERVERS = re.compile(
    r"MLFLOW_TRACKING_(TOKEN|USERNAME|PASSWORD|AUTH|AWS_SIGV4|CLIENT_CERT_PATH|URI)"
    rf"|{re.escape(_CREDENTIALS)}"
)
#: Stores that get no credentials from the variables: files, and Databricks, whose credentials
#: come together with its address.
_WITHOUT_CREDENTIALS = {"", "file", "sqlite", "databricks", "databricks-uc", "uc"}
_SENT_TO_DATABASES = {
    "postgresql": re.compile(rf"PG(PASSWORD|USER|SSLCERT|SSLKEY)|{_URI}"),
    "mysql": re.compile(rf"MYSQL_PWD|{_URI}"),
    "mssql": re.compile(_URI),
}


def _decides(name: str, value: str) -> bool:
    if name == _URI:
        return bare_uri(value) != value  # without credentials, the URI is recorded with each run
    return name not in _PER_RUN and _CONNECTION.match(name) is not None


def _files(environ: Mapping[str, str]) -> dict[str, Path]:
    home = Path(environ.get("HOME") or "/nonexistent")
    aws = ("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")
    return {
        _CREDENTIALS: home / ".mlflow" / "credentials",
        "~/.databrickscfg": Path(environ.get("DATABRICKS_CONFIG_FILE") or home / ".databrickscfg"),
        **{f"~/.aws/{file}": Path(environ.get(name) or home / ".aws" / file) for name, file in aws},
    }


def _sends(name: str, target: Target) -> bool:
    scheme = _scheme(target)
    credentials = _SENT_TO_DATABASES.get(scheme, _SENT_TO_SERVERS)
    return scheme not in _WITHOUT_CREDENTIALS and credentials.fullmatch(name) is not None


def _scheme(target: Target) -> str:
    """The scheme of the target's URI, without the name of a driver."""
    return urlsplit((target.uri or "").strip()).scheme.partition("+")[0]


def _origin(target: Target) -> str | None:
    if _scheme(target) in _WITHOUT_CREDENTIALS:
        return None
    return origin_of(target.uri or "") or target.uri


def _home(environ: Mapping[str, str]) -> str | None:
    return origin_of(environ.get(_URI, ""))


def remember_credentials() -> None:
    """Keep what MLflow reads from its login file out of messages: a server may repeat it."""
    parser = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
        parser.read(_files(os.environ)[_CREDENTIALS])
        login = parser["mlflow"] if parser.has_section("mlflow") else parser["DEFAULT"]
        user, password = (
            login.get(f"mlflow_tracking_{name}", "") for name in ("username", "password")
        )
        if password:
            remember([password, f"{user}:{password}"])


def credentials_fix(status: int) -> str:
    """How to fix credentials that the server refused with HTTP status 401 or 403."""
    condition = "that the server knows" if status == 401 else "that may do this"
    user, password = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
    present = [name for name in (user, password, "MLFLOW_TRACKING_TOKEN") if os.environ.get(name)]
    if present in ([user], [password]):
        (missing,) = {user, password} - set(present)
        return f"set {missing} too"
    if present:
        return f"replace the credentials in {' and '.join(present)} by ones {condition}"
    return f"set {user} and {password}, or MLFLOW_TRACKING_TOKEN, to credentials {condition}"


ACCESS = Access(
    decides=_decides,
    is_path=lambda name: _PATHS.fullmatch(name) is not None,
    files=_files,
    sends=_sends,
    origin=_origin,
    home=_home,
    ask_for=lambda target: f"{_URI}={target.uri}",
    needs=lambda name: _NEEDED.fullmatch(name) is not None,
)
