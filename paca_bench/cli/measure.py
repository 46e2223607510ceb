"""Commands that run something on a device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from paca_bench.cli.base import INTERRUPTED, app
from paca_bench.cli.options import (
    Batches,
    Clusters,
    Device,
    Dtypes,
    Host,
    Json,
    Mechanisms,
    Options,
    Out,
    Plugins,
    Suite,
    Text,
    Threads,
    given_options,
    option,
    print_json,
    summarise,
)

# Options of ``sweep`` that are not settings of the spec.
_CONTROL = ("suite", "out", "resume", "dry_run")


@app.command()
def sweep(
    context: typer.Context,
    res: Annotated[
        Text, option("Resolutions: 224..1024, 224..1024:160, 224..1024/9, 224,384,256x192.")
    ] = None,
    mechanism: Mechanisms = None,
    model: Annotated[
        Text, option("Published models, timm:NAME or hf:NAME, by comma; implies --level model.")
    ] = None,
    clusters: Clusters = None,
    option: Options = None,
    level: Annotated[Text, option("host, layer, model.  [default: host,layer]")] = None,
    host: Host = None,
    stage: Annotated[
        Text, option("Stages whose geometry layers are measured at.  [default: 1]")
    ] = None,
    metrics: Annotated[
        Text,
        option(
            "complexity, latency, memory, accuracy, energy.  [default: all but energy; "
            "at level model nor accuracy]"
        ),
    ] = None,
    mode: Annotated[Text, option("forward, train, checkpointed.  [default: forward,train]")] = None,
    batch: Batches = None,
    dtype: Dtypes = None,
    kernel: Annotated[
        Text, option("Attention kernels: auto, flash, efficient, math.  [default: auto]")
    ] = None,
    memory_format: Annotated[
        Text, option("contiguous, channels_last; of host and model.  [default: contiguous]")
    ] = None,
    compile: Annotated[
        Text, option("none, default, reduce-overhead, max-autotune.  [default: none]")
    ] = None,
    tf32: Annotated[
        Text, option("off, on; auto is convolutions only. CUDA alone.  [default: auto]")
    ] = None,
    autocast: Annotated[Text, option("none, bfloat16, float16.  [default: none]")] = None,
    device: Device = None,
    budget: Annotated[Text, option("Total wall time: 90s, 5m, 1h30m.  [default: 15m]")] = None,
    precision: Annotated[
        Text, option("Half-width of a latency's interval to stop at.  [default: 2%]")
    ] = None,
    processes: Annotated[Text, option("Fewest processes per latency.  [default: 3]")] = None,
    timeout: Annotated[Text, option("Longest time of one process.  [default: 5m]")] = None,
    threads: Threads = None,
    allocator: Annotated[
        Text, option("tuned keeps freed memory in the process; system.  [default: tuned]")
    ] = None,
    doctor: Annotated[
        bool | None,
        option(
            "Examine the machine first: 5% of --budget, at most 30 s.  [default: on]",
            "--doctor/--no-doctor",
        ),
    ] = None,
    seed: Annotated[Text, option("Of order, weights and inputs.  [default: 0]")] = None,
    data: Annotated[Text, option("Images for accuracy, see list data.  [default: mnist5k]")] = None,
    accuracy_level: Annotated[
        Text, option("Of --level, what is trained: host, model.  [default: all of it]")
    ] = None,
    task: Annotated[
        Text, option("What is trained for accuracy: classify, segment.  [default: classify]")
    ] = None,
    head: Annotated[Text, option("Heads of --task segment: paca, linear.  [default: both]")] = None,
    accuracy_res: Annotated[
        Text, option("Resolutions to train accuracy at.  [default: 32]")
    ] = None,
    seeds: Annotated[Text, option("Trainings per accuracy.  [default: 3]")] = None,
    train_budget: Annotated[
        Text,
        option(
            "Of each training: steps:300, images:50k, macs:1e15, time:60s.  [default: recipe's]"
        ),
    ] = None,
    bad_images: Annotated[
        Text,
        option("What cannot be read: raise is an error, skip leaves it out.  [default: raise]"),
    ] = None,
    plugin: Plugins = None,
    suite: Suite = None,
    out: Out = None,
    resume: Annotated[bool, option("Go on with the run in --out.", "--resume")] = False,
    dry_run: Annotated[
        bool, option("Print the plan with predicted cost and memory; run nothing.", "--dry-run")
    ] = False,
) -> None:
    """Measure mechanisms over resolution and cluster count, and write a report."""
    given = given_options(context, _CONTROL)
    if dry_run:
        _print_plan(suite, given, out if resume else None)
        return
    _run_sweep(suite, out, resume, given)


def _run_sweep(suite: Text, out: Path | None, resume: bool, settings: Mapping[str, Any]) -> None:
    from contextlib import closing

    from rich.console import Console

    from paca_bench.progress import make_progress
    from paca_bench.store import RUN_FILE
    from paca_bench.sweeper import default_folder, sweep

    console = Console()
    folder = out if out or resume else default_folder()
    with closing(make_progress(console)) as progress:
        try:
            run = sweep(suite=suite, out=folder, resume=resume, observer=progress, **settings)
        except KeyboardInterrupt:
            progress.close()  # before anything is printed below it
            kept = folder is not None and (folder / RUN_FILE).exists()
            typer.echo(
                f"interrupted; what was measured is kept. Go on with: "
                f"paca-bench sweep --resume --out {folder}"
                if kept
                else "interrupted before anything was measured",
                err=True,
            )
            raise typer.Exit(INTERRUPTED) from None
    summarise(console, run)


def _print_plan(suite: Text, settings: Mapping[str, Any], resumed: Path | None) -> None:
    from rich.console import Console

    from paca_bench.preview import print_plan
    from paca_bench.sweeper import preview

    print_plan(preview(suite, settings, resumed), Console())


@app.command()
def doctor(
    device: Device = None,
    threads: Threads = None,
    seconds: Annotated[
        Text, option("How long the experiment may take: 20s, 1m.  [default: 45s]")
    ] = None,
    json: Json = False,
) -> None:
    """How small a change this machine can show, what disturbs it, and the commands that mend it."""
    from rich.console import Console

    from paca_bench.axes import parse_duration
    from paca_bench.doctor.diagnose import SECONDS, diagnose
    from paca_bench.doctor.text import print_diagnosis
    from paca_bench.spec import parse_settings

    given = {"device": device, "threads": threads}
    settings = parse_settings({name: value for name, value in given.items() if value is not None})
    diagnosis = diagnose(
        settings.get("device", "auto"),
        settings.get("threads", 0),
        SECONDS if seconds is None else parse_duration(seconds, "--seconds"),
    )
    if json:
        print_json(diagnosis.to_json())
    else:
        print_diagnosis(diagnosis, Console())
