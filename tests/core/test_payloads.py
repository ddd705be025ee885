"""What a server says that refuses a request."""

from __future__ import annotations

import pytest

from cloudml import payloads


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "no column age"}', "no column age"),
        (b'{"error": {"code": 7}}', '{"error": {"code": 7}}'),
        (b'{"error": ""}', '{"error": ""}'),
        (b"[1]", "[1]"),
        (b"<html>busy</html>", "<html>busy</html>"),
        (b"\xff" * 600, "�" * 500),
        (b"", "no message"),
    ],
)
def test_its_own_words_or_how_its_answer_begins(body: bytes, said: str) -> None:
    assert payloads.message(body) == said
