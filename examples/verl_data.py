"""Convert labelled solutions to verl's Parquet file: the task's prompt, and the first wrong step as ground truth.

python examples/verl_data.py runs/x/label/labelled.jsonl train.parquet
"""

import sys

from datasets import Dataset

from deepcritic.datasets import examples
from deepcritic.tasks.first_error import FirstError


def rows(path: str) -> Dataset:
    """One row for each labelled solution, in verl's layout."""
    task = FirstError()
    made = []
    for index, row in enumerate(examples.read(path)):
        if isinstance(row.gold.first_error, int):
            made.append(
                {
                    "data_source": "deepcritic",
                    "prompt": [{"role": message.role, "content": message.content} for message in task.ask(row.item).messages],
                    "ability": "critique",
                    "reward_model": {"style": "rule", "ground_truth": str(row.gold.first_error)},
                    "extra_info": {"index": index, "id": row.id},
                }
            )
    return Dataset.from_list(made)


if __name__ == "__main__":
    source, target = sys.argv[1:]
    print(rows(source).to_parquet(target), "bytes")
