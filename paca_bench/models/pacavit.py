"""PaCa-ViT: a pyramid whose tokens attend to learned clusters.

Grainger, Paniagua, Song, Cuntoor, Lee, Wu, "PaCa-ViT: Learning Patch-to-Cluster Attention in
Vision Transformers", CVPR 2023. Keys are those of the official checkpoints. Any image works:
each strided convolution rounds up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from paca_bench.attention.base import tokens_to_map
from paca_bench.attention.paca import ClusteringKind, PatchToClusterAttention
from paca_bench.attention.registry import Grid, attention_cost
from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.errors import SpecError
from paca_bench.models.blocks import ConvMlp, Embedding, check_images, classifier, init_weights
from paca_bench.models.geometry import stage_grid
from paca_bench.models.parts import conv_mlp_cost, head_cost, norm_cost, stem_cost, transition_cost
from paca_bench.models.registry import Stage, Variant, register_model
from paca_bench.models.teacher import ConvMixerTeacher, teacher_cost

NORM_EPS = 1e-6
SMALL_WIDTHS = (96, 192, 320, 384)
BASE_WIDTHS = (96, 192, 384, 512)


def pacavit_stages(*, height: int, width: int, widths: Sequence[int]) -> list[Stage]:
    """Grids of a 4th, 8th, 16th and 32nd of the image."""
    return [(stage_grid(height, width, stage), dim) for stage, dim in enumerate(widths, start=1)]


def pacavit_cost(
    *,
    height: int,
    width: int,
    num_classes: int,
    widths: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    clusters: Sequence[int],
    clustering: ClusteringKind,
    blockwise: bool,
    teacher_depths: Sequence[int] | None,
    mlp_ratio: int,
) -> CostSum:
    """Stem, teacher if there is one, four stages with a transition between, and the head."""
    if teacher_depths is not None and len(teacher_depths) != len(widths):
        raise SpecError(f"teacher_depths must be one number per stage, not {teacher_depths!r}")
    grids = [grid for grid, _ in pacavit_stages(height=height, width=width, widths=widths)]
    half = math.prod(stage_grid(height, width, 0))
    parts: list[tuple[str, Cost]] = [
        ("stem", stem_cost(height * width, half, math.prod(grids[0]), widths[0])),
    ]
    if teacher_depths is not None:
        parts += teacher_cost(grids, widths, teacher_depths, clusters)
    for index, (dim, depth, grid) in enumerate(zip(widths, depths, grids, strict=True)):
        label, tokens = f"stage{index + 1}", math.prod(grid)
        if index:
            before, inputs = math.prod(grids[index - 1]), widths[index - 1]
            parts.append((f"transition{index}", transition_cost(before, tokens, inputs, dim)))
        mlp, norms = conv_mlp_cost(tokens, dim, mlp_ratio), norm_cost(dim, 2)
        attention = {
            shares: attention_cost(
                "paca",
                grid=grid,
                dim=dim,
                num_heads=num_heads[index],
                num_clusters=clusters[index],
                clustering=clustering,
                shares_assignment=shares,
                holds_assignment=True,
            )
            for shares in (False, True)
        }
        for block in range(depth):
            shares = _shares(block, blockwise, teacher_depths is not None)
            parts.append((f"{label}.attention", attention[shares]))
            parts += [(f"{label}.mlp", mlp), (f"{label}.norms", norms)]
        parts.append((f"{label}.norm", norm_cost(dim)))
    return CostSum.of([*parts, ("head", head_cost(widths[-1], num_classes))])


def _shares(block: int, blockwise: bool, has_teacher: bool) -> bool:
    """True where a block is given its assignment, by the stage's first block or the teacher."""
    return has_teacher or (block > 0 and not blockwise)


class Stem(Embedding):
    """Two 3x3 convolutions of stride 2 and a LayerNorm: images to tokens."""

    def __init__(self, dim: int) -> None:
        proj = nn.Sequential(
            nn.Conv2d(3, dim // 2, 3, stride=2, padding=1),
            nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1),
        )
        super().__init__(proj, dim, eps=NORM_EPS)


class Transition(Embedding):
    """A 3x3 convolution of stride 2 and a LayerNorm: a map to the tokens of the next stage."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__(nn.Conv2d(inputs, dim, 3, stride=2, padding=1), dim, eps=NORM_EPS)


class PaCaBlock(nn.Module):
    """Patch-to-cluster attention and an MLP, each behind a LayerNorm and beside a residual."""

    is_block = True  # for activation checkpointing

    def __init__(self, dim: int, attention: PatchToClusterAttention, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1_before = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = attention
        self.norm2_before = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = ConvMlp(dim, mlp_ratio * dim, shortcut=True)

    def forward(
        self, x: Tensor, grid: Grid, assignment: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens ``[B, H*W, C]`` and the assignment ``[B, M, N]``, for the next block."""
        normed = self.norm1_before(x)
        if not self.attn.uses_shared:
            assignment = self.attn.make_shared(normed, grid)
        x = x + self.attn(normed, grid, assignment)
        return x + self.mlp(self.norm2_before(x), grid), assignment


@register_model(
    Variant("pacavit_tiny_p2cconv_100_0", depths=(2, 2, 4, 2)),
    Variant("pacavit_small_p2cconv_100_0"),
    Variant("pacavit_base_p2cconv_100_0", depths=(3, 3, 18, 3), widths=BASE_WIDTHS),
    Variant("pacavit_small_p2cmlp_100_0", clustering="mlp"),
    Variant("pacavit_small_p2cconv_2_0", clusters=(2, 2, 2, 0)),
    Variant("pacavit_small_p2cconv_49_0", clusters=(49, 49, 49, 0)),
    Variant("pacavit_small_p2cconv_49_100", clusters=(49, 64, 81, 100)),
    Variant("pacavit_small_p2cconv_100_49", clusters=(100, 81, 64, 49)),
    Variant("pacavit_small_p2cconv_100", clusters=(100, 100, 100, 100)),
    Variant("pacavit_small_p2cconv_100_blockwise", clusters=(100, 100, 100, 100), blockwise=True),
    Variant(
        "pacavit_convmixer_tiny_100",
        depths=(2, 2, 2, 2),
        clusters=(100, 100, 100, 100),
        teacher_depths=(2, 2, 2, 2),
    ),
    Variant(
        "pacavit_convmixer_small_100",
        depths=(3, 3, 7, 3),
        clusters=(100, 100, 100, 100),
        teacher_depths=(2, 2, 2, 2),
    ),
    Variant(
        "pacavit_convmixer_base_100",
        depths=(3, 3, 16, 3),
        widths=BASE_WIDTHS,
        clusters=(100, 100, 100, 100),
        teacher_depths=(2, 2, 4, 2),
    ),
    title="PaCa-ViT",
    source="Grainger et al., CVPR 2023",
    cost=pacavit_cost,
    stages=pacavit_stages,
)
class PaCaViT(nn.Module):
    """Images ``[B, 3, H, W]`` of any size to logits ``[B, num_classes]``.

    Args:
        num_classes: outputs of the head; 0 for none.
        img_size: (H, W); nothing is made for it.
        depths: blocks per stage.
        widths: channels per stage.
        num_heads: heads per stage.
        clusters: M per stage; 0 is plain self-attention.
        clustering: how an assignment is made: ``conv``, ``mlp`` or ``linear``.
        blockwise: every block makes its own assignment, not only a stage's first.
        teacher_depths: mixer units per stage of a clustering teacher, which then makes all
            assignments; None for no teacher.
        mlp_ratio: the MLP's expansion.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        img_size: Grid,
        depths: Sequence[int] = (3, 3, 10, 3),
        widths: Sequence[int] = SMALL_WIDTHS,
        num_heads: Sequence[int] = (2, 4, 8, 16),
        clusters: Sequence[int] = (100, 100, 100, 0),
        clustering: ClusteringKind = "conv",
        blockwise: bool = False,
        teacher_depths: Sequence[int] | None = None,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.paca_teacher: ConvMixerTeacher | None = None
        if teacher_depths is not None:
            self.paca_teacher = ConvMixerTeacher(widths, teacher_depths, clusters)
        self.patch_embed = Stem(widths[0])
        for stage, (dim, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            if stage > 1:
                self.add_module(f"transition{stage - 1}", Transition(widths[stage - 2], dim))
            attentions = (
                PatchToClusterAttention(
                    dim=dim,
                    num_heads=num_heads[stage - 1],
                    grid=stage_grid(*img_size, stage),
                    num_clusters=clusters[stage - 1],
                    clustering=clustering,
                    shares_assignment=_shares(block, blockwise, teacher_depths is not None),
                    holds_assignment=True,
                )
                for block in range(depth)
            )
            blocks = nn.ModuleList(PaCaBlock(dim, a, mlp_ratio) for a in attentions)
            self.add_module(f"stage{stage}", blocks)
            self.add_module(f"norm{stage}", nn.LayerNorm(dim, eps=NORM_EPS))
        self.head = classifier(widths[-1], num_classes)
        init_weights(self, convolutions=True)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        return self.head(self.forward_features(images)[-1].mean(dim=(2, 3)))

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """The stages' normed maps ``[B, C, H, W]``."""
        return [image for image, _ in self._stages(images)]

    def assignments(self, images: Tensor) -> list[Tensor | None]:
        """Each stage's assignment ``[B, M, N]`` in its last block; None where M = 0."""
        return [assignment for _, assignment in self._stages(images)]

    def _stages(self, images: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        check_images(images)
        x, grid = self.patch_embed(images)
        taught = None
        if self.paca_teacher is not None:
            taught = self.paca_teacher(tokens_to_map(x, grid))
        outputs: list[tuple[Tensor, Tensor | None]] = []
        for stage in range(1, len(self.widths) + 1):
            if stage > 1:
                x, grid = getattr(self, f"transition{stage - 1}")(outputs[-1][0])
            assignment = taught[stage - 1].assignment if taught else None
            for block in getattr(self, f"stage{stage}"):
                x, assignment = block(x, grid, assignment)
            if taught:
                x = x + taught[stage - 1].features
            x = getattr(self, f"norm{stage}")(x)
            outputs.append((tokens_to_map(x, grid), assignment))
        return outputs
