"""Generate docs/guarantees.md: python -m tools.guarantees"""

from __future__ import annotations

from tools.guarantees.page import PAGE, page


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
