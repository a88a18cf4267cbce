"""A critic improves a generator's answers: critique, then rewrite from the first wrong step.

python examples/better_answers.py CRITIC GENERATOR
"""

import sys

from deepcritic import Critic, refine
from deepcritic.samplers.transformers import TransformersSampler
from deepcritic.tasks.first_error import FirstError

SMALL = "deepcritic://microworld"  # the small world's models and prompts, included in the package
PROBLEM = "Mod ten, from 7:\n1)*1\n2)-1\n3)-7"
SOLUTION = "Step 1: 7*1=6\nStep 2: 6-1=5\nStep 3: 5-7=8\n\\boxed{8}"  # the first step is wrong
REWRITE = f"{SMALL}/templates/refine.txt"


def main(critic_model: str = f"{SMALL}/models/base", generator_model: str = f"{SMALL}/models/generator") -> None:
    task = FirstError(f"{SMALL}/templates/critique.txt")  # omit for a model that knows the built-in prompt
    with Critic(critic_model, task=task, samples=4, max_tokens=224) as critic, TransformersSampler(generator_model) as generator:
        critique = critic.critique(PROBLEM, SOLUTION)
        print(f"first wrong step: {critique.first_error}, agreement {critique.agreement:.0%}")
        done = refine(PROBLEM, SOLUTION, generator=generator, critic=critic, max_tokens=96, template=REWRITE)
        print(f"answer: {done.answer} ({done.outcome}, {done.tokens} tokens)")


if __name__ == "__main__":
    main(*sys.argv[1:])
