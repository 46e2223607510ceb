"""The preprocessing of each family's published evaluation. No torch.

============  =======================================================================
family        where the official code says so
============  =======================================================================
PaCa-ViT      ``iVMCL/PaCaViT``, ``models/paca_vit.py`` (``_cfg``: crop_pct 0.9), run by
              timm's ``transforms_imagenet_eval``
Swin          ``microsoft/Swin-Transformer``, ``data/build.py``: ``256 / 224`` of the side;
              at 384 px its configuration has ``TEST.CROP: False``
PVT, PVT v2   ``whai362/PVT``, ``datasets.py``: ``256 / 224`` of the side
DeiT          ``facebookresearch/deit``, ``datasets.py``: ``--eval-crop-ratio`` 0.875
ViT           ``huggingface/pytorch-image-models``, ``timm/models/vision_transformer.py``:
              crop_pct 0.9 and means and deviations of 0.5
============  =======================================================================

timm evaluates DeiT, Swin and PVT v2 with crop_pct 0.9, so its own figures for them differ.
"""

from __future__ import annotations

from fractions import Fraction

from paca_bench.data.preprocess import Preprocessing

_TIMM_CROP = Fraction(9, 10)
_HALF = (0.5, 0.5, 0.5)
_SWIN = "microsoft/Swin-Transformer, data/build.py"

# The start of a model's name -> its evaluation; the first that fits.
_BY_PREFIX = {
    "pacavit_": Preprocessing("iVMCL/PaCaViT, models/paca_vit.py", crop=_TIMM_CROP),
    "swin_base_patch4_window12_384": Preprocessing(f"{_SWIN} with TEST.CROP False", crop=None),
    "swin_": Preprocessing(_SWIN),
    "pvt_": Preprocessing("whai362/PVT, datasets.py"),
    "deit_": Preprocessing("facebookresearch/deit, datasets.py"),
    "vit_": Preprocessing(
        "huggingface/pytorch-image-models, timm/models/vision_transformer.py",
        crop=_TIMM_CROP,
        mean=_HALF,
        std=_HALF,
    ),
}
_OTHER = Preprocessing("none is published for this model; the usual one of ImageNet")


def published_preprocessing(model: str) -> Preprocessing:
    """That of the model's family; of others the usual 256 / 224 with ImageNet's mean and std."""
    fitting = (one for prefix, one in _BY_PREFIX.items() if model.startswith(prefix))
    return next(fitting, _OTHER)
