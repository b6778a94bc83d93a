"""In which rounds an optimizer has stepped, and where its state returns to."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.capture.joint_loads import JointLoads, Turns
from lrtrack.capture.pace import Pace, segments_from

from .rounds import Pair, watched


def turns_of(rounds: list[bool]) -> tuple[Turns, list[int]]:
    """Return the turns of an optimizer that steps in some rounds, and these rounds."""
    turns, own = Turns(), [turn for turn, steps in enumerate(rounds) if steps]
    for step, turn in enumerate(own):
        turns.add(turn, step)
    return turns, own


@given(st.lists(st.booleans(), max_size=40))
def test_the_round_after_each_step(rounds: list[bool]) -> None:
    """The round after an optimizer's step is known for each of its steps, as is their number."""
    turns, own = turns_of(rounds)

    assert [turns.after(step + 1) for step in range(len(own))] == [turn + 1 for turn in own]
    assert turns.after(0) == 0
    for turn in range(len(rounds) + 1):
        assert turns.steps_before(turn) == sum(rounds[:turn])


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 40))
def test_rounds_that_were_abandoned(rounds: list[bool], turn: int) -> None:
    """After a return, the rounds before it are known, and new ones follow them."""
    turns, _ = turns_of(rounds)
    turns.return_to(turn)
    before = sum(rounds[:turn])
    turns.add(turn + 1, before)

    assert turns.steps_before(turn) == before
    assert turns.after(before + 1) == turn + 2


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 5))
def test_a_journal_that_is_older_than_its_last_round(rounds: list[bool], more: int) -> None:
    """Stored turns go on as they were up to the last recorded round."""
    turns, own = turns_of(rounds + [True] * 3)
    stored = Turns(Pace(segments_from(turns.stored())))
    stored.pace.extend(len(rounds) + 2 + more)

    assert stored.steps_before(len(rounds) + 3 + more) == len(own) + more


def test_what_a_journal_says_is_not_trusted() -> None:
    """Stored values that make no sense count as missing: an optimizer stepped in each round."""
    pair = Pair()
    with watched(pair.both) as records:
        loads = records.rounds.loads
    for stored in ({}, {"members": 3}, {"members": [7, {"turns": [[1, 2]], "offset": "x"}]}):
        loads.restore(stored, 8, same=True)
        assert [member.step for member in records.rounds.members] == [8, 8]


def test_only_a_load_of_all_returns() -> None:
    """The step stays until the last optimizer was loaded, and is then that of the checkpoint."""
    pair = Pair()
    pair.muon = torch.optim.Adam([pair.one])
    pair.both["muon"] = pair.muon
    returns: list[tuple[int, int, bool]] = []
    with watched(pair.both) as records:
        assert isinstance(records.rounds.loads, JointLoads)
        records.rounds.loads.on_return = lambda *where: returns.append(where)
        states = []
        for value in range(5):
            pair.loss(float(value), 1.0, 1.0).backward()
            pair.muon.step()
            pair.adamw.step()
            states.append(
                [
                    torch.utils._pytree.tree_map(clone, o.state_dict())
                    for o in (pair.muon, pair.adamw)
                ]
            )
        steps = []
        for optimizer, state in zip((pair.muon, pair.adamw), states[1], strict=True):
            optimizer.load_state_dict(state)
            steps.append(records.rounds.step)
        pair.loss(9.0, 1.0, 1.0).backward()
        pair.adamw.step()
        pair.muon.step()

    assert steps == [4, 1]
    assert returns == [(2, 4, False)]
    assert records.rounds.step == 2


def clone(value: object) -> object:
    """Return a copy of a tensor, which an optimizer would share with its state."""
    return value.clone() if isinstance(value, torch.Tensor) else value
