"""The JSON requests and responses of the service. Field names are those of `deepcritic.Critique`.

Sizes are limited here, so that a large request is rejected (422) before the engine sees it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_CHARACTERS = 200_000
MOST_STEPS = 1_000
MOST_ITEMS = 1_024
MOST_SAMPLES = 64

Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Label = Annotated[int, Field(ge=-1)] | Annotated[str, Field(pattern=r"^\s*(-1|[1-9][0-9]{0,5})\s*$")]
"""The first wrong step, from 1, or -1 if all are right. 0 is invalid."""


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _check_either(solution: str | None, steps: list[str] | None) -> None:
    if (solution is None) == (steps is None):
        raise ValueError("expected either solution (a text) or steps (a list of texts)")


class Solution(Message):
    """A problem and its solution: `solution` is split into steps, `steps` is used unchanged."""

    problem: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS, examples=["What is 1 + 1 + 3?"])]
    solution: Text | None = Field(default=None, examples=["Step 1: 1 + 1 = 2\nStep 2: 2 + 3 = 6"])
    steps: Annotated[list[Text], Field(min_length=1, max_length=MOST_STEPS)] | None = None
    id: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="Returned with the answer.")

    @model_validator(mode="after")
    def _either(self) -> Solution:
        _check_either(self.solution, self.steps)
        return self


class Asking(Message):
    """Settings of a critique. Absent ones default to the service's."""

    samples: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] | None = Field(
        default=None, description="Number of critiques per vote."
    )
    budget: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Maximum completion tokens in total.")
    timeout: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Deadline in seconds, at most the service's.")


class CritiqueBody(Asking):
    """The body of `POST /v1/critiques`: one solution (`problem`, with `solution` or `steps`), or several as `items`. With
    `stream`, each answer is sent when it is ready, one JSON object per line."""

    problem: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)] | None = None
    solution: Text | None = None
    steps: Annotated[list[Text], Field(min_length=1, max_length=MOST_STEPS)] | None = None
    id: Annotated[str, Field(max_length=200)] | None = None
    items: Annotated[list[Solution], Field(min_length=1, max_length=MOST_ITEMS)] | None = None
    stream: bool = False

    @model_validator(mode="after")
    def _one_or_many(self) -> CritiqueBody:
        if self.items is not None:
            if {self.problem, self.solution, self.id} != {None} or self.steps is not None:
                raise ValueError("expected either items or one problem, not both")
        elif self.problem is None:
            raise ValueError("expected a problem with its solution or steps, or several as items")
        else:
            _check_either(self.solution, self.steps)
        return self

    @property
    def solutions(self) -> list[Solution]:
        if self.items is not None:
            return self.items
        return [Solution.model_construct(problem=self.problem, solution=self.solution, steps=self.steps, id=self.id)]


class CritiqueAnswer(BaseModel):
    """The critic's result. `first_error` is numbered from 1. -1: every step is right; null: no verdict, for the reason in
    `note`. With task=proof, `grade`, `grades` and `issues` are given instead of `first_error` and `votes`."""

    id: str | None
    index: int
    steps: list[str]
    spans: list[tuple[int, int]] = Field(description="For each step, its offsets [start, end) in a solution given as one text.")
    first_error: int | None
    votes: dict[str, float] = Field(description="Number of votes per verdict.")
    agreement: float
    acceptance: float | None = Field(
        description="Share of votes that find every step correct, or the mean grade as a share of full_marks; null without."
    )
    text: str = Field(description="The first critique with the winning verdict, or the first unparsed one.")
    unparsed: int
    failed: int
    tokens: int
    note: str
    grade: float | None = Field(default=None, description="Grade of a proof, up to full_marks; null without a verdict.")
    grades: dict[str, float] = Field(default={}, description="Number of votes per grade.")
    issues: list[str] = Field(default=[], description="What text claims to be wrong with the proof.")
    full_marks: float = 1.0


class CritiqueAnswers(BaseModel):
    model: str
    data: list[CritiqueAnswer]


class ScoreBody(Asking):
    """The body of `POST /v1/scores`."""

    items: Annotated[list[Solution], Field(min_length=1, max_length=MOST_ITEMS)]


class ScoreAnswer(BaseModel):
    """A score from 0 (wrong) to 1 (right) for each step. Null with a `note` if there is none."""

    index: int
    object: str = "pooling"
    data: list[float] | None
    note: str = ""


class ScoreAnswers(BaseModel):
    """The format of vLLM's `/pooling` response."""

    object: str = "list"
    model: str
    data: list[ScoreAnswer]
    usage: dict[str, int]


class RewardBody(Asking):
    """The body of `POST /v1/rewards`. With `labels`, completions are critiques and a reward is 1 if the verdict equals the label.
    With `problems`, completions are solutions and a reward is the share of the critic's votes that find every step right."""

    completions: Annotated[list[Text], Field(min_length=1, max_length=MOST_ITEMS)]
    labels: list[Label] | None = None
    problems: list[Text] | None = None

    @model_validator(mode="after")
    def _either(self) -> RewardBody:
        if (self.labels is None) == (self.problems is None):
            raise ValueError("expected either labels (completions are critiques) or problems (completions are solutions)")
        if self.labels is not None and 0 in self.labels:
            raise ValueError("labels: found 0; expected a step from 1, or -1 for all correct")
        beside = self.labels if self.labels is not None else self.problems
        if len(beside or ()) != len(self.completions):
            raise ValueError("the number of labels or problems differs from the number of completions")
        return self


class RewardAnswers(BaseModel):
    """One reward per completion. Null, with a note, if the critic gave none: that is not a score of 0."""

    model: str
    rewards: list[float | None]
    notes: list[str]


class Health(BaseModel):
    status: str = Field(description="ok, stalled (no progress for a while despite running work) or stopping.")
    model: str
    waiting: int = Field(description="Solutions that wait for the engine.")
    under_way: int = Field(description="Solutions that the engine works on.")
    idle_seconds: float = Field(
        description="Seconds without a token, or a reply if the engine counts no tokens, while there is work."
    )


def problem_of(error: Any) -> dict[str, Any]:
    """The body of an error, in OpenAI's format."""
    return {"error": {"message": str(error)}}
