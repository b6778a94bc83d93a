"""What people see of a run in MLflow: tags, params and the description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lrtrack.fields import flatten, text_of
from lrtrack.records import FIND, METHOD, TRAIN, Run, State, StepRecord, diagnoses_from
from lrtrack.schedules import CONSTANT, Schedule
from lrtrack.trackers.base import Publication

RUN_ID = "lrtrack.run_id"
#: How many steps the columnar file has, or that it is refused or lacks some.
HISTORY_ROWS, NO_HISTORY = "lrtrack.history.rows", "none"
NOTE = "mlflow.note.content"
#: What MLflow's pages can group by: readable, and different for schedules that only differ in
#: their parameters.
SCHEDULE = "lrtrack.schedule"
KIND, SUGGESTION = "lrtrack.kind", "lrtrack.suggestion."
DIAGNOSES = "lrtrack.diagnoses"
#: What `KIND` says of a run that keeps reports.
REPORT_KIND = "report"

_NAME = re.compile(r"[^\w\-. /:]")
# What a description says of how its run ended, as `outcome` writes it.
_OUTCOME = re.compile(
    r"(?: \d+ steps?(?:, broken off)?"
    r"(?:; final loss \S+ \(mean of the last 5 %\), best \S+)?\.)?"
)
_MARKUP = re.compile(r"([\\`*_{}\[\]#|!~])")
_KEY_LENGTH, _PARAM_LENGTH, _TAG_LENGTH, _CODE_LENGTH = 250, 6000, 8000, 1000
#: Of a text that is no use when it is cut; the strictest store takes 5000.
WHOLE = 4900


def key(name: str) -> str:
    """A name as MLflow accepts it: other characters become underscores, length is bounded.

    MLflow takes names for paths too, and refuses a whole run over one that is not in its plainest
    form: no part of it may be empty, `.` or `..`, and it may not begin with two dots.
    """
    parts = _NAME.sub("_", name)[:_KEY_LENGTH].split("/")
    plain = (part.replace(".", "_") if part in (".", "..") else part for part in parts)
    return re.sub(r"^\.\.", "__", "/".join(filter(None, plain))) or "_"


def metric_points(records: list[StepRecord]) -> list[tuple[str, float, int, int]]:
    """Records as (key, value, timestamp in ms, step), in order."""
    return [
        (key(name), value, int(record.time * 1000), record.step)
        for record in records
        for name, value in record.metrics.items()
    ]


def tags(run: Run, scope: str = "") -> dict[str, str]:
    """CONTRACT §3's tags, and the user's own.

    Args:
        run: the block.
        scope: the block's name in a run that it shares with others: what differs between blocks
            stands under `lrtrack.<scope>.`, what the whole run has in common under `lrtrack.`.
    """
    own = names(scope)
    found = {
        f"{own}run_id": run.id,
        "lrtrack.version": run.version,
        "lrtrack.device.type": run.device_type,
        "lrtrack.device.name": run.device_name,
        "lrtrack.world_size": str(run.world_size),
        f"{own}optimizer.name": str(run.optimizer.get("name", "")),
        f"{own}schedule": schedule_tag(run.schedule),
        f"{own}scheduler.id": run.schedule.id,
        f"{own}scheduler.spec": run.schedule.spec,
    }
    found |= {f"{own}scheduler.{name}": text for name, text in run.schedule.flat().items()}
    if run.group is not None:
        found["lrtrack.group"] = run.group
    if run.prefix:
        found[f"{own}prefix"] = run.prefix
    if run.kind != TRAIN:
        found[KIND] = run.kind
    found |= {f"{SUGGESTION}{method}": text_of(rate) for method, rate in run.suggestions.items()}
    if run.diagnoses is not None:
        found[DIAGNOSES] = diagnoses_text(run.diagnoses)
    found |= {str(name): text_of(value) for name, value in run.tags.items()}
    return {key(name): text[:_TAG_LENGTH] for name, text in found.items()}


def names(scope: str) -> str:
    """What stands before the names of a block's own tags and params: `lrtrack.` or longer."""
    return f"lrtrack.{scope}." if scope else "lrtrack."


def schedule_tag(schedule: Schedule) -> str:
    """What MLflow's pages group runs by."""
    return f"{schedule.name} {schedule.id}"


def diagnoses_text(found: Sequence[Mapping[str, str]]) -> str:
    """Diagnoses as a JSON list, `[]` where there are none; where room is short, codes alone."""
    entries = [dict(each) for each in found]
    for whole in range(len(entries), -1, -1):
        shown = [*entries[:whole], *({"code": each["code"]} for each in entries[whole:])]
        text = text_of(shown)
        if len(text) <= WHOLE:
            return text
    return "[]"


def diagnoses_of(found: Mapping[str, str]) -> tuple[dict[str, str], ...] | None:
    """The diagnoses in a run's tags; None where nobody has looked."""
    try:
        return diagnoses_from(json.loads(found[DIAGNOSES]))
    except (KeyError, ValueError, RecursionError):
        return None


def joined(found: Mapping[str, str], run: Run, *, phased: bool = False) -> Run:
    """`run` with the diagnoses of other blocks that are in its tags already.

    Args:
        found: the tags.
        run: one of the blocks.
        phased: whether there are blocks with the same prefix before it, whose diagnoses stay too.
    """
    own = run.diagnoses or ()
    others = [
        each
        for each in diagnoses_of(found) or ()
        if each.get("prefix", "") != run.prefix or (phased and each not in own)
    ]
    return replace(run, diagnoses=(*others, *own))


def params(run: Run, before: str = "") -> dict[str, str]:
    """Params for MLflow's compare view: schedule, optimizer, seed, then the user's config.

    Args:
        run: the block.
        before: put before each name in a run that the user opened, where nothing of lrtrack's may
            have a name that the user could log as well; `config` is a tag there.
    """
    found: dict[str, Any] = {"scheduler": run.schedule.name}
    flat = run.schedule.flat()
    found |= {f"scheduler.{name}": text for name, text in flat.items() if name != "name"}
    found["optimizer"] = run.optimizer.get("name", "")
    found |= {f"optimizer.{n}": value for n, value in run.optimizer.items() if n != "name"}
    if run.seed is not None:
        found["seed"] = run.seed
    if before:
        found = {f"{before}{name}": value for name, value in found.items()}
    else:
        found |= {name: value for name, value in flatten(run.config).items() if name not in found}
    return {key(name): text_of(value)[:_PARAM_LENGTH] for name, value in found.items()}


def note(run: Run, ended: str = "") -> str:
    """The run's description, in Markdown.

    Args:
        run: the run; of a range test, with what it found.
        ended: what `outcome` says; nothing before the run's end.
    """
    if run.kind == FIND:
        return _range_test(run)
    before, after = _around(run)
    return before + ended + after


def outcome(steps: int, state: State, final: float | None, best: float | None) -> str:
    """How a training ended, as a sentence after the first one of its description."""
    told = f" {steps} step{'' if steps == 1 else 's'}"
    told += "" if state is State.FINISHED else ", broken off"
    if final is not None and best is not None:
        told += f"; final loss {final:.4g} (mean of the last 5 %), best {best:.4g}"
    return told + "."


def is_ours(text: str, run: Run) -> bool:
    """Whether a training's description is as lrtrack wrote it, so that nobody's words are lost."""
    before, after = _around(run)
    inside = text[len(before) : len(text) - len(after)]
    return text == before + inside + after and _OUTCOME.fullmatch(inside) is not None


def report_note(publication: Publication, *, stored: bool = True) -> str:
    """The description of the run that keeps reports: the last report itself, where it fits in.

    Args:
        publication: the report.
        stored: whether its files are among the run's artifacts.
    """
    where = f"The report's files are among the artifacts, under `{publication.folder}`."
    if not stored:
        where = "The report's files could not be stored among the artifacts."
    whole = f"{publication.markdown}\n{where}\n"
    if len(whole) <= WHOLE:
        return whole
    return f"{_plain(publication.headline)[:_CODE_LENGTH]}\n\n{where}\n"


def _around(run: Run) -> tuple[str, str]:
    """A training's description before and after what it says of how the run ended."""
    optimizer = Schedule.from_dict(_named(run.optimizer)).label
    seed = f", seed {run.seed}" if run.seed is not None else ""
    where = f" --experiment {_shell(run.experiment)}" if run.experiment else ""
    before = (
        f"**`{_code(run.schedule.label)}`** with `{_code(optimizer)}` on "
        f"{_plain(run.device_name or run.device_type)}{seed}."
    )
    after = (
        f" Tracked by [lrtrack](https://pypi.org/project/lrtrack/) {run.version}; compare the "
        f"schedules of this experiment with `{_code(f'lrtrack compare{where}')}`.\n"
    )
    return before, after


def _range_test(run: Run) -> str:
    rows = [
        ("Schedule", f"`{_cell(run.schedule.label)}` (id `{run.schedule.id}`)"),
        ("Optimizer", f"`{_cell(Schedule.from_dict(_named(run.optimizer)).label)}`"),
        ("Device", _cell(f"{run.device_name} ({run.device_type})")),
        *([("Seed", str(run.seed))] if run.seed is not None else []),
        *((f"Suggestion ({_cell(way)})", f"`{rate:.4g}`") for way, rate in run.suggestions.items()),
    ]
    table = "\n".join(f"| **{name}** | {text} |" for name, text in rows)
    return f"{_finding(run)}\n\n| | |\n|---|---|\n{table}\n"


def _finding(run: Run) -> str:
    """What a learning-rate range test came to, in one sentence or two."""
    rate = run.suggestions.get(METHOD)
    told = f" It suggests a learning rate of **{rate:.4g}**." if rate is not None else ""
    return f"A learning-rate range test by lrtrack {run.version}; no training.{told}"


def schedule_from(found: Mapping[str, str]) -> Schedule:
    """The schedule that a run's tags describe; a constant one where they do not.

    A spec that MLflow cut, or somebody edited, leaves the name, and the id as the only parameter:
    different schedules stay different.
    """
    try:
        schedule = Schedule.from_spec(found["lrtrack.scheduler.spec"])
        _ = schedule.id, schedule.label, schedule.flat()  # what a report will ask of it
    except (KeyError, ValueError, RecursionError):
        known = found.get("lrtrack.scheduler.id")
        params = {"id": known} if known else {}
        return Schedule(found.get("lrtrack.scheduler.name", CONSTANT), params)
    return schedule


def _named(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "?", **optimizer}


def _code(text: str) -> str:
    flat = " ".join(text.replace("`", "'").split())
    return flat if len(flat) <= _CODE_LENGTH else f"{flat[:_CODE_LENGTH]}…"


def _cell(text: str) -> str:
    return _code(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Text as Markdown shows it letter by letter, on one line."""
    marked = _MARKUP.sub(r"\\\1", " ".join(text.split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shell(text: str) -> str:
    plain = re.fullmatch(r"[\w./:-]+", text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"
