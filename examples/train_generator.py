"""Train a generator on a critic's step reward, through the service, and on the outcome reward, with equally many samples.

    scripts/demo && python examples/train_generator.py runs/demo/rl/model --steps 40

GRPO trains the same generator twice, on the same problems with equally many samples: once on the critic's reward, without
reference answers, and once on the correctness of the final answer. Prints the share of right answers on test problems that
neither generator nor critic was trained on, and the paired differences, each with its 95% interval over the problems.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.metrics.bootstrap import mean_interval
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
PAIRS = (("critic", "before"), ("outcome", "before"), ("critic", "outcome"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("critic", nargs="?", default=f"{SMALL}/models/base", help="a model of the small world")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of 16 prompts with 8 solutions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tested", type=int, default=1000, help="test problems")
    parser.add_argument("--port", type=int, default=8766)
    arguments = parser.parse_args()
    steps, seed, tested = arguments.steps, arguments.seed, arguments.tested
    right = {"before": answers_right(*generator(), tested, seed)}
    with service(arguments.critic, arguments.port) as url:
        right["critic"] = trained(service_reward(url, per="step", samples=2), steps, seed, tested)
    right["outcome"] = trained(outcome_reward, steps, seed, tested)
    differences = {f"{name} - {than}": right[name] - right[than] for name, than in PAIRS}
    print(json.dumps({"seed": seed, "samples": 128 * steps, **{name: share(one) for name, one in (right | differences).items()}}))


def generator() -> tuple[Any, Any]:
    return load_model(f"{SMALL}/models/generator"), load_tokenizer(f"{SMALL}/models/generator")


def trained(reward: Any, steps: int, seed: int, tested: int) -> np.ndarray[Any, Any]:
    model, tokenizer = generator()
    train(model, tokenizer, reward, steps, seed)
    return answers_right(model, tokenizer, tested, seed)


def share(values: np.ndarray[Any, Any]) -> list[float]:
    """The mean and its interval, in percent or points."""
    return [round(float(number), 1) for number in (values.mean(), *mean_interval(values))]


@contextlib.contextmanager
def service(critic: str, port: int) -> Iterator[str]:
    """The address of a service in a separate process, as on another machine."""
    words = [f"model={critic}", f"task.template={SMALL}/templates/critique.txt", f"port={port}", "max_tokens=224"]
    process = subprocess.Popen([sys.executable, "-m", "deepcritic", "serve", *words])
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def train(model: Any, tokenizer: Any, reward: Any, steps: int, seed: int) -> None:
    """TRL's GRPO with one reward function."""
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
    """1 if the final answer equals the reference answer, else 0."""
    return [float(last_boxed(reply_text(text)) == right) for text, right in zip(completions, answer, strict=True)]


def answers_right(model: Any, tokenizer: Any, count: int, seed: int) -> np.ndarray[Any, Any]:
    """For each test problem: 100 if the answer of one sample at temperature 1 is right, else 0."""
    rows = {row.id: row for row in problems(split="test", count=count, seed=1000 + seed, lengths=LENGTHS)}
    keys = {name: Key(example_id=name, request="solve") for name in rows}
    requests = [
        Request(
            keys=(keys[name],), seeds=(sample_seed(seed, keys[name]),), sampling=Sampling(max_tokens=TOKENS),
            messages=tuple(Message(**turn) for turn in question(row.item.problem)),
        )
        for name, row in rows.items()
    ]  # fmt: skip
    right = dict.fromkeys(rows, 0.0)
    with TransformersSampler.of(model.eval(), tokenizer, "generator") as sampler:
        for reply in sampler.stream(requests):
            name = reply.key.example_id
            right[name] = 100.0 * (isinstance(reply, Generation) and last_boxed(reply.text) == rows[name].gold.reference_answer)
    return np.array(list(right.values()))


def question(problem: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{problem}\nSolve step by step."}]


if __name__ == "__main__":
    main()
