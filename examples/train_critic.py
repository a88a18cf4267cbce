"""The whole recipe of DeepCritic in one file: from a teacher's critiques to a critic trained with RL.

    python examples/train_critic.py                # minutes on two cores, without GPU or download
    python examples/train_critic.py --fast         # a minute, as a test; its figures mean nothing

It uses the small world: arithmetic modulo ten, where the truth of every step is known, with models included in the package.
For real mathematics, replace the models by folders or hub ids, `TransformersSampler` by `VLLMSampler`, the problems by
`deepcritic.datasets.math_problems.numina`, and omit the templates. Each stage is also a command:
`python -m deepcritic stage=...`. A killed program resumes when it is started again.
"""

import argparse
import functools
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepcritic.datasets import examples
from deepcritic.datasets.benchmark import Benchmark
from deepcritic.microworld import source
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.transformers import TransformersSampler
from deepcritic.stages import evaluate, label, prepare, rl, rollout, seed, sft, solve
from deepcritic.tasks.first_error import FirstError

SMALL = "deepcritic://microworld"
BASE, GENERATOR, TEACHER = (f"{SMALL}/models/{name}" for name in ("base", "generator", "teacher"))
TEMPLATES = f"{SMALL}/templates"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="small numbers")
    parser.add_argument("--runs", type=Path, default=Path("runs/train_critic"), help="where the stages write")
    arguments = parser.parse_args()
    train(arguments.runs, fast=arguments.fast)


def train(runs: Path, *, fast: bool) -> dict[str, float]:
    """F1 of the base critic, after SFT, and after RL."""
    sampler = TransformersSampler  # called with model=...; VLLMSampler or OpenAISampler can replace it
    task = FirstError(f"{TEMPLATES}/critique.txt")  # the prompt, the parser of replies, and the reward

    # 1. Solutions with rated steps. PRM800K has them for mathematics; here the small world judges its own generator.
    solutions = solved(runs, "seed", problems=8 if fast else 220, samples=1, keep="all")
    rated = judged(runs, "rated", solutions)

    # 2. Seed critiques. For each rated step the teacher writes an initial critique, then in-depth ones until one agrees with
    #    the label, and merges both. Critiques that disagree with the label are dropped. The first call does not see the label.
    options = seed.SeedOptions(
        examples=str(rated), teacher=TEACHER,
        initial_template=f"{TEMPLATES}/initial.txt", in_depth_template=f"{TEMPLATES}/in_depth.txt",
        merge_template=f"{TEMPLATES}/merge.txt", heading="", system=None, in_depth_samples=4, wave_size=2, top_p=1.0,
        critique_max_tokens=48, merge_max_tokens=64, plain_correct=40,
    )  # fmt: skip
    with folder(runs, "seed", options) as place:
        seed.run(place, options, task=task, sampler=sampler)

    # 3. Supervised fine-tuning on the dialogues. The loss covers only the reply.
    tuning = sft.SFTOptions(
        dialogues=str(runs / "seed" / "dialogues.jsonl"), model=BASE, learning_rate=1e-3, epochs=1 if fast else 16,
        batch_size=4 if fast else 16, device_batch_size=4 if fast else 16, max_length=512, max_steps=2 if fast else -1,
        save_steps=50,
    )  # fmt: skip
    with folder(runs, "sft", tuning) as place:
        sft.run(place, tuning, task=task)
    tuned = str(runs / "sft" / "model")

    # 4. More labels without people. Eight solutions per problem; problems with right and wrong ones keep one of each. Each
    #    prefix is continued until the rule decides: the first step after which no continuation is right is the first wrong one.
    solutions = solved(runs, "rl", problems=8 if fast else 200, samples=8, keep="contrast")
    continuing = rollout.RolloutOptions(
        solutions=str(solutions), generator=GENERATOR, template=f"{TEMPLATES}/solve.txt", samples=4, max_tokens=96,
        rule="zero_of_k",
    )  # fmt: skip
    with folder(runs, "rollout", continuing) as place:
        rollout.run(place, continuing, sampler=sampler)
    labelling = label.LabelOptions(
        solutions=str(solutions), rollouts=str(runs / "rollout" / "generations.jsonl"), rule="zero_of_k", samples=4
    )
    with folder(runs, "label", labelling) as place:
        label.run(place, labelling, task=task)

    # 5. Reinforcement learning: GRPO with reward 1 if the critic names the labelled step. Prompts that the critic gets
    #    always right or always wrong have no advantage and are excluded.
    reinforcing = rl.RLOptions(
        examples=str(runs / "label" / "labelled.jsonl"), model=tuned, steps=2 if fast else 40,
        prompts_per_step=2 if fast else 16, num_generations=2 if fast else 8, device_batch_size=4 if fast else 128,
        prefilter_samples=0 if fast else 4, learning_rate=1e-4, beta=0.0, max_tokens=200, all_correct_share=0.5, save_steps=10,
    )  # fmt: skip
    with folder(runs, "rl", reinforcing) as place:
        rl.run(place, reinforcing, task=task, sampler=sampler)

    # 6. Measure. No training text contains a test problem.
    solutions = solved(runs, "test", problems=8 if fast else 1000, samples=1, keep="all", split="test")
    test = judged(runs, "test_rated", solutions)
    critics = {"base": BASE, "sft": tuned, "rl": str(runs / "rl" / "model")}
    return {name: measured(runs, name, model, test, task, sampler) for name, model in critics.items()}


def solved(runs: Path, name: str, *, problems: int, samples: int, keep: str, split: str = "train") -> Path:
    """Solutions by the generator, to problems drawn separately for each `name`."""
    drawn = prepare.PrepareOptions(seed=len(name))
    reader = functools.partial(source.problems, split=split, count=problems, seed=len(name))
    with folder(runs, f"prepare.{name}", drawn, source=reader.keywords) as place:
        prepare.run(place, drawn, source=reader)
    options = solve.SolveOptions(
        problems=str(runs / f"prepare.{name}" / "examples.jsonl"), generator=GENERATOR, template=f"{TEMPLATES}/solve.txt",
        samples=samples, keep=keep, max_tokens=96,
    )  # fmt: skip
    with folder(runs, f"solve.{name}", options) as place:
        solve.run(place, options, sampler=TransformersSampler)
    return runs / f"solve.{name}" / "solutions.jsonl"


def judged(runs: Path, name: str, solutions: Path) -> Path:
    """The same solutions with the true label of each step."""
    options = prepare.PrepareOptions()
    reader = functools.partial(source.judged, path=str(solutions))
    with folder(runs, f"prepare.{name}", options, source=reader.keywords) as place:
        prepare.run(place, options, source=reader)
    return runs / f"prepare.{name}" / "examples.jsonl"


def measured(runs: Path, name: str, model: str, test: Path, task: FirstError, sampler: Any) -> float:
    benchmark = Benchmark(name="small world", reader=examples.read, path=str(test), license=None, split=None, metric="F1")
    options = evaluate.EvaluateOptions(model=model, max_tokens=224)
    with folder(runs, f"evaluate.{name}", options) as place:
        metrics = evaluate.run(place, options, benchmark=benchmark, task=task, sampler=sampler)
    print(f"{name}: F1 {metrics['f1']}, 95% interval {metrics['f1_interval']}")
    return float(metrics["f1"] or 0.0)


def folder(runs: Path, name: str, options: Any, **more: Any) -> RunFolder:
    """The folder of a stage. Its options are saved with its rows; starting it with other options is an error."""
    return RunFolder(runs / name, stage=name.partition(".")[0], config=asdict(options) | more)


if __name__ == "__main__":
    main()
