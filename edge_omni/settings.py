"""Sections of the manifest that only the part they belong to can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge_omni.errors import BundleError


def require(section: str, config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Check that a section of the manifest has all settings that its part needs.

    Raises:
        BundleError: names those that are missing.
    """
    missing = [name for name in names if name not in config]
    if missing:
        raise BundleError(
            f"The manifest's section `{section}` lacks {', '.join(missing)}. "
            "Restore the bundle, or export it again."
        )
