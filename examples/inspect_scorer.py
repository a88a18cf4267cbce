"""A critic as a scorer in Inspect AI: the share of its votes that find every step of a model's solution right.

python examples/inspect_scorer.py CRITIC
"""

import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from deepcritic import Critic
from deepcritic.tasks.first_error import FirstError

SMALL = "deepcritic://microworld"
PROBLEM = "Mod ten, from 7:\n1)*1\n2)-1\n3)-7\n4)+2"
WORK = "Step 1: 7*1=7\nStep 2: 7-1=6\nStep 3: 6-7=9\nStep 4: "
REPLIES = [WORK + "9+2=1\n\\boxed{1}", WORK + "9+2=2\n\\boxed{2}", ""]  # right, wrong, nothing


@scorer(metrics=[mean(), stderr()])
def accepted(critic: Critic) -> Scorer:
    """No reference answer is needed. A sample without a readable vote is not scored, since that is not the model's fault."""

    async def score(state: TaskState, target: Target) -> Score:
        if not state.output.completion.strip():
            return Score(value=0.0, explanation="an empty reply")
        found = await critic.acritique(state.input_text, state.output.completion)
        if found.acceptance is None:
            return Score.unscored(reason=found.note)
        return Score(value=found.acceptance, explanation=found.text, metadata={"first_error": found.first_error})

    return score


def main(model: str = f"{SMALL}/models/base") -> None:
    outputs = [ModelOutput.from_content("mockllm", text) for text in REPLIES]  # replace by any of Inspect's models
    for output in outputs:
        output.usage = ModelUsage()
    replies = get_model("mockllm/model", custom_outputs=outputs)
    task = FirstError(f"{SMALL}/templates/critique.txt")  # omit for a model that knows the built-in prompt
    with Critic(model, task=task, samples=4, max_tokens=224) as critic:
        solve = Task(dataset=[Sample(input=PROBLEM) for _ in REPLIES], scorer=accepted(critic))
        (log,) = eval(solve, model=replies, log_dir="runs/inspect", display="none", max_samples=1)
    for sample in log.samples or []:
        print(sample.output.completion.replace("\n", " "), {name: score.value for name, score in (sample.scores or {}).items()})
    print(log.status)


if __name__ == "__main__":
    main(*sys.argv[1:])
