"""Text of others in Markdown: the same text, in one cell, and never a link, a mention or markup."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from interlock.operations.executions.markdown_text import escaped

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
LINKED = re.compile(
    r"https?:|ftp:|mailto:|xmpp:|www\.|@\S+\.|(?<![A-Za-z0-9_])@[A-Za-z0-9]|#[0-9]|\bGH-[0-9]"
    r"|\b(?=[0-9]*[a-f])[0-9a-f]{40}\b|[A-Za-z0-9]\.com\b",
    re.IGNORECASE,
)
"""What GitHub and other readers link in text that is no code."""

PIECES = st.sampled_from(
    [
        "https://evil.example/x", "HTTP://a", "www.evil.com", "evil.com", "a@b.co", "@octocat", "@org/team", "#12",
        "GH-7", "mailto:a@b.c", "`", "``",
        "|", "\\", "\\|", "*b*", "_i_", "[x](y)", "![x](y)", "<b>", "<http://a.b>", "&amp;",
        "&#64;octocat", "~~s~~", "$x$", ":tada:", "\n", "\r\n", "\t", "  ", " ", "\x1b[31m", "\u202e", "- ", "1. ",
        "# ", "> ", "```", "---", "abcdef1234567890abcdef1234567890abcdef12", "x", "Ann", "é", "日本", "(", ")", "\0",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=7).map("".join) | st.text(max_size=30)


def cells(text: str) -> list[list[Token]]:
    """The contents of the cells of the one row that a text makes between two others."""
    tokens = READER.parse(f"| a | b | c |\n|---|---|---|\n| left | {escaped(text)} | right |\n")
    body = tokens[next(at for at, token in enumerate(tokens) if token.type == "tbody_open") :]
    return [token.children or [] for token in body if token.type == "inline"]


def shown(text: str) -> str:
    """The text as it should be read: on one line, what commands a terminal replaced."""
    line = " ".join(text.split())
    return re.sub(
        "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
        "\ud800-\udfff\U000e0000-\U000e007f]",
        "\N{REPLACEMENT CHARACTER}",
        line,
    )


@given(TEXTS)
@example("a\\|b@c.de")
@example("`|` @x")
@example(" | @x | ")
@example("@x \\")
def test_any_text_stays_one_cell_of_the_same_text_without_markup(text: str) -> None:
    row = cells(text)
    assert len(row) == 3
    assert [token.content for token in row[0]] == ["left"]
    assert [token.content for token in row[2]] == ["right"]
    assert {token.type for token in row[1]} <= {"text", "code_inline", "text_special"}
    assert "".join(token.content for token in row[1]).strip() == shown(text).strip()


@given(TEXTS)
def test_nothing_in_the_text_becomes_a_link_or_a_mention(text: str) -> None:
    [_, middle, _] = cells(text)
    plain = "\0".join(token.content for token in middle if token.type != "code_inline")
    # Pieces of text that code stands between are no neighbours for a reader either; those of one run are.
    assert not LINKED.search(plain.replace("\0", "" if all(token.type != "code_inline" for token in middle) else "\0"))


@pytest.mark.parametrize("text", ["wrong person", "ann@localhost", "192.0.2.7", "Create the account", "10 % of 3,000"])
def test_ordinary_words_stay_words(text: str) -> None:
    assert "`" not in escaped(text)
