"""Patch-to-cluster attention: queries from patches, keys and values from M learned clusters.

Grainger, Paniagua, Song, Cuntoor, Lee, Wu, "PaCa-ViT: Learning Patch-to-Cluster Attention
in Vision Transformers", CVPR 2023, section 3. The assignment is a softmax over the N tokens
for each cluster; the blocks of a stage share the one that their first block makes.
Parameter names are those of the official checkpoints.

With ``h`` the features before the last map of the clustering and ``W`` its weights, ``[M, C]``,
the M clusters of tokens x are ``softmax_n(W h) x``: attention of M learned queries to the N
tokens, with keys h, values x and a scale of 1. An assignment that no other block uses is
aggregated so, by a fused kernel, and is never stored.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from paca_bench.attention.activation import Gelu
from paca_bench.attention.base import (
    Attention,
    check_tokens,
    map_to_tokens,
    merge_heads,
    split_heads,
    tokens_to_map,
)
from paca_bench.attention.registry import Grid, Options, Place, check_integer, register_attention
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.term import (
    C,
    M,
    N,
    Term,
    attention,
    depthwise,
    k,
    linear,
    norm,
    product,
)
from paca_bench.errors import SpecError, UnsupportedError

ClusteringKind = Literal["conv", "mlp", "linear"]

_SELF_ATTENTION = {"projections": 4 * linear(N, C, C), "products": attention(N, N, C)}
_ATTENTION_TO_CLUSTERS = {
    "projections": 2 * linear(N, C, C) + 2 * linear(M, C, C),
    "products": attention(N, M, C),
}
_HELD_AGGREGATION = product(M, N, C)
# The scores of the clusters are made here, not by the clustering.
_FUSED_AGGREGATION = attention(M, N, C, learned=True)

# What it takes to make an assignment: the features of the tokens, and their scores.
_FEATURES: dict[str, Term] = {
    "conv": depthwise(N, k**2, C) + linear(N, C, C),
    "mlp": linear(N, C, 4 * C),
    "linear": Term(()),
}
_SCORES: dict[str, Term] = {
    "conv": linear(N, C, M, bias=False),
    "mlp": linear(N, 4 * C, M),
    "linear": linear(N, C, M, bias=False),
}
# Their scores are a product with the weights alone. The bias of the others has no effect on a
# softmax over the tokens, but is a parameter that wants its gradient, which is zero.
_FUSIBLE = ("conv", "linear")


def paca_cost(
    *,
    grid: Grid,
    dim: int,
    num_clusters: int,
    clustering: str,
    kernel_size: int,
    cluster_norm: bool,
    shares_assignment: bool,
    holds_assignment: bool,
) -> Cost:
    """``k²NC + NC² + NMC`` to make the assignment, ``NMC`` to aggregate, the rest to attend.

    Attention itself is ``2NC² + 2MC² + 2NMC``. A block that uses its stage's assignment does
    not make one; one that does not hold it does as much in fewer operators. M = 0 is plain
    self-attention, ``4NC² + 2N²C``.
    """
    _check_options(num_clusters, clustering, kernel_size)
    values = {"N": grid[0] * grid[1], "C": dim}
    if num_clusters == 0:
        return Cost(_SELF_ATTENTION, values)
    terms = dict(_ATTENTION_TO_CLUSTERS)
    if cluster_norm:
        terms["cluster_norm"] = norm(C)
    holds = shares_assignment or holds_assignment or clustering not in _FUSIBLE
    terms["aggregation"] = _HELD_AGGREGATION if holds else _FUSED_AGGREGATION
    if not shares_assignment:
        scores = _SCORES[clustering] if holds else Term(())
        terms["clustering"] = _FEATURES[clustering] + scores
    return Cost(terms, {**values, "M": num_clusters, "k": kernel_size})


def paca_stage_options(place: Place, options: Options) -> Options:
    """As published: no clusters in the fourth stage, one assignment per stage in the others.

    ``shares_assignment`` given as False is block-wise: every block makes one of its own. A
    pyramid holds its assignments; a layer alone does so on other devices than a CPU, where nobody
    has measured the fused form yet. There and here, ``holds_assignment`` chooses.

    Raises:
        UnsupportedError: the assignment of a stage is to be shared by a layer alone, or not to
            be held by a pyramid.
    """
    shares = options.get("shares_assignment", True)
    if place.block is None:
        if options.get("shares_assignment"):
            raise UnsupportedError(
                "a paca layer alone has no stage whose assignment it could share; take --level "
                "host, or --option shares_assignment=false"
            )
        return options if place.device == "cpu" else {"holds_assignment": True, **options}
    if not options.get("holds_assignment", True):
        raise UnsupportedError(
            "a pyramid of paca blocks hands its assignments on, so that it must hold them; take "
            "--level layer, or --option holds_assignment=true"
        )
    chosen = {
        **options,
        "shares_assignment": shares and place.block > 0,
        "holds_assignment": True,
    }
    return {**chosen, "num_clusters": 0} if place.stage >= 4 else chosen


@register_attention(
    "paca",
    title="PaCa (patch-to-cluster)",
    source="Grainger et al., CVPR 2023",
    cost=paca_cost,
    stage_options=paca_stage_options,
)
class PatchToClusterAttention(Attention):
    """All tokens attend to M cluster tokens: O(N M).

    Args:
        dim: channels C.
        num_heads: heads h.
        grid: (H, W).
        num_clusters: M; 0 is plain self-attention, without clustering and cluster norm.
        clustering: how the assignment is made: ``conv`` (depthwise k x k, GELU, 1x1, GELU,
            1x1 to M), ``mlp`` (to 4C, GELU, to M) or ``linear`` (to M).
        kernel_size: k of ``conv``, odd.
        cluster_norm: a LayerNorm (eps 1e-6) on the cluster tokens.
        shares_assignment: make no assignment; ``forward`` must be given the stage's.
        holds_assignment: store the assignment that it makes, as a block does whose stage
            shares it. If not, it is aggregated by fused attention, but for ``mlp``.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        grid: Grid,
        num_clusters: int = 100,
        clustering: ClusteringKind = "conv",
        kernel_size: int = 7,
        cluster_norm: bool = True,
        shares_assignment: bool = False,
        holds_assignment: bool = False,
    ) -> None:
        super().__init__()
        _check_options(num_clusters, clustering, kernel_size)
        self.num_heads = num_heads
        self.num_clusters = num_clusters
        self.uses_shared = shares_assignment and num_clusters > 0
        self.fuses = not holds_assignment and clustering in _FUSIBLE
        self.cluster_norm: nn.Module
        if num_clusters:
            self.cluster_norm = nn.LayerNorm(dim, eps=1e-6) if cluster_norm else nn.Identity()
        self.clustering: Clustering | None = None
        if num_clusters and not self.uses_shared:
            self.clustering = Clustering(dim, num_clusters, clustering, kernel_size)
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def make_shared(self, x: Tensor, grid: Grid) -> Tensor | None:
        """The assignment ``[B, M, N]``, each cluster's weights over the tokens; None if M = 0.

        Raises:
            SpecError: this block uses its stage's assignment and cannot make one, or the tokens
                do not lie on the grid.
        """
        check_tokens(x, grid)
        return self._own_clustering()(x, grid) if self.num_clusters else None

    def _own_clustering(self) -> Clustering:
        if self.clustering is None:
            raise SpecError(
                "this paca block shares its stage's assignment (shares_assignment=True): pass the "
                "first block's make_shared(x, grid) as `shared`"
            )
        return self.clustering

    def _clusters(self, x: Tensor, grid: Grid, shared: Tensor | None) -> Tensor:
        """The M cluster tokens ``[B, M, C]`` before their norm."""
        if shared is None:
            clustering = self._own_clustering()
            if self.fuses:
                return clustering.aggregate(x, grid)
            shared = clustering(x, grid)
        elif shared.shape[-1] != x.shape[1]:
            raise SpecError(
                f"`shared` of shape {tuple(shared.shape)} does not weigh {x.shape[1]} "
                f"tokens; expected [B, M, {x.shape[1]}], made on the grid {grid[0]}x{grid[1]}"
            )
        return shared @ x

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """See ``Attention.forward``; ``shared`` is the assignment ``[B, M, N]``."""
        check_tokens(x, grid)
        source = x
        if self.num_clusters:
            source = self.cluster_norm(self._clusters(x, grid, shared))
        q, k, v = (
            split_heads(t, self.num_heads) for t in (self.q(x), self.k(source), self.v(source))
        )
        return self.proj(merge_heads(scaled_dot_product_attention(q, k, v)))


class Clustering(nn.Module):
    """Tokens to the weights of M clusters: ``[B, N, C]`` -> ``[B, M, N]``, summing to 1 over N."""

    def __init__(self, dim: int, num_clusters: int, kind: str, kernel_size: int) -> None:
        super().__init__()
        self.on_map = kind == "conv"
        self.clustering = nn.Sequential(*_layers(dim, num_clusters, kind, kernel_size))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """Softmax over the tokens of each cluster's score."""
        scores = self.clustering(self._input(x, grid))
        return (scores.flatten(2) if self.on_map else scores.transpose(1, 2)).softmax(dim=-1)

    def aggregate(self, x: Tensor, grid: Grid) -> Tensor:
        """``self(x, grid) @ x``, ``[B, M, C]``, with no assignment stored; see the module."""
        features = self.clustering[:-1](self._input(x, grid))
        if self.on_map:
            features = map_to_tokens(features)
        weight = self.clustering[-1].weight
        assert isinstance(weight, Tensor)
        queries = weight.flatten(1).expand(x.shape[0], 1, -1, -1)
        key, value = features.unsqueeze(1), x.unsqueeze(1)
        return scaled_dot_product_attention(queries, key, value, scale=1.0).squeeze(1)

    def _input(self, x: Tensor, grid: Grid) -> Tensor:
        return tokens_to_map(x, grid) if self.on_map else x


def _layers(dim: int, num_clusters: int, kind: str, kernel_size: int) -> list[nn.Module]:
    if kind == "conv":
        return [
            nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim),
            Gelu(),
            nn.Conv2d(dim, dim, 1),
            Gelu(),
            nn.Conv2d(dim, num_clusters, 1, bias=False),
        ]
    if kind == "mlp":
        return [nn.Linear(dim, 4 * dim), Gelu(), nn.Linear(4 * dim, num_clusters)]
    return [nn.Linear(dim, num_clusters, bias=False)]


def _check_options(num_clusters: int, clustering: str, kernel_size: int) -> None:
    check_integer("num_clusters", num_clusters, least=0)
    if clustering not in _FEATURES:
        raise SpecError(f"unknown clustering {clustering!r}; choose from {', '.join(_FEATURES)}")
    check_integer("kernel_size", kernel_size)
    if kernel_size % 2 == 0:
        raise SpecError(f"kernel_size must be odd, not {kernel_size}")
