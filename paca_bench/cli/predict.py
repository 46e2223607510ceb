"""Commands that say what must be true before anything runs."""

from typing import Annotated

import typer

from paca_bench.cli.base import app
from paca_bench.cli.options import (
    Batches,
    Clusters,
    Device,
    Dtypes,
    Host,
    Json,
    Mechanisms,
    Modes,
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


@app.command()
def analyze(
    context: typer.Context,
    res: Annotated[
        Text, option("Resolutions: 224..8192, 224..8192:160, 224..8192/20, 224,384,256x192.")
    ] = None,
    mechanism: Mechanisms = None,
    model: Annotated[Text, option("Published models, by comma.  [default: one a family]")] = None,
    clusters: Clusters = None,
    option: Options = None,
    level: Annotated[Text, option("layer, host, model.  [default: all]")] = None,
    host: Host = None,
    stage: Annotated[
        Text, option("Stages whose geometry layers are looked at.  [default: 1]")
    ] = None,
    mode: Modes = None,
    batch: Batches = None,
    dtype: Dtypes = None,
    memory: Annotated[bool, option("Also predict each case's peak memory.", "--memory")] = False,
    plugin: Plugins = None,
    suite: Suite = None,
    out: Out = None,
) -> None:
    """What every case must cost, from closed forms alone: nothing is run."""
    from rich.console import Console

    from paca_bench.analyzer import analyze
    from paca_bench.sweeper import default_folder

    given = given_options(context, ("memory", "out"))
    summarise(Console(), analyze(out=out or default_folder(), memory=memory, **given))


@app.command()
def frontier(
    context: typer.Context,
    memory: Annotated[Text, option("Weights, input and peak must fit this: 16GB, 15GiB.")] = None,
    latency: Annotated[Text, option("One call must not take longer: 50ms.")] = None,
    macs: Annotated[Text, option("One image must not cost more: 5G.")] = None,
    mechanism: Mechanisms = None,
    model: Annotated[Text, option("Published models, by comma; implies --level model.")] = None,
    clusters: Clusters = None,
    level: Annotated[Text, option("host, layer, model.  [default: host]")] = None,
    host: Host = None,
    stage: Annotated[Text, option("Stages of layers.  [default: 1]")] = None,
    mode: Modes = None,
    batch: Batches = None,
    dtype: Dtypes = None,
    device: Device = None,
    budget: Annotated[Text, option("Total time of measuring: 90s, 5m.  [default: 5m]")] = None,
    processes: Annotated[Text, option("Processes per latency.  [default: 3]")] = None,
    threads: Threads = None,
    plugin: Plugins = None,
    predict_only: Annotated[
        bool, option("Predict, and measure nothing.", "--predict-only")
    ] = False,
    json: Json = False,
) -> None:
    """The largest resolution that fits a limit of memory, latency or MACs."""
    from rich.console import Console

    from paca_bench.errors import NothingMeasuredError
    from paca_bench.frontier import frontier, make_limits
    from paca_bench.frontier.text import print_frontiers

    own = ("memory", "latency", "macs", "predict_only", "json")
    given = given_options(context, own)
    limits = make_limits({"memory": memory, "latency": latency, "macs": macs})
    entries = list(frontier(limits, measure=not predict_only, **given))
    if json:
        print_json({"frontiers": [entry.to_json() for entry in entries]})
    else:
        print_frontiers(entries, Console())
    if all(entry.resolution is None for entry in entries):
        raise NothingMeasuredError("no resolution was found that fits; the notes say why")


@app.command()
def explain(
    name: Annotated[
        str,
        typer.Argument(help="A mechanism or a model; see 'paca-bench list'.", show_default=False),
    ],
    res: Annotated[
        Text, option("Image of a model or host: HxW, or one side of a square.  [default: 224]")
    ] = None,
    host: Annotated[
        Text, option("Explain the mechanism in every block of a host: pico, nano, tiny, small.")
    ] = None,
    grid: Annotated[
        Text, option("Tokens of a mechanism: HxW, or one side.  [default: 56x56]")
    ] = None,
    dim: Annotated[int | None, option("Channels C of a mechanism.  [default: 96]")] = None,
    heads: Annotated[int | None, option("Heads h of a mechanism.  [default: 2]")] = None,
    clusters: Annotated[int | None, option("Clusters M, where the mechanism has them.")] = None,
    option: Annotated[
        list[str] | None, option("A further option as NAME=VALUE; may repeat.")
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
    latex: Annotated[bool, option("Print the closed forms as LaTeX.", "--latex")] = False,
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
        print_json(content)
    elif latex:
        explaining.print_latex(content)
    else:
        explaining.print_explanation(content)


@app.command()
def verify(
    model: Annotated[
        list[str] | None, option("Only this model, or backbone; may repeat.  [default: all]")
    ] = None,
    json: Json = False,
) -> None:
    """Published parameters and MACs beside ours; exit 1 if a row is out of tolerance."""
    from paca_bench import verify as verifying
    from paca_bench.verify_text import print_verification

    rows = verifying.verify(model)
    if json:
        print_json(verifying.verification_json(rows))
    else:
        print_verification(rows)
    if verifying.worst(rows) == verifying.OUT:
        raise typer.Exit(1)
