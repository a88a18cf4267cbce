"""GRPO of a *generator* with a critic's verdicts on its solutions as the reward. No reference answers are needed.

python examples/generator_reward.py CRITIC GENERATOR
"""

import sys

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from deepcritic import Critic
from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.microworld.source import problems
from deepcritic.rewards import CriticReward
from deepcritic.tasks.first_error import FirstError

SMALL = "deepcritic://microworld"


def main(
    critic_model: str = f"{SMALL}/models/base", generator_model: str = f"{SMALL}/models/generator", steps: str = "2"
) -> None:
    rows = [
        {"prompt": [{"role": "user", "content": f"{row.item.problem}\nSolve step by step."}], "problem": row.item.problem}
        for row in problems(split="train", count=64, seed=0, lengths=[3, 4])
    ]
    on_cpu = load_model(generator_model).device.type == "cpu"
    config = GRPOConfig(
        output_dir="runs/generator", max_steps=int(steps), per_device_train_batch_size=16, num_generations=4, learning_rate=1e-5,
        max_completion_length=96, report_to=[], use_cpu=on_cpu, bf16=not on_cpu, gradient_checkpointing=not on_cpu,
        save_strategy="no", logging_steps=1,
    )  # fmt: skip
    task = FirstError(f"{SMALL}/templates/critique.txt")  # omit for a model that knows the built-in prompt
    with Critic(critic_model, task=task, samples=2, max_tokens=224) as critic:
        trainer = GRPOTrainer(
            model=load_model(generator_model), args=config, processing_class=load_tokenizer(generator_model),
            reward_funcs=CriticReward(critic), train_dataset=Dataset.from_list(rows),
        )  # fmt: skip
        trainer.train()
    print([entry["reward"] for entry in trainer.state.log_history if "reward" in entry])


if __name__ == "__main__":
    main(*sys.argv[1:])
