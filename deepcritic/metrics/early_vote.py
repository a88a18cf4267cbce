"""When the rest of a vote cannot change its winner.

>>> samples_needed([], 8), samples_needed([2, 2, 2, 2, 2], 8), samples_needed([2, 2, 2, 2, -1], 8)
(5, 0, 1)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def samples_needed(verdicts: Sequence[Hashable | None], samples: int) -> int:
    """The fewest further samples that can decide a vote of `samples`, of which these verdicts are known; 0 if it is decided.

    Decided: the leading verdict has more votes than the second could reach with all missing samples, so every continuation has
    the same single winner. Unparsed replies (None) do not vote. A vote that may still tie is not decided.
    """
    counts = [count for _, count in Counter(one for one in verdicts if one is not None).most_common(2)]
    lead, left = counts[0] - sum(counts[1:]) if counts else 0, samples - len(verdicts)
    return 0 if lead > left else min(left, (left - lead) // 2 + 1)
