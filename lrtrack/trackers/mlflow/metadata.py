"""Tags, params and the description of a run in MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lrtrack.fields import flatten, text_of
from lrtrack.records import FIND, METHOD, TRAIN, Run, State, StepRecord, diagnoses_from
from lrtrack.records.rewind import abandoned, rewinds_listed
from lrtrack.schedules import CONSTANT, Schedule, parts_of
from lrtrack.schedules.schedule import DECLARED
from lrtrack.trackers.base import Publication
from lrtrack.trackers.mlflow.names import key as key
from lrtrack.trackers.mlflow.names import keyed as keyed

RUN_ID = "lrtrack.run_id"
#: The number of steps in the columnar file; `NO_HISTORY` if the file is missing or incomplete.
HISTORY_ROWS, NO_HISTORY = "lrtrack.history.rows", "none"
NOTE = "mlflow.note.content"
#: The tag by which MLflow's pages can group runs: readable, and different for schedules that differ
#: only in their parameters.
SCHEDULE = "lrtrack.schedule"
KIND, SUGGESTION = "lrtrack.kind", "lrtrack.suggestion."
DIAGNOSES = "lrtrack.diagnoses"
#: The value of `KIND` in a run that stores reports.
REPORT_KIND = "report"

# The sentence of a description that says how the run ended, as `outcome` writes it.
_OUTCOME = re.compile(
    r"(?: \d+ steps?(?:, stopped early)?"
    r"(?:; final loss \S+ \(mean of the last 5 %\), best \S+)?\.)?"
)
_MARKUP = re.compile(r"([\\`*_{}\[\]#|!~])")
_PARAM_LENGTH, _TAG_LENGTH, _CODE_LENGTH = 6000, 8000, 1000
#: The most characters of a text that must not be cut; the strictest store takes 5000.
MAX_TEXT = 4900


def metric_points(
    records: Sequence[StepRecord], name_of: Callable[[str], str]
) -> list[tuple[str, float, int, int]]:
    """Convert records to tuples (key, value, timestamp in ms, step), in order.

    Args:
        records: the records.
        name_of: returns MLflow's name of a metric.
    """
    return [
        (name_of(name), value, int(record.time * 1000), record.step)
        for record in records
        for name, value in record.metrics.items()
    ]


def tags(run: Run, scope: str = "") -> dict[str, str]:
    """The tags of a run: those of lrtrack and the user's own.

    Args:
        run: the block.
        scope: the block's name in a run that it shares with others. Tags that differ between blocks
            are named `lrtrack.<scope>.…`, tags of the whole run `lrtrack.…`.
    """
    own = name_prefix(scope)
    tags = {
        f"{own}run_id": run.id,
        "lrtrack.version": run.version,
        "lrtrack.device.type": run.device_type,
        "lrtrack.device.name": run.device_name,
        "lrtrack.world_size": str(run.world_size),
        f"{own}optimizer.name": str(run.optimizer.get("name", "")),
        f"{own}schedule": schedule_tag(run.schedule),
        f"{own}scheduler.id": run.schedule.id,
        f"{own}scheduler.spec": run.schedule.spec,
        f"{own}scheduler.source": run.schedule.source,
    }
    tags |= {f"{own}scheduler.{name}": text for name, text in run.schedule.flat().items()}
    names = {k: v for k, v in run.optimizer.items() if k.endswith(".name")}
    tags |= {f"{own}optimizer.{name}": str(text) for name, text in names.items()}
    if run.rewinds:
        tags[f"{own}rewinds"] = json.dumps(rewinds_listed(run.rewinds))
        if steps := abandoned(run.rewinds):
            tags[f"{own}rewound"] = steps
    if run.parent is not None:
        tags |= {f"{own}parent": run.parent, f"{own}branched_at": str(run.branched_at or 0)}
    known = {"lrtrack.group": run.group, "lrtrack.torch.version": run.torch_version or None,
             f"{own}prefix": run.prefix or None,
             f"{own}total_steps": run.total_steps}  # fmt: skip
    tags |= {name: str(value) for name, value in known.items() if value is not None}
    if run.kind != TRAIN:
        tags[KIND] = run.kind
    tags |= {f"{SUGGESTION}{method}": text_of(rate) for method, rate in run.suggestions.items()}
    if run.diagnoses is not None:
        tags[DIAGNOSES] = diagnoses_text(run.diagnoses)
    tags |= {str(name): text_of(value) for name, value in run.tags.items()}
    return keyed({name: text[:_TAG_LENGTH] for name, text in tags.items()})


def name_prefix(scope: str) -> str:
    """The prefix of a block's own tags and params: `lrtrack.` or longer."""
    return f"lrtrack.{scope}." if scope else "lrtrack."


def schedule_tag(schedule: Schedule) -> str:
    """The value by which MLflow's pages group runs."""
    return f"{schedule.name} {schedule.id}"


def diagnoses_text(diagnoses: Sequence[Mapping[str, str]]) -> str:
    """Diagnoses as a JSON list; the last ones shrink to their codes if the text is too long."""
    entries = [dict(diagnosis) for diagnosis in diagnoses]
    for whole in range(len(entries), -1, -1):
        codes = ({"code": diagnosis["code"]} for diagnosis in entries[whole:])
        text = text_of([*entries[:whole], *codes])
        if len(text) <= MAX_TEXT:
            return text
    return "[]"


def diagnoses_of(tags: Mapping[str, str]) -> tuple[dict[str, str], ...] | None:
    """The diagnoses in a run's tags; None if the run was not diagnosed."""
    try:
        return diagnoses_from(json.loads(tags[DIAGNOSES]))
    except (KeyError, ValueError, RecursionError):
        return None


def with_other_diagnoses(tags: Mapping[str, str], run: Run, *, phased: bool = False) -> Run:
    """Add the diagnoses of other blocks, which the run's tags hold, to `run`.

    Args:
        tags: of the MLflow run.
        run: one of its blocks.
        phased: whether earlier blocks have the same prefix; their diagnoses stay too.
    """
    own = run.diagnoses or ()
    others = [
        diagnosis
        for diagnosis in diagnoses_of(tags) or ()
        if diagnosis.get("prefix", "") != run.prefix or (phased and diagnosis not in own)
    ]
    return replace(run, diagnoses=(*others, *own))


def params(run: Run, prefix: str = "") -> dict[str, str]:
    """Params for MLflow's compare view: schedule, optimizer, seed, then the user's config.

    Args:
        run: the block.
        prefix: the prefix of each name in a run that the user opened, so that no name of lrtrack
            can collide with one that the user logs; `config` is a tag there.
    """
    params: dict[str, Any] = {}
    parts = (parts_of(run.schedule) or {"": run.schedule}).values()
    is_settled = all(p != Schedule(CONSTANT) and p.source == DECLARED for p in parts)
    if is_settled or run.outcome is not None:
        # MLflow's params never change: whether a rate is constant is known at the run's end
        params["scheduler"] = run.schedule.name
        flat = run.schedule.flat()
        params |= {f"scheduler.{name}": text for name, text in flat.items() if name != "name"}
    params["optimizer"] = run.optimizer.get("name", "")
    params |= {f"optimizer.{n}": value for n, value in run.optimizer.items() if n != "name"}
    if run.seed is not None:
        params["seed"] = run.seed
    if prefix:
        params = {f"{prefix}{name}": value for name, value in params.items()}
    else:
        free = {n: v for n, v in flatten(run.config).items() if n.split(".")[0] != "scheduler"}
        params |= {name: value for name, value in free.items() if name not in params}
    return keyed({name: text_of(value)[:_PARAM_LENGTH] for name, value in params.items()})


def note(run: Run, ended: str = "") -> str:
    """The run's description, in Markdown.

    Args:
        run: the run; a range test has its suggestions.
        ended: the text of `outcome`; empty before the run's end.
    """
    if run.kind == FIND:
        return _range_test(run)
    before, after = _around(run)
    return before + ended + after


def outcome(steps: int, state: State, final: float | None, best: float | None) -> str:
    """How a run ended: the second sentence of its description."""
    text = f" {steps} step{'' if steps == 1 else 's'}"
    text += "" if state is State.FINISHED else ", stopped early"
    if final is not None and best is not None:
        text += f"; final loss {final:.4g} (mean of the last 5 %), best {best:.4g}"
    return text + "."


def is_generated(text: str, run: Run) -> bool:
    """Whether a description is exactly as lrtrack wrote it, so that no edit of a user is lost."""
    before, after = _around(run)
    inside = text[len(before) : len(text) - len(after)]
    return text == before + inside + after and _OUTCOME.fullmatch(inside) is not None


def report_note(publication: Publication, *, stored: bool = True) -> str:
    """The description of the run that stores reports: the latest report itself, if it fits.

    Args:
        publication: the report.
        stored: whether its files are among the run's artifacts.
    """
    where = f"The report's files are among the artifacts, under `{publication.folder}`."
    if not stored:
        where = "The report's files could not be stored among the artifacts."
    whole = f"{publication.markdown}\n{where}\n"
    if len(whole) <= MAX_TEXT:
        return whole
    return f"{_escape(publication.headline)[:_CODE_LENGTH]}\n\n{where}\n"


def _around(run: Run) -> tuple[str, str]:
    """The parts of a description before and after the sentence that says how the run ended."""
    optimizer = Schedule.from_dict(_with_name(run.optimizer)).label
    seed = f", seed {run.seed}" if run.seed is not None else ""
    where = f" --experiment {_shell_quote(run.experiment)}" if run.experiment else ""
    before = (
        f"**`{_code(run.schedule.label)}`** with `{_code(optimizer)}` on "
        f"{_escape(run.device_name or run.device_type)}{seed}."
    )
    after = (
        f" Tracked by [lrtrack](https://pypi.org/project/lrtrack/) {run.version}; compare the "
        f"schedules of this experiment with `{_code(f'lrtrack compare{where}')}`.\n"
    )
    return before, after


def _range_test(run: Run) -> str:
    rows = [
        ("Schedule", f"`{_cell(run.schedule.label)}` (id `{run.schedule.id}`)"),
        ("Optimizer", f"`{_cell(Schedule.from_dict(_with_name(run.optimizer)).label)}`"),
        ("Device", _cell(f"{run.device_name} ({run.device_type})")),
        *([("Seed", str(run.seed))] if run.seed is not None else []),
        *(
            (f"Suggestion ({_cell(name)})", f"`{rate:.4g}`")
            for name, rate in run.suggestions.items()
        ),
    ]
    table = "\n".join(f"| **{name}** | {text} |" for name, text in rows)
    return f"{_range_test_result(run)}\n\n| | |\n|---|---|\n{table}\n"


def _range_test_result(run: Run) -> str:
    """The result of a learning-rate range test, in one or two sentences."""
    rate = run.suggestions.get(METHOD)
    suggestion = f" It suggests a learning rate of **{rate:.4g}**." if rate is not None else ""
    return f"A learning-rate range test by lrtrack {run.version}; no training.{suggestion}"


def schedule_from(tags: Mapping[str, str]) -> Schedule:
    """The schedule that a run's tags describe; a constant one if they describe none.

    If the spec was cut by MLflow or edited by someone, the schedule has its name and its id as the
    only parameter, so that different schedules stay different.
    """
    try:
        schedule = Schedule.from_spec(tags["lrtrack.scheduler.spec"])
        _ = schedule.id, schedule.label, schedule.flat()  # all that reports use must work
    except (KeyError, ValueError, RecursionError):
        schedule_id = tags.get("lrtrack.scheduler.id")
        params = {"id": schedule_id} if schedule_id else {}
        return Schedule(tags.get("lrtrack.scheduler.name", CONSTANT), params)
    return schedule


def _with_name(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "?", **optimizer}


def _code(text: str) -> str:
    flat = " ".join(text.replace("`", "'").split())
    return flat if len(flat) <= _CODE_LENGTH else f"{flat[:_CODE_LENGTH]}…"


def _cell(text: str) -> str:
    return _code(text).replace("|", "\\|")


def _escape(text: str) -> str:
    """Escape text for Markdown, on one line."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shell_quote(text: str) -> str:
    plain = re.fullmatch(r"[\w./:-]+", text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"
