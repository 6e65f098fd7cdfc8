# SPDX-License-Identifier: Apache-2.0
"""A wheel or sdist without the web pages is never made by accident; an editable install does without."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuiltPages(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        built = Path(self.root, "src", "holdfirst", "web", "built", "manifest.json")
        if version != "editable" and not built.exists():
            raise RuntimeError("The web pages are not built: run `make assets` first.")
