"""Filling prompts, and templates with front matter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.text.prompt_template import Template, fill, placeholders

FRONT = "---\nfields: [problem, solution]\nindex_base: 0\n"
TEXT = "{{problem}} | {{ solution }}"


@given(st.text(), st.text())
def test_values_survive_untouched(problem: str, solution: str) -> None:
    assert (
        fill("<{{problem}}|{{solution}}|{{problem}}>", problem=problem, solution=solution) == f"<{problem}|{solution}|{problem}>"
    )


@pytest.mark.parametrize(
    "value", ["{{solution}}", "{{problem}}", r"\1 \g<0> \\", "{0} {x!r} %s $x", "{{", "}}", "\x00", "{{{problem}}}"]
)
def test_a_value_is_never_read_again(value: str) -> None:
    assert fill(TEXT, problem=value, solution="{{problem}}") == f"{value} | {{{{problem}}}}"


def test_single_braces_are_text() -> None:
    assert fill(r"\boxed{-1} \frac{{{a}}}{2} {} { } {{1}} {{a-b}}", a="x") == r"\boxed{-1} \frac{x}{2} {} { } {{1}} {{a-b}}"


@given(st.text(alphabet="{}ab \\"))
def test_a_template_without_placeholders_stays(template: str) -> None:
    if not placeholders(template):
        assert fill(template) == template


@pytest.mark.parametrize(
    ("template", "fields", "said"),
    [
        ("{{problem}}", {}, r"\{\{problem\}\}: the placeholder has no value"),
        ("{{problm}}", {"problem": "x"}, r"expected \{\{problem\}\}"),
        ("{{problem}}", {"problem": "x", "solutoin": "y"}, "solutoin: the template has no placeholder for it"),
        ("{{problem}} {{solution}}", {"problem": "x", "solution": "y", "solutions": "z"}, r"expected \{\{solution\}\}"),
    ],
)
def test_fill_is_strict(template: str, fields: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fill(template, **fields)


def test_a_template_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prompt.md"
    path.write_bytes(f'\ufeff{FRONT}system: Be strict.\nstep: "[{{{{index}}}}] {{{{text}}}}"\n---\n{TEXT}\n'.encode())
    template = Template.read(path)
    assert template.fields == ("problem", "solution")
    shown = template.solution(["a {{index}}", "b"])
    assert shown == "[0] a {{index}}\n[1] b"
    messages = template.messages(problem="p", solution=shown, index=3)
    assert [(message.role, message.content) for message in messages] == [("system", "Be strict."), ("user", f"p | {shown}")]


def test_a_template_without_a_system_prompt() -> None:
    (message,) = Template(text=TEXT, fields=("problem", "solution"), index_base=1).messages(problem="p", solution="s")
    assert (message.role, message.content) == ("user", "p | s")


def test_line_ends_of_windows_and_rules_in_the_body() -> None:
    template = Template.parse((FRONT + "---\n" + TEXT + "\n---\nmore").replace("\n", "\r\n"))
    assert template.text == TEXT + "\n---\nmore"


def test_unnumbered_steps() -> None:
    assert Template(text="{{solution}}", fields=("solution",), index_base=1, step="- {{text}}").solution(["a", "b"]) == "- a\n- b"


def test_the_hash_follows_the_content() -> None:
    one = Template.parse(FRONT + "---\n" + TEXT, "one.md")
    assert one.sha == Template.parse(FRONT + "---\n" + TEXT, "two.md").sha
    assert one.sha != Template.parse(FRONT.replace("base: 0", "base: 1") + "---\n" + TEXT).sha
    assert one.sha != Template.parse(FRONT + "---\n" + TEXT + "!").sha


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT, "p.md: the front matter is missing"),
        ("", "the front matter is missing"),
        ("---\nfields: [problem, solution]\n---\n" + TEXT, "p.md: index_base: not declared"),
        ("---\nindex_base: 1\n---\n" + TEXT, "p.md: fields: not declared"),
        (FRONT.replace("0", "2") + "---\n" + TEXT, "index_base: not an index base; found 2; expected 0 or 1"),
        (FRONT.replace("0", "true") + "---\n" + TEXT, "index_base: not an index base"),
        (FRONT.replace("0", "'1'") + "---\n" + TEXT, "index_base: not an index base"),
        (FRONT + "---\n{{problem}}", "fields: solution: declared, but not used"),
        (FRONT + "---\n" + TEXT + " {{index}}", r"\{\{index\}\}: used, but not declared"),
        (FRONT + "---\n{{problem}} {{soluton}} ", r"declared, but not used .*expected \{\{soluton\}\}"),
        (FRONT + "sytem: x\n---\n" + TEXT, "sytem: unknown key .*expected system"),
        (FRONT + "system: 1\n---\n" + TEXT, "system: not a text; found 1"),
        (FRONT + "system: '{{problem}}'\n---\n" + TEXT, "system: the system prompt has placeholders"),
        (FRONT + "step: '{{index}}'\n---\n" + TEXT, "step: invalid step format"),
        (FRONT + "step: '{{text}} {{number}}'\n---\n" + TEXT, "step: invalid step format"),
        ("---\nfields: problem\nindex_base: 1\n---\n" + TEXT, "fields: not a list of names"),
        ("---\nfields: [problem\n---\n" + TEXT, "p.md:3: the front matter is not YAML"),
        ("---\njust words\n---\n" + TEXT, "the front matter is empty"),
    ],
)
def test_a_wrong_template_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Template.parse(text, "p.md")


def test_a_field_that_the_task_does_not_offer() -> None:
    template = Template(text="{{solutions}}", fields=("solutions",), index_base=1)
    with pytest.raises(InputError, match="fields: solutions: unknown field; expected solution"):
        template.messages(problem="p", solution="s")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Template.read(tmp_path / "none.md")
