"""Writes the pages that the server hands out."""

from __future__ import annotations

import shutil

from tools.pages.build import PAGES, pages


def main() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    for path, text in pages().items():
        file = PAGES / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
