"""PaCa as a straight transcription of its formulas in plain torch: what ours is timed beside.

The layer of the paper's equations 4 to 7 in the obvious way: tokens and maps are rearranged by
copies, softmax is written out, the weights of clusters and of attention are materialised. Equal
to ``PatchToClusterAttention`` with the same parameters, whose names it has, and differentiable.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from paca_bench.attention.paca import PatchToClusterAttention
from paca_bench.attention.registry import Grid


class TranscribedPaca(nn.Module):
    """The same function as ``layer``, with its parameters.

    Args:
        layer: with convolutional clustering, or one that is given its stage's assignment.
    """

    def __init__(self, layer: PatchToClusterAttention) -> None:
        super().__init__()
        self.uses_shared = layer.uses_shared
        self.num_heads = layer.num_heads
        self.clustering = layer.clustering.clustering if layer.clustering is not None else None
        self.cluster_norm = layer.cluster_norm if layer.num_clusters else None
        self.q, self.k, self.v, self.proj = layer.q, layer.k, layer.v, layer.proj

    def make_shared(self, x: Tensor, grid: Grid) -> Tensor | None:
        """The assignment ``[B, M, N]``; None without clusters."""
        if self.cluster_norm is None:
            return None
        assert self.clustering is not None
        image = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], *grid).contiguous()
        return self.clustering(image).flatten(2).softmax(dim=-1)

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """``[B, N, C]`` -> the same."""
        source = x
        if self.cluster_norm is not None:
            assignment = self.make_shared(x, grid) if shared is None else shared
            assert assignment is not None
            source = self.cluster_norm(assignment @ x)
        q, k, v = (self._heads(t) for t in (self.q(x), self.k(source), self.v(source)))
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(x.shape))

    def _heads(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        split = x.reshape(batch, tokens, self.num_heads, dim // self.num_heads)
        return split.permute(0, 2, 1, 3).contiguous()


def transcribe(model: nn.Module) -> None:
    """Put a transcription in the place of each patch-to-cluster attention of ``model``.

    All its convolutions then read maps with the channels first, each a copy, as in the official
    code, which makes every map that it rearranges contiguous.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, PatchToClusterAttention):
                setattr(module, name, TranscribedPaca(child))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(_channels_first)


def _channels_first(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    image, *rest = args
    return (image.contiguous(), *rest)
