"""The learning curve of a role: its accuracy on single steps in each call, at every checkpoint.

    python -m deepcritic.smallworld.curve runs/smallworld --role teacher

The solutions are by students, of problems of the validation split, so the curve may be used to choose lessons and lengths of
courses. Half of the erroneous steps are misconceptions and half random changes.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from deepcritic.schema import ALL_CORRECT
from deepcritic.smallworld.lessons import draw_changed
from deepcritic.smallworld.premises import Solution, single_calls
from deepcritic.smallworld.problems import judge


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of deepcritic.smallworld.train")
    parser.add_argument("--role", default="teacher")
    parser.add_argument("--steps", type=int, nargs="*", help="which checkpoints; default: all")
    parser.add_argument("--count", type=int, default=80, help="solutions")
    parser.add_argument("--seed", type=int, default=100)
    arguments = parser.parse_args()
    found = solutions(arguments.count, arguments.seed)
    names = {int(path.name.split("-")[1]): path for path in (arguments.folder / "checkpoints").glob(f"{arguments.role}-*[0-9]")}
    for steps in arguments.steps or sorted(names):
        for call, one in single_calls(str(names[steps]), found).items():
            shares = {"wrong_called_wrong": round(one.sensitivity, 1), "right_called_right": round(one.specificity, 1)}
            print(
                json.dumps({"role": arguments.role, "steps": steps, "call": call, **shares, "balanced": round(one.balanced, 1)}),
                flush=True,
            )


if __name__ == "__main__":
    main()
