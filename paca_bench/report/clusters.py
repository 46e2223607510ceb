"""Learned clusters as pictures: for a page of their own, and for a section of the report."""

from __future__ import annotations

import base64
import colorsys
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from paca_bench.analyse.curves import Row, records, resolution_text
from paca_bench.clusters import ImageClusters, StageClusters, image_from_json
from paca_bench.data.png import color_png, palette_png
from paca_bench.report.page import check_target, environment, policy, source, write_atomically
from paca_bench.units import format_percent, significant
from paca_bench.version import package_version

if TYPE_CHECKING:
    import pandas as pd

SEGMENT_OPACITY = 0.62
# Weight, as a fraction of the cluster's largest -> colour. The image shows through: more of
# it where the weight is low, dimmed.
_HEAT = (
    (0.0, (8, 6, 38, 165)),
    (0.3, (92, 20, 110, 175)),
    (0.6, (212, 68, 60, 190)),
    (0.85, (250, 170, 40, 205)),
    (1.0, (255, 246, 170, 220)),
)
# The fraction of a circle after which hues repeat last: neighbours in rank differ most.
_GOLDEN = (math.sqrt(5) - 1) / 2
_LIGHTNESS = (0.52, 0.7, 0.36)


@dataclass(frozen=True)
class ClusterView:
    """One cluster's small map: its place in the stage's sheet of maps, and its captions."""

    name: str
    share: str
    hint: str
    position: str
    color: str


@dataclass(frozen=True)
class StageView:
    """One stage; ``overlay`` and ``sheet`` are images, empty where there is nothing to show.

    ``used`` clusters are strongest for some token.
    """

    stage: int
    grid: str
    num_clusters: int
    used: int
    overlay: str
    sheet: str
    sheet_size: str
    clusters: list[ClusterView]


@dataclass(frozen=True)
class ImageView:
    """One image with its stages; ``ratio`` is width over height, as CSS writes it."""

    name: str
    photo: str
    ratio: str
    is_small: bool
    stages: list[StageView]


def image_views(images: Sequence[ImageClusters]) -> list[ImageView]:
    """The pictures of a network's images; in all of them a cluster has the same colour."""
    stages = zip(*(image.stages for image in images), strict=True)
    colors = [stage_colors(of_stage) for of_stage in stages]
    return [_image_view(image, colors) for image in images]


def _image_view(image: ImageClusters, colors: Sequence[NDArray[np.uint8]]) -> ImageView:
    height, width = image.pixels.shape[:2]
    return ImageView(
        name=image.name,
        photo=_data_url(color_png(image.pixels)),
        ratio=f"{width} / {height}",
        is_small=max(height, width) <= 96,
        stages=[_stage_view(*pair) for pair in zip(image.stages, colors, strict=True)],
    )


def _stage_view(stage: StageClusters, colors: NDArray[np.uint8]) -> StageView:
    height, width = stage.grid
    columns = max(math.ceil(math.sqrt(len(stage.indices))), 1)
    rows = max(math.ceil(len(stage.indices) / columns), 1)
    return StageView(
        stage=stage.stage,
        grid=f"{height}x{width}",
        num_clusters=stage.num_clusters,
        used=len(np.unique(stage.strongest)),
        overlay=_data_url(color_png(segmentation_pixels(stage, colors))) if len(colors) else "",
        sheet=_data_url(map_sheet(stage, columns, rows)) if len(stage.indices) else "",
        sheet_size=f"{100 * columns}% {100 * rows}%",
        clusters=[
            ClusterView(
                name=str(index),
                share=format_percent(count / math.prod(stage.grid)),
                hint=_hint(stage, place, int(count)),
                position=f"{_percent(place % columns, columns)} {_percent(place // columns, rows)}",
                color=_css_color(colors[index]) if count else "",
            )
            for place, (index, count) in enumerate(zip(stage.indices, stage.tokens, strict=True))
        ],
    )


def _hint(stage: StageClusters, place: int, count: int) -> str:
    total = math.prod(stage.grid)
    peak, spread = stage.peaks[place], stage.spreads[place]
    return (
        f"cluster {stage.indices[place]}: strongest for {count:,} of {total:,} tokens; "
        f"largest weight {significant(peak)}, {significant(peak * total)} times the mean 1/N; "
        f"spread over {significant(spread)} tokens"
    )


def stage_colors(stages: Sequence[StageClusters]) -> NDArray[np.uint8]:
    """``[M, 3]``: a colour a cluster of one stage, over all images.

    By rank in tokens, so that those that cover most differ most.
    """
    num_clusters = stages[0].num_clusters
    strongest = np.concatenate([stage.strongest for stage in stages])
    counts = np.bincount(strongest, minlength=num_clusters)
    colors = np.empty((num_clusters, 3), dtype=np.uint8)
    for rank, index in enumerate(np.argsort(-counts, kind="stable")):
        hue, lightness = (0.58 + rank * _GOLDEN) % 1, _LIGHTNESS[rank % len(_LIGHTNESS)]
        colors[index] = [round(255 * v) for v in colorsys.hls_to_rgb(hue, lightness, 0.78)]
    return colors


def segmentation_pixels(stage: StageClusters, colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``[H, W, 4]``: each token in the colour of its strongest cluster."""
    pixels = np.full((*stage.grid, 4), round(255 * SEGMENT_OPACITY), dtype=np.uint8)
    pixels[..., :3] = colors[stage.strongest.reshape(stage.grid)]
    return pixels


def map_sheet(stage: StageClusters, columns: int, rows: int) -> bytes:
    """A PNG of all maps side by side, row by row; one file is a fraction of many small ones."""
    height, width = stage.grid
    levels = np.zeros((rows * columns, height, width), dtype=np.uint8)
    levels[: len(stage.indices)] = stage.levels.reshape(-1, height, width)
    sheet = levels.reshape(rows, columns, height, width).swapaxes(1, 2)
    return palette_png(sheet.reshape(rows * height, columns * width), heat_palette())


def heat_palette() -> NDArray[np.uint8]:
    """``[256, 4]``: the colour and opacity of each level."""
    stops = [255 * stop for stop, _ in _HEAT]
    channels = zip(*(color for _, color in _HEAT), strict=True)
    values = [np.interp(np.arange(256), stops, channel) for channel in channels]
    palette: NDArray[np.uint8] = np.rint(np.stack(values, axis=1)).astype(np.uint8)
    return palette


def heat_gradient() -> str:
    """The same colours, solid, as a CSS gradient for the key."""
    stops = (f"{_css_color(color[:3])} {stop:.0%}" for stop, color in _HEAT)
    return f"linear-gradient(90deg, {', '.join(stops)})"


def _css_color(color: Any) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in color))


def _percent(place: int, count: int) -> str:
    """The position, as CSS counts it, of one of ``count`` equal parts of a background."""
    return f"{100 * place / max(count - 1, 1):.6g}%"


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@dataclass(frozen=True)
class ClusterPanel:
    """One trained host: where and how it was trained, and a few test images."""

    id: str
    title: str
    training: str
    images: list[ImageView]


def cluster_panels(frame: pd.DataFrame) -> list[ClusterPanel]:
    """Every case whose record kept its learned clusters, in the order of the frame.

    Raises:
        StoreError: what a record kept is damaged.
    """
    learned = [isinstance(details.get("clusters"), Mapping) for details in frame["details"]]
    kept = records(frame[learned])
    several = frame["run"].nunique() > 1
    return [_panel(f"learned-{number}", row, several) for number, row in enumerate(kept)]


def _panel(id_: str, row: Row, several_runs: bool) -> ClusterPanel:
    details = row["details"]
    side = resolution_text(row)
    title = f"{row['label']}, host {row['host']}, trained at {side} px"
    kept = details["clusters"]
    return ClusterPanel(
        id=id_,
        title=f"{row['run']}: {title}" if several_runs else title,
        training=f"on {details.get('dataset', 'unknown images')} at {side} px, "
        f"seed {kept.get('seed', 'unknown')}",
        images=image_views([image_from_json(image) for image in kept.get("images", ())]),
    )


def write_clusters_page(
    image: ImageClusters, output: Path, *, model: str, checkpoint: str | None
) -> Path:
    """Write the clusters of one image to one HTML file that makes no request to anywhere.

    Args:
        image: what to show.
        output: the file, in a folder that exists; one of that name is replaced.
        model: its name.
        checkpoint: where the weights came from; None says that they are random.

    Raises:
        StoreError: ``output`` cannot be written.
    """
    check_target(output)
    pages = environment()
    height, width = image.pixels.shape[:2]
    text = pages.get_template("clusters.html.j2").render(
        view=image_views([image])[0],
        model=model,
        checkpoint=checkpoint,
        size=f"{height}x{width}",
        version=package_version(),
        policy=policy(()),
        css=Markup(source(pages, "report.css") + source(pages, "clusters.css")),
        gradient=heat_gradient(),
    )
    write_atomically(output, text)
    return output
