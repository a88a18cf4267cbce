"""Keep only the solutions of a data set that a critic accepts: add verdict columns, then filter.

python examples/filter_dataset.py CRITIC
"""

import sys
from typing import Any

from datasets import Dataset

from deepcritic import Critic
from deepcritic.tasks.first_error import FirstError

PROBLEM = "Mod ten, from 7:\n1)*1\n2)-1\n3)-7"
SOLUTIONS = [
    {"problem": PROBLEM, "solution": "Step 1: 7*1=7\nStep 2: 7-1=6\nStep 3: 6-7=9\n\\boxed{9}"},
    {"problem": PROBLEM, "solution": "Step 1: 7*1=6\nStep 2: 6-1=5\nStep 3: 5-7=8\n\\boxed{8}"},
]


def checked(data: Dataset, critic: Critic) -> Dataset:
    """`data` with the columns `first_error` and `agreement`, without the rows in which the critic names an error."""

    def verdicts(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = list(critic.critique_many(zip(batch["problem"], batch["solution"], strict=True)))
        return {"first_error": [one.first_error for one in found], "agreement": [one.agreement for one in found]}

    return data.map(verdicts, batched=True).filter(lambda row: row["first_error"] == -1)


def main(model: str = "deepcritic://microworld/models/base") -> None:
    task = FirstError("deepcritic://microworld/templates/critique.txt")  # omit for a model that knows the built-in prompt
    with Critic(model, task=task, samples=4, max_tokens=224) as critic:
        print(checked(Dataset.from_list(SOLUTIONS), critic))


if __name__ == "__main__":
    main(*sys.argv[1:])
