"""The command line: parses, calls, prints. Everything heavy is imported inside a command.

Annotations are objects here and not text: typer would evaluate each text at every start.
"""

import atexit
import gc
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from paca_bench.errors import PacaBenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    name="paca-bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fair, uncertainty-aware benchmarks of vision attention: PaCa, Swin, PVT and ViT.",
)

INTERRUPTED = 130

Text = str | None

# Options of ``sweep`` that are not settings of the spec.
_CONTROL = ("suite", "out", "resume", "dry_run")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from paca_bench.version import package_version

        typer.echo(f"paca-bench {package_version()}")
        raise typer.Exit


def _option(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, show_default=False)


@app.command()
def sweep(
    context: typer.Context,
    res: Annotated[
        Text, _option("Resolutions: 224..1024, 224..1024:160, 224..1024/9, 224,384,256x192.")
    ] = None,
    mechanism: Annotated[Text, _option("Mechanisms, by comma.  [default: all]")] = None,
    model: Annotated[
        Text, _option("Published models, timm:NAME or hf:NAME, by comma; implies --level model.")
    ] = None,
    clusters: Annotated[
        Text, _option("Numbers of clusters M, by comma.  [default: 25,49,100]")
    ] = None,
    level: Annotated[Text, _option("host, layer, model.  [default: host,layer]")] = None,
    host: Annotated[
        Text, _option("Size of the pyramid: nano, tiny, small.  [default: nano]")
    ] = None,
    stage: Annotated[
        Text, _option("Stages whose geometry layers are measured at.  [default: 1]")
    ] = None,
    metrics: Annotated[
        Text, _option("complexity, latency, memory, accuracy, energy.  [default: all but energy]")
    ] = None,
    mode: Annotated[
        Text, _option("forward, train, checkpointed.  [default: forward,train]")
    ] = None,
    batch: Annotated[Text, _option("Images per call, by comma.  [default: 1]")] = None,
    dtype: Annotated[
        Text, _option("float32, bfloat16, float16, float64.  [default: float32]")
    ] = None,
    kernel: Annotated[
        Text, _option("Attention kernels: auto, flash, efficient, math.  [default: auto]")
    ] = None,
    memory_format: Annotated[
        Text, _option("contiguous, channels_last; of host and model.  [default: contiguous]")
    ] = None,
    compile: Annotated[
        Text, _option("none, default, reduce-overhead, max-autotune.  [default: none]")
    ] = None,
    tf32: Annotated[
        Text, _option("off, on; auto is convolutions only. CUDA alone.  [default: auto]")
    ] = None,
    autocast: Annotated[Text, _option("none, bfloat16, float16.  [default: none]")] = None,
    device: Annotated[Text, _option("auto, cpu, cuda or cuda:INDEX.  [default: auto]")] = None,
    budget: Annotated[Text, _option("Total wall time: 90s, 5m, 1h30m.  [default: 15m]")] = None,
    precision: Annotated[
        Text, _option("Half-width of a latency's interval to stop at.  [default: 2%]")
    ] = None,
    processes: Annotated[Text, _option("Fewest processes per latency.  [default: 3]")] = None,
    timeout: Annotated[Text, _option("Longest time of one process.  [default: 5m]")] = None,
    threads: Annotated[Text, _option("CPU threads; 0 for all.  [default: 0]")] = None,
    allocator: Annotated[
        Text, _option("tuned keeps freed memory in the process; system.  [default: tuned]")
    ] = None,
    seed: Annotated[Text, _option("Of order, weights and inputs.  [default: 0]")] = None,
    data: Annotated[
        Text, _option("Images for accuracy: mnist5k, folder:DIR.  [default: mnist5k]")
    ] = None,
    accuracy_res: Annotated[
        Text, _option("Resolutions to train accuracy at.  [default: 32]")
    ] = None,
    seeds: Annotated[Text, _option("Trainings per accuracy.  [default: 3]")] = None,
    train_steps: Annotated[Text, _option("Steps per training.  [default: the recipe's]")] = None,
    plugin: Annotated[
        list[str] | None, _option("Python file with mechanisms of yours; may repeat.")
    ] = None,
    suite: Annotated[Text, _option("A TOML suite, or the name of one that ships.")] = None,
    out: Annotated[Path | None, _option("Run folder.  [default: results/DATE]")] = None,
    resume: Annotated[bool, _option("Go on with the run in --out.", "--resume")] = False,
    dry_run: Annotated[
        bool, _option("Print the plan with predicted cost and memory; run nothing.", "--dry-run")
    ] = False,
) -> None:
    """Measure mechanisms over resolution and cluster count, and write a report."""
    # An option that was not given is None, or an empty tuple where it may repeat.
    given = {k: v for k, v in context.params.items() if v not in (None, ()) and k not in _CONTROL}
    if dry_run:
        _print_plan(suite, given, out if resume else None)
        return
    _run_sweep(suite, out, resume, given)


def _run_sweep(suite: Text, out: Path | None, resume: bool, settings: "Mapping[str, Any]") -> None:
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
    _summarise(console, run)


def _summarise(console: Any, run: Path) -> None:
    from paca_bench.report.html import write_report
    from paca_bench.report.text import print_summary
    from paca_bench.results import load_results
    from paca_bench.store import REPORT_FILE, RunFolder

    print_summary(load_results(run), console, [RunFolder.open(run).header])
    report = write_report(run, run / REPORT_FILE)
    typer.echo(f"\nRun folder: {run}\nReport:     {report}")


def _print_plan(suite: Text, settings: "Mapping[str, Any]", resumed: Path | None) -> None:
    from rich.console import Console

    from paca_bench.preview import print_plan
    from paca_bench.sweeper import preview

    print_plan(preview(suite, settings, resumed), Console())


@app.command()
def analyze(
    context: typer.Context,
    res: Annotated[
        Text, _option("Resolutions: 224..8192, 224..8192:160, 224..8192/20, 224,384,256x192.")
    ] = None,
    mechanism: Annotated[Text, _option("Mechanisms, by comma.  [default: all]")] = None,
    model: Annotated[Text, _option("Published models, by comma.  [default: one a family]")] = None,
    clusters: Annotated[
        Text, _option("Numbers of clusters M, by comma.  [default: 25,49,100]")
    ] = None,
    level: Annotated[Text, _option("layer, host, model.  [default: all]")] = None,
    host: Annotated[
        Text, _option("Size of the pyramid: nano, tiny, small.  [default: nano]")
    ] = None,
    stage: Annotated[
        Text, _option("Stages whose geometry layers are looked at.  [default: 1]")
    ] = None,
    mode: Annotated[Text, _option("forward, train, checkpointed.  [default: forward]")] = None,
    batch: Annotated[Text, _option("Images per call, by comma.  [default: 1]")] = None,
    dtype: Annotated[
        Text, _option("float32, bfloat16, float16, float64.  [default: float32]")
    ] = None,
    memory: Annotated[bool, _option("Also predict each case's peak memory.", "--memory")] = False,
    plugin: Annotated[
        list[str] | None, _option("Python file with mechanisms of yours; may repeat.")
    ] = None,
    out: Annotated[Path | None, _option("Run folder.  [default: results/DATE]")] = None,
) -> None:
    """What every case must cost, from closed forms alone: nothing is run."""
    from rich.console import Console

    from paca_bench.analyzer import analyze
    from paca_bench.sweeper import default_folder

    own = ("memory", "out")
    given = {k: v for k, v in context.params.items() if v not in (None, ()) and k not in own}
    _summarise(Console(), analyze(out=out or default_folder(), memory=memory, **given))


@app.command()
def frontier(
    context: typer.Context,
    memory: Annotated[Text, _option("Weights, input and peak must fit this: 16GB, 15GiB.")] = None,
    latency: Annotated[Text, _option("One call must not take longer: 50ms.")] = None,
    macs: Annotated[Text, _option("One image must not cost more: 5G.")] = None,
    mechanism: Annotated[Text, _option("Mechanisms, by comma.  [default: all]")] = None,
    model: Annotated[Text, _option("Published models, by comma; implies --level model.")] = None,
    clusters: Annotated[
        Text, _option("Numbers of clusters M, by comma.  [default: 25,49,100]")
    ] = None,
    level: Annotated[Text, _option("host, layer, model.  [default: host]")] = None,
    host: Annotated[
        Text, _option("Size of the pyramid: nano, tiny, small.  [default: nano]")
    ] = None,
    stage: Annotated[Text, _option("Stages of layers.  [default: 1]")] = None,
    mode: Annotated[Text, _option("forward, train, checkpointed.  [default: forward]")] = None,
    batch: Annotated[Text, _option("Images per call, by comma.  [default: 1]")] = None,
    dtype: Annotated[
        Text, _option("float32, bfloat16, float16, float64.  [default: float32]")
    ] = None,
    device: Annotated[Text, _option("auto, cpu, cuda or cuda:INDEX.  [default: auto]")] = None,
    budget: Annotated[Text, _option("Total time of measuring: 90s, 5m.  [default: 5m]")] = None,
    processes: Annotated[Text, _option("Processes per latency.  [default: 3]")] = None,
    threads: Annotated[Text, _option("CPU threads; 0 for all.  [default: 0]")] = None,
    plugin: Annotated[
        list[str] | None, _option("Python file with mechanisms of yours; may repeat.")
    ] = None,
    predict_only: Annotated[
        bool, _option("Predict, and measure nothing.", "--predict-only")
    ] = False,
    json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
) -> None:
    """The largest resolution that fits a limit of memory, latency or MACs."""
    from rich.console import Console

    from paca_bench.errors import NothingMeasuredError
    from paca_bench.frontier import frontier, make_limits
    from paca_bench.frontier.text import print_frontiers

    own = ("memory", "latency", "macs", "predict_only", "json")
    given = {k: v for k, v in context.params.items() if v not in (None, ()) and k not in own}
    limits = make_limits({"memory": memory, "latency": latency, "macs": macs})
    entries = list(frontier(limits, measure=not predict_only, **given))
    if json:
        _print_json({"frontiers": [entry.to_json() for entry in entries]})
    else:
        print_frontiers(entries, Console())
    if all(entry.resolution is None for entry in entries):
        raise NothingMeasuredError("no resolution was found that fits; the notes say why")


@app.command()
def iso(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    reference: Annotated[str, typer.Option(help="The label whose cost is given.")] = "vit",
    metric: Annotated[str, typer.Option(help="macs, latency or memory.")] = "macs",
    json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
) -> None:
    """At equal cost: which resolution, and how many clusters, others reach."""
    from rich.console import Console

    from paca_bench import iso as equal

    tables = equal.iso(run, reference, metric)
    if json:
        _print_json(tables)
    else:
        equal.print_iso(tables, metric, Console())


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")],
) -> None:
    """Rebuild a run's HTML report, or compare several runs in one."""
    from paca_bench.report.html import write_report

    typer.echo(f"Report: {write_report(runs, output)}")


@app.command()
def compare(
    base: Annotated[
        Path,
        typer.Argument(
            help="A run folder, a pytest-benchmark JSON file, or a folder of either.",
            show_default=False,
        ),
    ],
    new: Annotated[Path, typer.Argument(help="The same, of what is new.", show_default=False)],
    fail_on: Annotated[
        Text, _option("What fails.  [default: latency>5%,macs>0,params>0,memory>1%]")
    ] = None,
    q: Annotated[
        float | None, _option("False discovery rate over all cases, two-sided.  [default: 0.02]")
    ] = None,
    allow_different: Annotated[
        bool, _option("Compare latencies of different conditions too.", "--allow-different")
    ] = False,
    strict: Annotated[bool, _option("Exit 4 if anything stays open.", "--strict")] = False,
    markdown: Annotated[Path | None, _option("Write Markdown for a pull request.")] = None,
    html: Annotated[Path | None, _option("Write one HTML file, with all samples.")] = None,
    json: Annotated[Path | None, _option("Write JSON.")] = None,
    junit: Annotated[Path | None, _option("Write JUnit XML.")] = None,
    github: Annotated[
        bool, _option("Print annotations, and write the step summary.", "--github")
    ] = False,
) -> None:
    """Which cases of NEW are slower than BASE, and which counts changed; exit 1 if one is."""
    from rich.console import Console

    from paca_bench.compare import compare as compared
    from paca_bench.compare.output import check_targets, write_github, write_outputs
    from paca_bench.compare.text import print_comparison

    targets = {"markdown": markdown, "html": html, "json": json, "junit": junit}
    outputs = {kind: path for kind, path in targets.items() if path is not None}
    check_targets(outputs)
    settings = {"fail_on": fail_on, "q": q}
    given: dict[str, Any] = {k: v for k, v in settings.items() if v is not None}
    result = compared(base, new, allow_different=allow_different, strict=strict, **given)
    print_comparison(result, Console())
    write_outputs(result, outputs)
    if github:
        write_github(result)
    raise typer.Exit(result.exit_code)


@app.command("list")
def list_(
    kind: Annotated[
        Text,
        typer.Argument(
            help="mechanisms, models, levels, metrics, suites or data.", show_default=False
        ),
    ] = None,
    plugin: Annotated[list[str] | None, _option("Python file with mechanisms of yours.")] = None,
    json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
) -> None:
    """What there is: mechanisms, models, levels, metrics, suites and data sets."""
    from paca_bench.catalogue import catalogue, print_catalogue

    content = catalogue(kind, plugin or ())
    if json:
        _print_json(content)
    else:
        print_catalogue(content)


@app.command()
def explain(
    name: Annotated[
        str,
        typer.Argument(help="A mechanism or a model; see 'paca-bench list'.", show_default=False),
    ],
    res: Annotated[
        Text, _option("Image of a model or host: HxW, or one side of a square.  [default: 224]")
    ] = None,
    host: Annotated[
        Text, _option("Explain the mechanism in every block of a host: nano, tiny, small.")
    ] = None,
    grid: Annotated[
        Text, _option("Tokens of a mechanism: HxW, or one side.  [default: 56x56]")
    ] = None,
    dim: Annotated[int | None, _option("Channels C of a mechanism.  [default: 96]")] = None,
    heads: Annotated[int | None, _option("Heads h of a mechanism.  [default: 2]")] = None,
    clusters: Annotated[int | None, _option("Clusters M, where the mechanism has them.")] = None,
    option: Annotated[
        list[str] | None, _option("A further option as NAME=VALUE; may repeat.")
    ] = None,
    plugin: Annotated[list[str] | None, _option("Python file with mechanisms of yours.")] = None,
    json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
    latex: Annotated[bool, _option("Print the closed forms as LaTeX.", "--latex")] = False,
) -> None:
    """What a mechanism, host or model costs: closed form, growth, parameters, memory."""
    from paca_bench import explain as explaining

    shape = {"grid": grid, "dim": dim, "heads": heads}
    content = explaining.explain(
        name,
        res=res,
        host=host,
        shape={key: value for key, value in shape.items() if value is not None},
        clusters=clusters,
        options=option or (),
        plugins=plugin or (),
    )
    if json:
        _print_json(content)
    elif latex:
        explaining.print_latex(content)
    else:
        explaining.print_explanation(content)


@app.command()
def verify(
    model: Annotated[
        list[str] | None, _option("Only this model, or backbone; may repeat.  [default: all]")
    ] = None,
    json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
) -> None:
    """Published parameters and MACs beside ours; exit 1 if a row is out of tolerance."""
    from paca_bench import verify as verifying
    from paca_bench.verify_text import print_verification

    rows = verifying.verify(model)
    if json:
        _print_json(verifying.verification_json(rows))
    else:
        print_verification(rows)
    if verifying.worst(rows) == verifying.OUT:
        raise typer.Exit(1)


@app.command()
def doctor(
    device: Annotated[Text, _option("auto, cpu, cuda or cuda:INDEX.  [default: auto]")] = None,
    threads: Annotated[Text, _option("CPU threads; 0 for all.  [default: 0]")] = None,
    seconds: Annotated[
        Text, _option("How long the experiment may take: 20s, 1m.  [default: 45s]")
    ] = None,
    json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
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
        _print_json(diagnosis.to_json())
    else:
        print_diagnosis(diagnosis, Console())


@app.command()
def clusters(
    image: Annotated[Path, typer.Argument(help="A picture, such as a .jpg.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")],
    model: Annotated[
        str, typer.Option(help="A model with clusters.")
    ] = "pacavit_tiny_p2cconv_100_0",
    checkpoint: Annotated[
        Path | None, _option("Trained weights, .pth or .safetensors.  [default: random weights]")
    ] = None,
    res: Annotated[
        str, typer.Option(help="What the model sees: HxW, or one side; resized and centre-cut.")
    ] = "224",
    option: Annotated[
        list[str] | None, _option("A setting of the model as NAME=VALUE; may repeat.")
    ] = None,
) -> None:
    """Show a model's clusters on an image: assignment maps and hard segmentation, as HTML."""
    from paca_bench.explain.parsing import parse_option, parse_resolution
    from paca_bench.models.cluster_maps import image_clusters
    from paca_bench.report.clusters import write_clusters_page
    from paca_bench.report.page import check_target

    check_target(output)
    found = image_clusters(
        image,
        model,
        parse_resolution(res),
        checkpoint=checkpoint,
        options=dict(parse_option(one) for one in option or ()),
    )
    weights = None if checkpoint is None else checkpoint.name
    typer.echo(f"Clusters: {write_clusters_page(found, output, model=model, checkpoint=weights)}")


def _print_json(content: "Mapping[str, Any]") -> None:
    import json

    typer.echo(json.dumps(content, indent=2))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings on one line, without the place in the code that gave them."""
    if category.__module__.startswith("paca_bench."):
        text = f"paca-bench: warning: {message}\n"
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)


def main() -> None:
    """The entry point: an error meant for the user becomes one line and its exit code."""
    warnings.showwarning = _show_warning
    # Python's last collection would go through all of torch, to no end: the process ends.
    atexit.register(gc.freeze)
    try:
        app()
    except PacaBenchError as error:
        message = " ".join(str(error).split())
        print(f"paca-bench: {message}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
