"""Training in the small world beside plain TRL scripts with the same settings, in separate processes, in alternation.

scripts/bench training

SFT: tokens a second of the training loop; both sides group by length. GRPO: useful completions a second, those of groups
with different rewards (the others have no advantage), over the time of the whole command after imports, including
the prefilter and discarded groups. Seconds are processor seconds on one thread, since the machine may be
shared; wall-clock seconds are also given. The GPU bench runs last, and prints a message if there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from table import row, write

HERE = Path(__file__).resolve()
SIDES = ("ours", "trl")
SFT = {
    "learning_rate": 1e-3, "max_steps": 60, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 1,
    "max_length": 512, "warmup_steps": 0.1, "save_steps": 50, "logging_steps": 10, "lr_scheduler_type": "cosine", "seed": 0,
}  # fmt: skip
CRITIC_STEPS, DIALOGUES, PROMPTS = 96, 220, 400
"""Steps of SFT before GRPO: 96. A better critic has fewer groups with an advantage on both sides: after 224
steps, with 98 of 100 verdicts right, the ratio of useful completions a second is 1.15 (one round)."""
GRPO: dict[str, Any] = {
    "max_steps": 40, "num_generations": 8, "per_device_train_batch_size": 128, "gradient_accumulation_steps": 1,
    "learning_rate": 1e-4, "beta": 0.0, "epsilon_high": 0.28, "temperature": 1.0, "max_completion_length": 200,
    "warmup_steps": 0.05, "save_steps": 10, "logging_steps": 1, "seed": 0, "mask_truncated_completions": True,
    "lr_scheduler_type": "constant_with_warmup",
}  # fmt: skip
COMPLETIONS = GRPO["per_device_train_batch_size"]
ON_CPU = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "disable_tqdm": True}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3, help="how often the sides alternate for SFT; for GRPO one less")
    options.add_argument("--steps", type=int, help="fewer steps, to try the bench itself: nothing is written")
    options.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options.add_argument("--what", choices=("sft", "grpo"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.side:
        run_side(given.side, given.what, given.steps)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_data(folder)
        found: dict[str, list[dict[str, float]]] = {f"{what} {side}": [] for what in ("sft", "grpo") for side in SIDES}
        for turn in range(given.rounds):
            for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                found[f"sft {side}"].append(start(side, "sft", folder, turn, given.steps))
        start("ours", "critic", folder, 0, given.steps)
        for turn in range(max(1, given.rounds - 1)):
            for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                found[f"grpo {side}"].append(start(side, "grpo", folder, turn, given.steps))
    if given.steps is None:
        tell(found)
    print(json.dumps(found))
    subprocess.run([sys.executable, str(HERE.with_name("training_gpu.py"))], check=True)


def tell(found: dict[str, list[dict[str, float]]]) -> None:
    """Medians over the rounds, and the ratio of the two sides."""

    def middle(side: str, figure: str) -> float:
        return median(one[figure] for one in found[side])

    def pair(title: str, what: str, figure: str, **bound: float) -> Any:
        return row(title, middle(f"{what} ours", figure), middle(f"{what} trl", figure), **bound)

    write(
        "training",
        [
            pair("SFT: tokens a second of the loop", "sft", "rate", at_least=1.0),
            pair("SFT: the same by the clock", "sft", "clock_rate"),
            pair("SFT: tokens a second of the whole command, without imports", "sft", "whole_rate"),
            pair("GRPO: useful completions a second", "grpo", "rate", at_least=1.3),
            pair("GRPO: the same by the clock", "grpo", "clock_rate"),
            pair("GRPO: share of completions that are useful", "grpo", "useful"),
            pair("GRPO: mean reward of the last ten steps", "grpo", "reward"),
        ],
        rounds=found, sft=SFT, grpo=GRPO, dialogues=DIALOGUES, prompts=PROMPTS, threads=1,
    )  # fmt: skip


def start(side: str, what: str, folder: Path, turn: int, steps: int | None) -> dict[str, float]:
    """Run one side in a separate process; returns its measurements."""
    place = folder / f"{what}.{side}.{turn}"
    place.mkdir()
    words = [sys.executable, str(HERE), "--side", side, "--what", "sft" if what == "critic" else what]
    count = CRITIC_STEPS if what == "critic" and steps is None else steps
    words += ["--steps", str(count)] if count else []
    package = str(HERE.parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": package, "TQDM_DISABLE": "1"}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} {side}: {done.stderr[-2000:]}")
    if what == "critic":
        (place / "runs" / "bench" / "sft" / "model").rename(folder / "critic")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{what} {side}: {figures}", flush=True)
    return figures


def make_data(folder: Path) -> None:
    """Dialogues for SFT and labelled solutions for GRPO, in the small world."""
    from deepcritic.microworld.lessons import deep_critique
    from deepcritic.microworld.world import Problem, draw_problem, judge, write_solution
    from deepcritic.runs.jsonl import write_rows
    from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Gold, Item, Message

    task, rng = critic_task(), random.Random(0)
    dialogues, examples = [], []
    for index in range(DIALOGUES + PROMPTS):
        problem = draw_problem(rng, "train", (3, 4))
        while True:
            steps = write_solution(problem, rng, {"slip": 0.1, "operand": 0.1})
            truth = judge(problem, steps)
            if truth is not None and (truth.first_error == ALL_CORRECT) == (index % 2 == 0):
                break
        item, gold = Item(problem=problem.text, steps=tuple(steps)), Gold(first_error=truth.first_error)
        question = task.ask(item).messages
        if index < DIALOGUES:
            reply = Message(role="assistant", content=deep_critique(Problem.read(problem.text), list(steps)))
            dialogues.append(Dialogue(id=f"d{index}", task=task.name, messages=(*question, reply), verdict=truth.first_error))
        else:
            examples.append(Example(id=f"p{index}", item=item, gold=gold, source="bench"))
    write_rows(folder / "dialogues.jsonl", dialogues)
    write_rows(folder / "examples.jsonl", examples)


def critic_task() -> Any:
    from deepcritic.tasks.first_error import FirstError

    return FirstError("deepcritic://microworld/templates/critique.txt")


def run_side(side: str, what: str, steps: int | None) -> None:
    """One side, in its own process and folder; prints its measurements as the last line."""
    import torch
    from transformers import Trainer
    from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer  # noqa: F401  # the time of imports is nobody's

    import deepcritic.stages.rl
    import deepcritic.stages.sft  # noqa: F401

    torch.set_num_threads(1)
    loop: dict[str, float] = {}
    inner = Trainer.train

    def timed(self: Any, *words: Any, **options: Any) -> Any:
        cpu, clock = time.process_time(), time.monotonic()
        outcome = inner(self, *words, **options)
        loop.update(cpu=time.process_time() - cpu, clock=time.monotonic() - clock)
        return outcome

    Trainer.train = timed
    settings = {**(SFT if what == "sft" else GRPO), **({"max_steps": steps} if steps else {})}
    cpu, clock = time.process_time(), time.monotonic()
    log = (ours if side == "ours" else bare)(what, settings)
    whole, whole_clock = time.process_time() - cpu, time.monotonic() - clock
    if what == "sft":
        tokens = max(line["num_tokens"] for line in log if "num_tokens" in line)
        figures = {"rate": tokens / loop["cpu"], "clock_rate": tokens / loop["clock"], "whole_rate": tokens / whole}
        figures |= {"tokens": tokens, "loss": [*(line["loss"] for line in log if "loss" in line), float("nan")][-2:][0]}
    else:
        shares: list[float] = [1 - line["frac_reward_zero_std"] for line in log if "frac_reward_zero_std" in line]
        rewards = [line["reward"] for line in log if "reward" in line]
        useful = float(COMPLETIONS * sum(shares))
        figures = {"rate": useful / whole, "clock_rate": useful / whole_clock, "useful": sum(shares) / len(shares)}
        figures |= {"reward": sum(rewards[-10:]) / len(rewards[-10:]), "loop": loop["cpu"], "seconds": whole}
    print(json.dumps(figures))


def ours(what: str, settings: dict[str, Any]) -> list[dict[str, float]]:
    """Train with the package's command; the log is the trainer's, as for the other side."""
    from transformers import Trainer

    from deepcritic.__main__ import main as command

    kept: list[Trainer] = []
    inner = Trainer.train

    def train(self: Trainer, *words: Any, **options: Any) -> Any:
        kept.append(self)
        return inner(self, *words, **options)

    Trainer.train = train
    words = [f"stage.{name}={settings[name]}" for name in ("learning_rate", "save_steps", "logging_steps")]
    if what == "sft":
        words += ["experiment=microworld/sft", "stage.dialogues=../dialogues.jsonl", f"stage.max_steps={settings['max_steps']}"]
    else:
        words += ["experiment=microworld/rl", "stage.examples=../examples.jsonl", "model=../critic"]
        words += [f"stage.steps={settings['max_steps']}"]
    if command([*words, "run=bench"]):
        raise SystemExit("the command failed")
    log: list[dict[str, float]] = kept[0].state.log_history
    return log


def bare(what: str, settings: dict[str, Any]) -> list[dict[str, float]]:
    """A script with only TRL: a data set of messages, TRL's trainer and generation, the saved model."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

    from deepcritic.rewards import judgment_reward
    from deepcritic.shipped_models import shipped_path

    origin = shipped_path("deepcritic://microworld/models/base") if what == "sft" else "../critic"
    tokenizer = AutoTokenizer.from_pretrained(origin)
    model = AutoModelForCausalLM.from_pretrained(origin, dtype="float32")
    trainer: Any
    if what == "sft":
        rows = [json.loads(line) for line in Path("../dialogues.jsonl").read_text("utf-8").splitlines()]
        data = [{"prompt": one["messages"][:-1], "completion": one["messages"][-1:]} for one in rows]
        arguments = SFTConfig(
            output_dir="out", train_sampling_strategy="group_by_length", completion_only_loss=True, save_total_limit=2,
            **ON_CPU, **settings,
        )  # fmt: skip
        trainer = SFTTrainer(model=model, args=arguments, processing_class=tokenizer, train_dataset=Dataset.from_list(data))
    else:
        from deepcritic.runs.jsonl import read_rows
        from deepcritic.schema import Example

        task = critic_task()
        data = [
            {
                "prompt": [{"role": message.role, "content": message.content} for message in task.ask(one.item).messages],
                "first_error": one.gold.first_error,
            }
            for one in read_rows(Path("../examples.jsonl"), Example)
        ]
        trainer = GRPOTrainer(
            model=model, args=GRPOConfig(output_dir="out", save_total_limit=2, **ON_CPU, **settings), processing_class=tokenizer,
            reward_funcs=judgment_reward, train_dataset=Dataset.from_list(data),
        )  # fmt: skip
    trainer.train()
    trainer.save_model("out/model")
    log: list[dict[str, float]] = trainer.state.log_history
    return log


if __name__ == "__main__":
    main()
