"""The one tree of errors that paca-bench raises on purpose.

A message names the thing that is wrong, the value given, what is allowed and what to do
next. The CLI prints it on one line and exits with ``exit_code``; anything that is not a
``PacaBenchError`` is a bug and keeps its traceback.
"""

from __future__ import annotations


class PacaBenchError(Exception):
    """Base of all errors meant for the user. ``exit_code`` is the process's exit status."""

    exit_code = 2


class SpecError(PacaBenchError):
    """A sweep, shape or parameter was asked for that does not exist or makes no sense."""


class UnsupportedError(PacaBenchError):
    """The request is well formed, but this mechanism, device or dtype cannot do it."""


class PluginError(PacaBenchError):
    """A user's plugin file could not be loaded, or registers something unusable."""


class DataError(PacaBenchError):
    """A data set is missing, unreadable or empty."""


class CheckpointError(PacaBenchError):
    """A checkpoint is unreadable, would run code when read, or belongs to another model."""


class StoreError(PacaBenchError):
    """A run folder is missing, foreign, damaged or in use."""


class CountError(PacaBenchError):
    """An operation has no counter, so that a sum would be too small."""


class DisagreementError(CountError):
    """Two counts of the same work differ: at least one of them is wrong."""


class NothingMeasuredError(PacaBenchError):
    """A command ended without a single figure to show; it must never pass for success."""

    exit_code = 3
