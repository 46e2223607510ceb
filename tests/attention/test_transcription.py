"""The transcription that ours is timed beside is the same function."""

from __future__ import annotations

import pytest
import torch

from paca_bench.attention.paca import PatchToClusterAttention
from paca_bench.attention.registry import create_attention
from paca_bench.models.registry import create_model
from tests.attention.cases import randomise, tokens
from tests.attention.transcription import TranscribedPaca, transcribe

GRID = (9, 6)


@pytest.mark.parametrize("num_clusters", [0, 5])
def test_output_and_gradients_are_the_layers(num_clusters: int) -> None:
    layer = create_attention("paca", dim=32, num_heads=4, grid=GRID, num_clusters=num_clusters)
    assert isinstance(layer, PatchToClusterAttention)
    randomise(layer, seed=3)
    layer.double()
    results = []
    for module in (layer, TranscribedPaca(layer)):
        x = tokens(GRID, dim=32).double().requires_grad_()
        module.zero_grad()
        out = module(x, GRID)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out).cos()).sum().backward()
        gradients = {id(p): p.grad for p in module.parameters()}
        results.append([out.detach(), x.grad, *(gradients[id(p)] for p in layer.parameters())])
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_a_model_on_transcribed_layers_is_the_same() -> None:
    torch.manual_seed(0)
    ours = create_model("pacavit_tiny_p2cconv_100_0", img_size=64, num_classes=10).eval()
    theirs = create_model("pacavit_tiny_p2cconv_100_0", img_size=64, num_classes=10).eval()
    theirs.load_state_dict(ours.state_dict())
    transcribe(theirs)
    assert not any(isinstance(m, PatchToClusterAttention) for m in theirs.modules())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-5)
