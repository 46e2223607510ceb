"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """As installed; ``unknown`` when it runs from a bare checkout."""
    try:
        return version("paca-bench")
    except PackageNotFoundError:
        return "unknown"
