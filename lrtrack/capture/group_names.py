"""Names of param groups, under which their metrics are recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def group_names(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return each group's `"name"`, else its index.

    Groups that share a name get their index behind it: `decay_0`, `decay_1`.
    """
    names = [str(group.get("name", index)) for index, group in enumerate(groups)]
    if len(set(names)) == len(names):
        return names
    counts, used = Counter(names), set(names)
    for index, name in enumerate(names):
        if counts[name] > 1:
            own = f"{name}_{index}"
            while own in used:  # another group has that name
                own += "_"
            used.add(own)
            names[index] = own
    return names
