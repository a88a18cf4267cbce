"""A taskset in verifiers that trains critics: the model judges a labelled solution, and earns 1 for the right first error.

python examples/verifiers_environment.py LABELLED.jsonl

LABELLED.jsonl holds rows of stage=label or stage=prepare. In verifiers, the taskset's id is the name of this module, and
`--env.taskset.path` the file.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import verifiers.v1 as vf

from deepcritic.datasets import examples
from deepcritic.microworld.source import written
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Gold
from deepcritic.tasks.first_error import FirstError

__all__ = ["LabelledSolutions"]
TASK = FirstError()


class LabelledConfig(vf.TasksetConfig):
    path: str = ""


class Solution(vf.TaskData):
    """The prompt is about the solution alone; only the reward reads `first_error`."""

    first_error: int


class Judge(vf.Task[Solution]):
    @vf.reward
    async def judgment(self, trace: vf.Trace) -> float:
        return TASK.reward(TASK.parse(trace.last_reply), Gold(first_error=self.data.first_error))


class LabelledSolutions(vf.Taskset[Judge, LabelledConfig]):
    def load(self) -> Iterator[Judge]:
        for row in examples.read(self.config.path):
            if isinstance(row.gold.first_error, int):  # rows without a label are left out
                prompt = "\n\n".join(turn.content for turn in TASK.ask(row.item).messages)
                yield Judge(Solution(id=row.id, prompt=prompt, first_error=row.gold.first_error))


def rollout(task: Judge, reply: str) -> vf.Trace:
    """The state that an environment passes after its model wrote `reply`."""
    nodes = [vf.MessageNode(message=vf.UserMessage(content=task.data.prompt_text))]
    nodes.append(vf.MessageNode(message=vf.AssistantMessage(content=reply), parent=0, sampled=True))
    return vf.Trace(task=vf.TraceTask(type="Judge", data=task.data), agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=nodes)


def main(path: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = str(Path(folder) / "labelled.jsonl")
            write_rows(Path(path), written(split="train", count=4, seed=0, lengths=(3, 4)))
        for task in LabelledSolutions(LabelledConfig(id="verifiers_environment", path=path)).take(4):
            for reply in (TASK.format(task.data.first_error), "All steps are right. \\boxed{-1}", "I cannot tell."):
                trace = rollout(task, reply)
                asyncio.run(task.score(trace))
                print(task.data.id, reply, trace.rewards)


if __name__ == "__main__":
    main(*sys.argv[1:])
