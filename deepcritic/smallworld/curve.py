"""The learning curve of a role: what it knows of single steps at every checkpoint.

    python -m deepcritic.smallworld.curve runs/smallworld --role teacher
    python -m deepcritic.smallworld.curve runs/smallworld --role teacher --calls     # slower: also its three calls

The solutions are by students, with some random changes, of problems of the validation split, so the curve may be used to choose
lessons and lengths of courses. Half of them have an error.

Without `--calls` no text is sampled: the most likely next token is compared with the right one, after the right text. `same` and
`differ` are the shares of comparisons with that outcome that are right; `reads` is the share of stated tokens that are quoted
right where they are the first to differ from what is due; `computes` that of the due tokens there.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from deepcritic.schema import ALL_CORRECT
from deepcritic.smallworld.lessons import deliberate_critique, draw_changed, numbered
from deepcritic.smallworld.premises import Solution, single_calls
from deepcritic.smallworld.problems import judge

_COMPARED = re.compile(r"due=(\S+) said=(\S+) (same|differ)")


def solutions(count: int, seed: int) -> list[Solution]:
    """Students' solutions of `count` validation problems, about half of them with an error."""
    rng, found = random.Random(f"curve/{seed}"), list[Solution]()
    while len(found) < count:
        problem, steps = draw_changed(rng, 0.15, split="validation")
        truth = judge(problem, steps)
        assert truth is not None
        if (truth.first_error == ALL_CORRECT) == (len(found) % 2 == 0):
            found.append(Solution(problem, tuple(steps), truth.first_error))
    return found


def next_tokens(path: str, found: Sequence[Solution]) -> dict[str, float]:
    """How often the most likely token is the right one at the tokens that decide, in percent, in critiques of `found`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    hits: dict[str, list[bool]] = defaultdict(list)
    for one in found:
        question = f"{one.problem.text}\n{numbered(one.steps)}\nFirst wrong step?"
        head = tokenizer(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False)[
            "input_ids"
        ]
        reply = deliberate_critique(one.problem, one.steps)
        told = tokenizer(reply, add_special_tokens=False, return_offsets_mapping=True)
        right, spans = told["input_ids"], told["offset_mapping"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([head + right])).logits[0, len(head) - 1 :]
        likely = logits.argmax(-1).tolist()
        for match in _COMPARED.finditer(reply):
            due, said, word = (
                [at for at, (low, high) in enumerate(spans) if low < to and high > start]
                for start, to in (match.span(g) for g in (1, 2, 3))
            )
            hits[match[3]].append(likely[word[0]] == right[word[0]])
            for here, there in zip(due, said, strict=False):
                if right[here] != right[there]:
                    hits["computes"].append(likely[here] == right[here])
                    hits["reads"].append(likely[there] == right[there])
                    break
    return {name: round(100 * sum(values) / len(values), 1) for name, values in sorted(hits.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of deepcritic.smallworld.train")
    parser.add_argument("--role", default="teacher")
    parser.add_argument("--steps", type=int, nargs="*", help="which checkpoints; default: all")
    parser.add_argument("--calls", action="store_true", help="measure the three calls of stage=seed")
    parser.add_argument("--count", type=int, default=80, help="solutions")
    parser.add_argument("--seed", type=int, default=100)
    arguments = parser.parse_args()
    found = solutions(arguments.count, arguments.seed)
    names = {int(path.name.split("-")[1]): path for path in (arguments.folder / "checkpoints").glob(f"{arguments.role}-*[0-9]")}
    if not names or not set(arguments.steps or names) <= set(names):
        there = ", ".join(map(str, sorted(names))) or "none"
        parser.error(f"--steps: expected checkpoints of {arguments.role} in {arguments.folder}; found {there}")
    for steps in arguments.steps or sorted(names):
        print(json.dumps({"role": arguments.role, "steps": steps, **next_tokens(str(names[steps]), found)}), flush=True)
        if not arguments.calls:
            continue
        for call, one in single_calls(str(names[steps]), found).items():
            shares = {"wrong_called_wrong": one.sensitivity, "right_called_right": one.specificity, "balanced": one.balanced}
            rounded = {name: round(share, 1) for name, share in shares.items()}
            print(json.dumps({"role": arguments.role, "steps": steps, "call": call, **rounded}), flush=True)


if __name__ == "__main__":
    main()
