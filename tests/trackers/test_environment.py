"""Which variables the processes get that write to trackers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lrtrack.settings import ENV_VARIABLE
from lrtrack.trackers import registry
from lrtrack.trackers.access import Access
from lrtrack.trackers.environment import needed

MLFLOW, WANDB = registry.get("mlflow").access, registry.get("wandb").access  # type: ignore[attr-defined]

#: Variables that every process needs, those of each tracker, and those of nobody.
USUAL = (
    "PATH", "HOME", "USER", "LC_ALL", "LANG", "TZ", "TMPDIR", "XDG_STATE_HOME", "PYTHONPATH",
    "PYTHONHASHSEED", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "HTTPS_PROXY", "https_proxy", "no_proxy",
    "ALL_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC", "LRTRACK_DIR",
)  # fmt: skip
OF_MLFLOW = (
    "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI", "MLFLOW_S3_ENDPOINT_URL", "AWS_PROFILE",
    "AWS_SECRET_ACCESS_KEY", "AWS_EXECUTION_ENV", "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_STORAGE_CONNECTION_STRING", "DATABRICKS_HOST", "ARM_CLIENT_ID", "PGPASSWORD",
    "MYSQL_PWD", "KUBECONFIG", "SSH_AUTH_SOCK", "JAVA_HOME", "HADOOP_CONF_DIR",
)  # fmt: skip
OF_WANDB = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "SLURM_JOB_ID", "GOGC")
OF_NOBODY = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "CI_JOB_TOKEN",
    "GOOGLE_API_KEY", "SLURM_JWT", "GITHUB_TOKEN", "SECRET", "COMET_API_KEY", "PATHS", "MY_PATH",
    "CONDA_TOKEN", "MY_KEY_FILE", "XPYTHONPATH",
)  # fmt: skip
#: Those of the others that a tracker gets which does not say what it needs.
NO_SECRETS = (
    *(name for name in OF_MLFLOW if not name.endswith(("TOKEN", "ACCESS_KEY", "PASSWORD", "PWD"))),
    *("PATHS", "MY_PATH", "MY_KEY_FILE", "XPYTHONPATH"),
)
#: A plugin with a hyphen in its name.
PLUGIN = replace(WANDB, decides=lambda name, value: False, is_path=lambda name: False, needs=None)
EVERY = dict.fromkeys((*USUAL, *OF_MLFLOW, *OF_WANDB, *OF_NOBODY), "1")


@pytest.mark.parametrize(
    ("accesses", "expected"),
    [
        ({}, USUAL),
        ({"local": None}, USUAL),
        ({"mlflow": MLFLOW}, (*USUAL, *OF_MLFLOW)),
        ({"wandb": WANDB}, (*USUAL, *OF_WANDB)),
        ({"mlflow": MLFLOW, "wandb": WANDB}, (*USUAL, *OF_MLFLOW, *OF_WANDB)),
        ({"comet": None, "wandb": WANDB}, (*USUAL, *OF_WANDB, *NO_SECRETS, "COMET_API_KEY")),
        ({"my-key": PLUGIN}, (*USUAL, "MY_KEY_FILE")),
    ],
    ids=["none", "local", "MLflow", "W&B", "both", "a plugin", "a plugin that says what it needs"],
)
def test_what_trackers_need(accesses: dict[str, Access | None], expected: tuple[str, ...]) -> None:
    """A process has the usual variables and those of its trackers, and no other."""
    assert needed(EVERY, accesses, ()) == dict.fromkeys(expected, "1")


def test_what_the_user_passes_on() -> None:
    """Names that the user lists are passed on, with their list, which further processes read."""
    found = needed({"HF_TOKEN": "a", "HF_HOME": "b", "hf_token": "c"}, {}, ["HF_T*", "SECRET"])

    assert found == {"HF_TOKEN": "a", ENV_VARIABLE: "HF_T*,SECRET"}
    assert needed(EVERY, {}, ["*"]) == EVERY | {ENV_VARIABLE: "*"}
