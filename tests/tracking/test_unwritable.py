"""A training whose journal cannot be written goes on without a record."""

from __future__ import annotations

import warnings

import pytest

import lrtrack


def test_an_unwritable_directory_costs_the_record_only(training, monkeypatch, tmp_path) -> None:
    """An unwritable directory gives one warning, and training continues without a record."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LRTRACK_DIR", str(tmp_path / "file"))
    with pytest.warns(lrtrack.LRTrackWarning, match="without a record") as caught:
        with lrtrack.track(training.optimizer, training.scheduler) as run:
            training.run()
            run.log(val=1.0)
            run.flush()

    assert len(caught) == 1
    assert run.step == 19
    assert run.url is None


def test_nothing_is_raised_where_warnings_are_errors(
    training, monkeypatch, tmp_path, capfd
) -> None:
    """With `-W error`, lrtrack's own problems do not end the training."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LRTRACK_DIR", str(tmp_path / "file"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with lrtrack.track(training.optimizer, training.scheduler):
            training.run()

    assert "without a record" in capfd.readouterr().err
