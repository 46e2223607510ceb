"""A checkpoint evaluated on labelled images, resolution by resolution."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from paca_bench.analyse.proportion import proportion_estimate
from paca_bench.analyse.throughput import throughput_estimate
from paca_bench.axes import MAX_RESOLUTION, parse_integers
from paca_bench.data.preprocess import Preprocessing
from paca_bench.data.registry import OnError
from paca_bench.data.stream import stream_batches
from paca_bench.environment import describe_environment, resolve_device, usable_cores
from paca_bench.errors import CheckpointError, SpecError
from paca_bench.evaluate.labels import (
    LabelledImages,
    check_class_count,
    find_images,
    read_class_names,
)
from paca_bench.evaluate.protocol import published_preprocessing
from paca_bench.evaluate.published import (
    NUM_CLASSES,
    NUM_IMAGES,
    PublishedTop1,
    published_side,
    published_top1,
)
from paca_bench.evaluate.result import Header, Row
from paca_bench.models.registry import get_model
from paca_bench.plugins import load_plugins
from paca_bench.spec import parse_settings

if TYPE_CHECKING:
    from paca_bench.measure.evaluation import Computing, Pass
    from paca_bench.models.trained import Trained

DEFAULT_BATCH = 64
# Beyond this many classes, "among the five largest" says something.
TOP = 5
# Batches decoded while the device works on one. On a CPU the two would take each other's cores,
# and the model's own time would be that of both.
AHEAD = 2

Observer = Callable[[int, int], object]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that an evaluation needs, checked; ``rows`` makes it. See ``prepare``."""

    header: Header
    trained: Trained
    images: LabelledImages
    preprocessing: Preprocessing
    computing: Computing
    sides: tuple[int, ...]
    batch: int
    threads: int
    on_error: OnError

    def rows(self, observer: Observer = lambda side, images: None) -> Iterator[Row]:
        """One pass over all images a resolution, in the order asked for.

        Where memory runs out, the row says so, and the next resolution is tried.

        Args:
            observer: called with the resolution and the number of images done in each batch.

        Raises:
            DataError: an image cannot be read and is not to be skipped.
            CheckpointError: a logit is not finite.
            UnsupportedError: the device has no such computation.
        """
        from paca_bench.measure.failure import is_out_of_memory

        for side in self.sides:
            try:
                row = self._row(side, partial(observer, side))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                row = self._unmeasured(
                    side, f"out of memory in batches of {self.batch}; take a smaller --batch"
                )
            yield row

    def _row(self, side: int, observer: Callable[[int], object]) -> Row:
        from paca_bench.measure.evaluation import evaluate_pass, num_threads

        module, notes = self.trained.build(side)
        batches = stream_batches(
            self.images.paths,
            self.images.labels,
            partial(self.preprocessing.read, side=side),
            size=self.batch,
            threads=self.threads or usable_cores(),
            ahead=AHEAD if self.computing.device.startswith("cuda") else 0,
            on_error=self.on_error,
        )
        with num_threads(self.threads), closing(batches):
            done = evaluate_pass(module, batches, self.preprocessing, self.computing, observer)
        if not done.images:
            return self._unmeasured(side, "no image can be read", done)
        many = self.trained.num_classes > TOP
        # The first batch waits for what is started once: threads, kernels, file caches.
        sizes = done.sizes[1:]
        return Row(
            side=side,
            preprocessing=self.preprocessing.describe(side),
            published=self._published(side),
            images=done.images,
            bad=tuple(done.bad),
            top1=proportion_estimate(done.top1, done.images),
            top5=proportion_estimate(done.top5, done.images) if many else None,
            model_images_per_s=throughput_estimate(done.model_s[1:], sizes),
            images_per_s=throughput_estimate(done.total_s[1:], sizes),
            kernel=done.kernel,
            notes=tuple(notes),
        )

    def _unmeasured(self, side: int, reason: str, done: Pass | None = None) -> Row:
        return Row(
            side=side,
            preprocessing=self.preprocessing.describe(side),
            published=self._published(side),
            bad=() if done is None else tuple(done.bad),
            reason=reason,
        )

    def _published(self, side: int) -> PublishedTop1:
        trained = self.trained
        return published_top1(trained.model.name, side, trained.options, trained.num_classes)


def prepare(
    model: str,
    checkpoint: Path,
    data: str,
    *,
    res: str | None = None,
    classes: Path | None = None,
    batch: object = DEFAULT_BATCH,
    device: str = "auto",
    dtype: str = "float32",
    autocast: str = "none",
    threads: object = 0,
    bad_images: str = "raise",
    options: Mapping[str, Any] | None = None,
    plugins: Iterable[str] = (),
) -> Evaluation:
    """Check all that was asked for and read the checkpoint; no image is opened yet.

    Args:
        model: a registered model.
        checkpoint: its weights, ``.pth`` or ``.safetensors``; read without running code.
        data: ``folder:DIR`` with a folder a class, see ``labels.find_images``.
        res: sides of square images in pixels, by comma; None for the published size.
        classes: a file with all class folder names in the order of the logits; None where
            there is a folder for every logit and their names are in that order.
        batch: images a call.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.
        dtype: of weights and images.
        autocast: ``none``, ``bfloat16`` or ``float16``, with float32 weights.
        threads: of a CPU, for the model and for decoding; 0 for all.
        bad_images: what to do about files that cannot be read, and class folders without
            images: ``raise``, or ``skip`` and count them.
        options: settings of the model that differ from the published ones.
        plugins: files with models to load first.

    Raises:
        SpecError: a name or a value is not allowed.
        UnsupportedError: the model cannot work at a resolution.
        DataError: images or classes are missing, or are not those of the checkpoint.
        CheckpointError: the checkpoint cannot be read, or does not fit the model.
    """
    from paca_bench.measure.evaluation import Computing
    from paca_bench.models.trained import read_trained

    load_plugins(plugins)
    options = dict(options or {})
    settings = parse_settings(
        {
            "batch": batch,
            "device": device,
            "dtype": dtype,
            "autocast": autocast,
            "threads": threads,
            "bad_images": bad_images,
        }
    )
    computing = Computing(
        resolve_device(settings["device"]),
        _single(settings["dtypes"], "--dtype"),
        _single(settings["autocasts"], "--autocast"),
    )
    if computing.autocast != "none" and computing.dtype != "float32":
        raise SpecError(
            f"autocast works on float32 weights, not on {computing.dtype}; take --dtype float32 "
            f"with --autocast"
        )
    on_error: OnError = settings["bad_images"]
    variant = get_model(model)
    sides = parse_integers(
        published_side(model) if res is None else res, "--res", 1, MAX_RESOLUTION
    )
    for side in sides:
        # The closed form refuses what cannot be built, before any file is looked at.
        variant.cost(height=side, width=side, **options)
    names = None if classes is None else read_class_names(classes)
    images = find_images(data, names, on_error)
    trained = read_trained(model, checkpoint, sides[0], options)
    for side in sides:
        trained.check(side)
    check_class_count(images, trained.num_classes, checkpoint, classes)
    preprocessing = published_preprocessing(model)
    batch_size = _single(settings["batches"], "--batch")
    facts = describe_environment(computing.device)
    header = Header(
        model=model,
        options=options,
        checkpoint=str(checkpoint),
        sha256=_sha256(checkpoint),
        data=str(images.root),
        num_classes=trained.num_classes,
        classes_present=len(set(images.labels)),
        images=len(images.paths),
        preprocessing=f"{preprocessing.normalisation} ({preprocessing.source})",
        computing=str(computing),
        batch=batch_size,
        # Nothing here sets denormals to zero, as the workers of a sweep do.
        environment={
            **facts,
            "threads": settings["threads"] or facts["threads"],
            "flush_denormal": False,
        },
        notes=tuple(_notes(images, trained.num_classes)),
    )
    return Evaluation(
        header=header,
        trained=trained,
        images=images,
        preprocessing=preprocessing,
        computing=computing,
        sides=sides,
        batch=batch_size,
        threads=settings["threads"],
        on_error=on_error,
    )


def _notes(images: LabelledImages, num_classes: int) -> Iterator[str]:
    if images.empty:
        yield f"{len(images.empty)} class folders have no images: {', '.join(images.empty)}"
    present = len(set(images.labels))
    if present < num_classes:
        yield (
            f"images of {present} of the {num_classes} classes; each is sought among all "
            f"{num_classes}"
        )
    if num_classes == NUM_CLASSES and len(images.paths) != NUM_IMAGES:
        yield (
            f"a published top-1 is over the {NUM_IMAGES:,} images of ImageNet's validation set; "
            f"here are {len(images.paths):,}"
        )


def _single(values: Sequence[T], flag: str) -> T:
    if len(values) != 1:
        raise SpecError(f"{flag} takes one value, not {', '.join(map(str, values))}")
    return values[0]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
