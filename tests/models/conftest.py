"""As for attention: tensors too small to be worth a second thread."""

from tests.attention.conftest import _one_thread

__all__ = ["_one_thread"]
