"""Build hook: ships the two data folders inside the package, unless it is installed in place."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Adds search_spaces/ and datasets/ to the wheel as bench/_shipped/."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map the folders; an editable install reads them from the checkout."""
        if version != "editable":
            for name in ("search_spaces", "datasets"):
                build_data["force_include"][name] = f"bench/_shipped/{name}"
