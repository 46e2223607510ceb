"""The architectures against the independent ones of transformers, with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from paca_bench.models.registry import create_model
from tests.models.oracle import assert_same_function, use_default_eps

CLASSES = 7
COMMON = [
    (r"^\w+\.(encoder|embeddings)\.", ""),
    (r"^(vit|swin)\.", ""),
    (r"^classifier\.", "head."),
]
VIT_RULES = [
    *COMMON,
    (r"^position_embeddings$", "pos_embed"),
    (r"^patch_embeddings\.projection", "patch_embed.proj"),
    (r"^layers\.", "blocks."),
    (r"^layernorm", "norm"),
    (r"attention\.q_proj\.", "attn.qkv[0]."),
    (r"attention\.k_proj\.", "attn.qkv[1]."),
    (r"attention\.v_proj\.", "attn.qkv[2]."),
    (r"attention\.o_proj", "attn.proj"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
]
SWIN_RULES = [
    (r"^swin\.embeddings\.norm", "patch_embed.norm"),
    (r"attention\.relative_position_bias\.", "attn."),
    *(rule for rule in VIT_RULES if rule[1] != "blocks."),
]
PVT_COMMON = [
    *COMMON,
    (r"layer_norm_(\d)", r"norm\1"),
    (r"layer_norm", "norm"),
    (r"query", "q"),
    (r"key\.", "kv[0]."),
    (r"value\.", "kv[1]."),
    (r"dense1", "fc1"),
    (r"dense2", "fc2"),
    (r"attention", "attn"),
    (r"(sequence|spatial)_reduction", "sr"),
]
# The official names count stages from 1.
PVT_RULES = [
    *PVT_COMMON,
    (r"attn\.self", "attn"),
    (r"attn\.output\.dense", "attn.proj"),
    *(
        rule
        for i in range(4)
        for rule in (
            (rf"^block\.{i}\.", f"block{i + 1}."),
            (rf"^patch_embeddings\.{i}\.position_embeddings", f"pos_embed{i + 1}"),
            (rf"^patch_embeddings\.{i}\.cls_token", "cls_token"),
            (rf"^patch_embeddings\.{i}\.projection", f"patch_embed{i + 1}.proj"),
            (rf"^patch_embeddings\.{i}\.norm", f"patch_embed{i + 1}.norm"),
        )
    ),
]
PVT_V2_RULES = [
    *PVT_COMMON,
    *(
        rule
        for i in range(4)
        for rule in (
            (rf"^layers\.{i}\.blocks\.", f"block{i + 1}."),
            (rf"^layers\.{i}\.patch_embedding\.", f"patch_embed{i + 1}."),
            (rf"^layers\.{i}\.norm", f"norm{i + 1}"),
        )
    ),
]
WIDTHS, DEPTHS, HEADS = (16, 32, 40, 64), (1, 2, 1, 1), (1, 2, 5, 8)


@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
def test_vit(size: tuple[int, int]) -> None:
    theirs = transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=192,
            image_size=size,
            layer_norm_eps=1e-6,
            num_labels=CLASSES,
        )
    )
    ours = create_model(
        "deit_tiny_patch16_224", dim=48, depth=2, img_size=size, num_classes=CLASSES
    )
    assert_same_function(ours, theirs, VIT_RULES, size)


# Whole windows; and padding of patches, windows and merges.
@pytest.mark.parametrize("size", [(224, 336), (229, 302)])
def test_swin(size: tuple[int, int]) -> None:
    depths, heads = (2, 2, 1, 2), (2, 4, 2, 4)
    theirs = transformers.SwinForImageClassification(
        transformers.SwinConfig(
            embed_dim=12, depths=depths, num_heads=heads, image_size=size, num_labels=CLASSES
        )
    )
    ours = create_model(
        "swin_tiny_patch4_window7_224",
        dim=12,
        depths=depths,
        num_heads=heads,
        num_classes=CLASSES,
    )
    assert_same_function(ours, theirs, SWIN_RULES, size)


# At the tables' own size: transformers' interpolation of them fails. The goldens cover ours.
def test_pvt() -> None:
    theirs = transformers.PvtForImageClassification(
        transformers.PvtConfig(
            hidden_sizes=list(WIDTHS),
            depths=list(DEPTHS),
            num_attention_heads=list(HEADS),
            image_size=224,
            num_labels=CLASSES,
        )
    )
    use_default_eps(theirs)
    ours = create_model("pvt_tiny", widths=WIDTHS, depths=DEPTHS, num_classes=CLASSES)
    assert_same_function(ours, theirs, PVT_RULES, (224, 224))


@pytest.mark.parametrize(("name", "linear"), [("pvt_v2_b0", False), ("pvt_v2_b2_li", True)])
def test_pvt_v2(name: str, linear: bool) -> None:
    theirs = transformers.PvtV2ForImageClassification(
        transformers.PvtV2Config(
            hidden_sizes=list(WIDTHS),
            depths=list(DEPTHS),
            num_attention_heads=list(HEADS),
            linear_attention=linear,
            num_labels=CLASSES,
        )
    )
    use_default_eps(theirs)
    options: dict[str, Any] = {"widths": WIDTHS, "depths": DEPTHS, "num_classes": CLASSES}
    assert_same_function(create_model(name, **options), theirs, PVT_V2_RULES, (96, 170))
