"""Prompts in other people's files: what is read, that nothing is run, and what is refused with what was expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.text.foreign_prompt import LARGEST, from_format, from_replace, prompt_sha, read_prompt, split_place
from deepcritic.text.prompt_template import fill

SOURCE = '''
import os
from textwrap import dedent
os.abort()  # nothing here is ever run
PLAIN = "Judge {problem}."
JOINED = ("one "
          'two') + " three\\n"
STRIPPED = """
  kept {field}
""".strip()
RAW = r"\\boxed{{}}"
FSTRING = f"{problem} and a brace {{x}}"
FLAT = f"no field, a brace {{x}}"
TYPED: str = "typed"
LISTED = [{"role": "system", "content": f"be strict"}, {"role": "user", "content": PLAIN}, {"role": "x", "content": os.getcwd()}]
NUMBER = 7
CALLED = os.getenv("HOME")
FORMATTED = "a %s" % os
DEDENTED = dedent("""\\
    one
      two
    """)
if os.name == "posix":
    BRANCH = "first"
else:
    BRANCH = "second"

def build(problem, *, prefix="Look: ", suffix=os.sep):
    instruction = problem if problem is not None else "Check each step."
    template = """
{problem}

{instruction}""".strip()
    for at in range(3):
        inner = "in a loop"
    both = "a" if problem else "b"
    return template

class Judge:
    style = "class text"
    def ask(self, analyze="<analyze> {cur_step}: ", other=None):
        text = style
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "prompts.py").write_text(SOURCE, "utf-8")
    return tmp_path / "prompts.py"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PLAIN", "Judge {problem}."),
        ("JOINED", "one two three\n"),
        ("STRIPPED", "kept {field}"),
        ("RAW", r"\boxed{{}}"),
        ("FSTRING", "{problem} and a brace {{x}}"),
        ("FLAT", "no field, a brace {x}"),
        ("TYPED", "typed"),
        ("LISTED.0.content", "be strict"),
        ("LISTED.1.content", "Judge {problem}."),
        ("DEDENTED", "one\n  two\n"),
        ("BRANCH", "first"),
        ("build.instruction", "Check each step."),
        ("build.template", "{problem}\n\n{instruction}"),
        ("build.prefix", "Look: "),
        ("build.inner", "in a loop"),
        ("Judge.style", "class text"),
        ("Judge.ask.analyze", "<analyze> {cur_step}: "),
    ],
)
def test_what_is_written_out_is_read(file: Path, name: str, text: str) -> None:
    assert read_prompt(f"{file}:{name}") == text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NUMBER", "the value is not a literal"),
        ("CALLED", "the value is not a literal"),
        ("FORMATTED", "the value is not a literal"),
        ("build.suffix", "the value is not a literal"),
        ("build.both", "a choice"),
        ("LISTED", "not a string; found 'a list'"),
        ("LISTED.9.content", "no such entry; found 'LISTED.9'"),
        ("LISTED.0.contents", "expected role, content"),
        ("Judge.ask.text", "the value is not a literal"),
        ("PLAN", "no such name; found 'PLAN'; expected PLAIN, JOINED"),
        ("build", "not a string"),
    ],
)
def test_what_is_not_is_refused(file: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        read_prompt(f"{file}:{name}")
    assert str(file) in str(raised.value)


def test_a_file_of_code_needs_a_name_and_says_which_there_are(file: Path) -> None:
    with pytest.raises(InputError, match=r"the file has several texts.*PLAIN, JOINED"):
        read_prompt(str(file))


def test_texts_json_and_markdown(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("\r\n  Judge {problem}.\r\n\r\n", "utf-8")
    assert read_prompt(str(tmp_path / "t.txt")) == "Judge {problem}."
    (tmp_path / "t.json").write_text(json.dumps({"a": {"b": ["x", "y "]}}), "utf-8")
    assert read_prompt(f"{tmp_path / 't.json'}:a.b.1") == "y "
    (tmp_path / "README.md").write_text(
        "# Title\n## Usage\nAsk:\n\n```text\nJudge {problem}.\n```\n### More\n```python\n"
        "prompt = f'''Look at\n{problem}'''\n```\n## Other\nnothing\n", "utf-8",
    )  # fmt: skip
    assert read_prompt(f"{tmp_path / 'README.md'}:Usage") == "Judge {problem}."
    assert read_prompt(f"{tmp_path / 'README.md'}:### More:prompt") == "Look at\n{problem}"
    for name, said in (("Other", "no code block"), ("Nowhere", "expected Title, Usage, More, Other")):
        with pytest.raises(InputError, match=said):
            read_prompt(f"{tmp_path / 'README.md'}:{name}")
    with pytest.raises(InputError, match="a plain text file has no names; found 'x'"):
        read_prompt(f"{tmp_path / 't.txt'}:x")
    with pytest.raises(InputError, match="No such file"):
        read_prompt(f"{tmp_path / 'absent.py'}:X")


def test_files_that_no_parser_should_have_to_bear(tmp_path: Path) -> None:
    for name, content in (
        ("deep.py", "X = " + "(" * 3000 + "'a'" + ")" * 3000), ("sum.py", "X = " + "+".join(["'a'"] * 3000)),
        ("self.py", "X = X\n"), ("circle.py", "X = Y\nY = X\n"), ("broken.py", "X = (\n"), ("nul.py", "X = 'a\0b'"),
        ("deep.json", "[" * 100_000),
    ):  # fmt: skip
        (tmp_path / name).write_text(content, "utf-8")
        with pytest.raises(InputError):
            read_prompt(f"{tmp_path / name}:X")
    (tmp_path / "large.txt").write_text("x" * (LARGEST + 1), "utf-8")
    with pytest.raises(InputError, match="too large"):
        read_prompt(str(tmp_path / "large.txt"))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="it is not UTF-8"):
        read_prompt(str(tmp_path / "latin.txt"))


def test_a_colon_may_be_part_of_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    odd.mkdir()
    (odd / "p.py").write_text("X = 'yes'\n", "utf-8")
    assert read_prompt(f"{odd / 'p.py'}:X") == "yes"
    (tmp_path / "c:d.txt").write_text("whole", "utf-8")
    assert split_place(str(tmp_path / "c:d.txt")) == (tmp_path / "c:d.txt", None)


def test_fields_of_either_grammar() -> None:
    assert from_format("{a} {{}} {b}", {"a": "problem", "b": "solution"}) == "{{problem}} {} {{solution}}"
    assert from_format("{} then {}", {"0": "problem", "1": "step"}) == "{{problem}} then {{step}}"
    assert from_replace("{a} {{}} {other}", {"a": "problem"}) == "{{problem}} {{}} {other}"
    for text, said in (
        ("{c}", "expected a or b"),
        ("{a!r}", "unsupported format specification"),
        ("{a", "not a str.format template"),
    ):
        with pytest.raises(InputError, match=said):
            from_format(text, {"a": "problem", "b": "solution"})


@given(st.text(alphabet="ab{}\\ \n", max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_a_template_is_filled_as_str_format_fills_it(text: str, problem: str, solution: str) -> None:
    written = text.replace("{", "{{").replace("}", "}}") + "{p} {s}"
    template = from_format(written, {"p": "problem", "s": "solution"})
    if "{{" in text:  # our own grammar would read these as a field's beginning
        return
    assert fill(template, problem=problem, solution=solution) == written.format(p=problem, s=solution)


def test_the_hash_tells_texts_apart() -> None:
    assert prompt_sha("a", "b") != prompt_sha("ab")
    assert prompt_sha("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


def test_a_literal_in_our_own_grammar_is_not_a_field() -> None:
    """`{{{{x}}}}` of theirs is `{{x}}` in the prompt: no template of ours can say so, and it is refused where it is used."""
    made: Any = from_format("{{{{x}}}} {p}", {"p": "problem"})
    with pytest.raises(InputError, match="has no value"):
        fill(made, problem="1")
