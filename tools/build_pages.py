"""The build hook: makes the pages of the documentation whenever a wheel, an editable install or an sdist is made.

Hatchling loads this file by its path. `pyproject.toml` says what is installed for the build; the pages are
made in a process of their own, so that a build back end that goes on living keeps nothing of this source.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]  # generic over the settings of a builder
    """Makes `src/interlock/api/pages` before the files of a target are gathered."""

    PLUGIN_NAME = "pages"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the pages; an sdist has them already, and no source to make them from."""
        root = Path(self.root)
        if not root.joinpath("docs").is_dir():
            if not root.joinpath("src", "interlock", "api", "pages", "index.html").is_file():
                raise RuntimeError(
                    "this source has neither the pages nor docs/ to make them from; use a whole checkout"
                )
            return
        paths = [str(root), str(root / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        made = subprocess.run(
            [sys.executable, "-m", "tools.pages"],
            check=False,
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
        )
        if made.returncode != 0:
            raise RuntimeError(f"the pages of the documentation cannot be made (python -m tools.pages):\n{made.stderr}")
