"""What leaves chunks, and what they hold when read back."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deepcritic.report.chunks import CHUNK, Chunks, encoded, packed, write_beside


@given(st.lists(st.text(), max_size=30))
def test_chunks_give_back_what_was_put_in(texts: list[str]) -> None:
    chunks = Chunks()
    starts = chunks.add("t", [[text, "x" * (CHUNK // 4)] for text in texts])
    found: list[Any] = []
    for at, (name, content) in enumerate(chunks.take().items()):
        assert name == f"t-{at}"
        assert starts[at] == len(found)
        found += json.loads(gzip.decompress(base64.b64decode(content)))
    assert [text for text, _ in found] == texts


def test_what_no_file_can_hold_is_replaced() -> None:
    assert json.loads(encoded([{"\ud800": ["a\udfff"]}])) == [{"?": ["a?"]}]


def test_script_files_hold_data_alone_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "old.js").write_text("x", "utf-8")
    write_beside(tmp_path, {"t-0": packed(b'["</script>"]')})
    assert [file.name for file in tmp_path.iterdir()] == ["t-0.js"]
    assert (tmp_path / "t-0.js").read_text("utf-8").strip("\n").rstrip('=");(').replace("=", "").isascii()
    assert "<" not in (tmp_path / "t-0.js").read_text("utf-8")
