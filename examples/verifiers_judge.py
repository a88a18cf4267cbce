"""A critic as a judge in verifiers: the reward of a rollout is the share of its votes that find every step right.

python examples/verifiers_judge.py CRITIC
"""

import asyncio
import sys

import verifiers.v1 as vf

from deepcritic import Critic
from deepcritic.tasks.first_error import FirstError

SMALL = "deepcritic://microworld"
PROBLEM = "Mod ten, from 7:\n1)*1\n2)-1\n3)-7\n4)+2"
WORK = "Step 1: 7*1=7\nStep 2: 7-1=6\nStep 3: 6-7=9\nStep 4: "
REPLIES = [WORK + "9+2=1\n\\boxed{1}", WORK + "9+2=2\n\\boxed{2}", ""]  # right, wrong, nothing


class CriticJudge(vf.Judge[float]):
    """No reference answer is needed. Without a readable vote it raises: the rollout is an error, not a reward of 0."""

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    async def score(self, task: vf.TaskData, trace: vf.Trace) -> float:
        if not trace.last_reply.strip():
            return 0.0
        found = await self.critic.acritique(task.prompt_text, trace.last_reply)
        if found.acceptance is None:
            raise ValueError(f"the critic gives no verdict: {found.note}")
        trace.info["first_error"] = found.first_error
        return found.acceptance


class Solve(vf.Task[vf.TaskData]):
    def __init__(self, data: vf.TaskData, judge: CriticJudge) -> None:
        super().__init__(data)
        self.judge = judge

    @vf.reward
    async def accepted(self, trace: vf.Trace) -> float:
        return await self.judge.score(self.data, trace)


def rollout(task: Solve, reply: str) -> vf.Trace:
    """The state that an environment passes after its model wrote `reply`."""
    nodes = [vf.MessageNode(message=vf.UserMessage(content=task.data.prompt_text))]
    nodes.append(vf.MessageNode(message=vf.AssistantMessage(content=reply), parent=0, sampled=True))
    return vf.Trace(task=vf.TraceTask(type="Solve", data=task.data), agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=nodes)


def main(model: str = f"{SMALL}/models/base") -> None:
    instructions = FirstError(f"{SMALL}/templates/critique.txt")  # omit for a model that knows the built-in prompt
    with Critic(model, task=instructions, samples=4, max_tokens=224) as critic:
        task = Solve(vf.TaskData(prompt=PROBLEM), CriticJudge(critic))
        for reply in REPLIES:
            trace = rollout(task, reply)
            asyncio.run(task.score(trace))
            print(reply.replace("\n", " "), trace.rewards)


if __name__ == "__main__":
    main(*sys.argv[1:])
