"""Train a generator on a critic's step reward alone, through the service, beside the outcome reward at equal samples.

    python examples/train_generator.py CRITIC --steps 40      # CRITIC: a model of the small world, such as runs/demo/rl/model

No reference answer is used with `--reward critic`; `--reward outcome` compares final answers instead. Prints the share of right
answers on test problems before and after.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.microworld.source import problems
from deepcritic.rewards import reply_text
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.transformers import TransformersSampler
from deepcritic.schema import Generation, Key, Message, sample_seed
from deepcritic.service.reward import service_reward
from deepcritic.text.parsing import last_boxed

SMALL = "deepcritic://microworld"
LENGTHS = [4, 5, 6]
TOKENS = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("critic", nargs="?", default=f"{SMALL}/models/base")
    parser.add_argument("--reward", choices=("critic", "outcome"), default="critic")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of 16 prompts with 8 solutions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tested", type=int, default=1000, help="test problems")
    parser.add_argument("--port", type=int, default=8766)
    arguments = parser.parse_args()
    service = start_service(arguments.critic, arguments.port) if arguments.reward == "critic" else None
    try:
        reward = service_reward(f"http://127.0.0.1:{arguments.port}", per="step", samples=2) if service else outcome_reward
        model, tokenizer = load_model(f"{SMALL}/models/generator"), load_tokenizer(f"{SMALL}/models/generator")
        before = accuracy(model, tokenizer, arguments.tested, arguments.seed)
        train(model, tokenizer, reward, arguments.steps, arguments.seed)
        after = accuracy(model, tokenizer, arguments.tested, arguments.seed)
    finally:
        if service:
            service.terminate()
            service.wait(30)
    print(json.dumps({"reward": arguments.reward, "seed": arguments.seed, "before": before, "after": after}))


def start_service(critic: str, port: int) -> subprocess.Popen[bytes]:
    """The service in a process of its own, as it would run on another machine."""
    words = [f"model={critic}", f"task.template={SMALL}/templates/critique.txt", f"port={port}", "max_tokens=224"]
    service = subprocess.Popen([sys.executable, "-m", "deepcritic", "serve", *words])
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            return service
        except OSError:
            if service.poll() is not None:
                raise
            time.sleep(0.2)
    raise TimeoutError("the service did not start")


def train(model: Any, tokenizer: Any, reward: Any, steps: int, seed: int) -> None:
    """GRPO as TRL does it, with one reward function."""
    rows = [
        {"prompt": question(row.item.problem), "problem": row.item.problem, "answer": row.gold.reference_answer}
        for row in problems(split="train", count=16 * steps, seed=seed, lengths=LENGTHS)
    ]
    on_cpu = model.device.type == "cpu"
    config = GRPOConfig(
        output_dir="runs/generator", max_steps=steps, per_device_train_batch_size=128, num_generations=8, learning_rate=1e-4,
        max_completion_length=TOKENS, beta=0.0, seed=seed, report_to=[], use_cpu=on_cpu, bf16=not on_cpu,
        gradient_checkpointing=False, save_strategy="no", logging_steps=5,
    )  # fmt: skip
    GRPOTrainer(
        model=model, args=config, processing_class=tokenizer, reward_funcs=reward, train_dataset=Dataset.from_list(rows)
    ).train()


def outcome_reward(completions: Any, answer: Any, **_: Any) -> list[float]:
    """1 where the final answer is the reference answer."""
    return [float(last_boxed(reply_text(text)) == right) for text, right in zip(completions, answer, strict=True)]


def accuracy(model: Any, tokenizer: Any, count: int, seed: int) -> float:
    """The share of right answers, in percent, on test problems at temperature 1."""
    rows = {row.id: row for row in problems(split="test", count=count, seed=1000 + seed, lengths=LENGTHS)}
    keys = {name: Key(example_id=name, request="solve") for name in rows}
    requests = [
        Request(
            keys=(keys[name],), seeds=(sample_seed(seed, keys[name]),), sampling=Sampling(max_tokens=TOKENS),
            messages=tuple(Message(**turn) for turn in question(row.item.problem)),
        )
        for name, row in rows.items()
    ]  # fmt: skip
    right = 0
    with TransformersSampler.of(model.eval(), tokenizer, "generator") as sampler:
        for reply in sampler.stream(requests):
            right += isinstance(reply, Generation) and last_boxed(reply.text) == rows[reply.key.example_id].gold.reference_answer
    model.train()
    return 100 * right / count


def question(problem: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{problem}\nSolve step by step."}]


if __name__ == "__main__":
    main()
