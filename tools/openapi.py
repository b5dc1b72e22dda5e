"""Writes the OpenAPI document that the server hands out: python -m tools.openapi"""

import json
from pathlib import Path

import yaml

from interlock.api.openapi import document
from interlock.operations.table import OPERATIONS

ROOM = Path(__file__).resolve().parent.parent / "src" / "interlock" / "api"


class Dumper(yaml.SafeDumper):
    """Write a value that occurs more than once in full each time: many readers of OpenAPI do not follow aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def main() -> None:
    made = document(OPERATIONS)
    (ROOM / "openapi.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = yaml.dump(made, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    (ROOM / "openapi.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
