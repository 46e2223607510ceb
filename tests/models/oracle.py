"""Weights and gradients of transformers' models under the official names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tests.fill import fill, image_input

Rules = Sequence[tuple[str, str]]
# In both, an eps of 1e-6; the official code has torch's default in these norms.
DEFAULT_EPS_NORMS = ("patch_embedding", "attention")


def translate(entries: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Rename by all ``rules`` in turn; ``name[i]rest`` are parts to be joined in order."""
    joined: dict[str, dict[str, Tensor]] = {}
    for key, value in entries.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        name, _, part = key.partition("[")
        index, _, rest = part.rpartition("]")
        joined.setdefault(name + (rest or ""), {})[index] = value
    return {name: torch.cat([v for _, v in sorted(p.items())]) for name, p in joined.items()}


def assert_same_function(
    ours: nn.Module, theirs: nn.Module, rules: Rules, size: tuple[int, int]
) -> None:
    """Logits in float32, and in float64 the gradient of every parameter."""
    fill(theirs)
    ours.load_state_dict(translate(theirs.state_dict(), rules), strict=False)
    for module in (ours, theirs):
        module.eval()
    images = image_input(*size)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images).logits, rtol=0, atol=1e-5)
    for module in (ours, theirs):
        module.double()
    images = images.double()
    # A weighted sum, so that every logit's gradient counts.
    weights = torch.linspace(-1, 1, ours(images).shape[1], dtype=torch.float64)
    (ours(images) * weights).sum().backward()
    (theirs(images).logits * weights).sum().backward()
    expected = translate({k: p.grad for k, p in theirs.named_parameters()}, rules)
    own = {key: parameter.grad for key, parameter in ours.named_parameters()}
    assert own.keys() == expected.keys()
    for key, gradient in own.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-9, atol=1e-9, msg=key)


def use_default_eps(theirs: nn.Module) -> None:
    """Give transformers' PVT the official eps where it has another."""
    for name, module in theirs.named_modules():
        if isinstance(module, nn.LayerNorm) and any(part in name for part in DEFAULT_EPS_NORMS):
            module.eps = 1e-5
