"""Commands that read runs, files and what is registered."""

from pathlib import Path
from typing import Annotated, Any

import typer

from paca_bench.cli.base import app
from paca_bench.cli.options import (
    AllowDifferent,
    Github,
    HtmlFile,
    Json,
    JsonFile,
    JunitFile,
    MarkdownFile,
    Plugins,
    Strict,
    Text,
    files_to_write,
    option,
    print_json,
)


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
        Text, option("What fails.  [default: latency>5%,macs>0,params>0,memory>1%]")
    ] = None,
    q: Annotated[
        float | None, option("False discovery rate over all cases, two-sided.  [default: 0.02]")
    ] = None,
    allow_different: AllowDifferent = False,
    strict: Strict = False,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    json: JsonFile = None,
    junit: JunitFile = None,
    github: Github = False,
) -> None:
    """Which cases of NEW are slower than BASE, and which counts changed; exit 1 if one is."""
    from rich.console import Console

    from paca_bench.compare import compare as compared
    from paca_bench.compare.output import write_github, write_outputs
    from paca_bench.compare.text import print_comparison

    outputs = files_to_write(markdown=markdown, html=html, json=json, junit=junit)
    settings = {"fail_on": fail_on, "q": q}
    given: dict[str, Any] = {k: v for k, v in settings.items() if v is not None}
    result = compared(base, new, allow_different=allow_different, strict=strict, **given)
    print_comparison(result, Console())
    write_outputs(result, outputs)
    if github:
        write_github(result)
    raise typer.Exit(result.exit_code)


@app.command()
def iso(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    reference: Annotated[str, typer.Option(help="The label whose cost is given.")] = "vit",
    metric: Annotated[str, typer.Option(help="macs, latency or memory.")] = "macs",
    json: Json = False,
) -> None:
    """At equal cost: which resolution, and how many clusters, others reach."""
    from rich.console import Console

    from paca_bench import iso as equal

    tables = equal.iso(run, reference, metric)
    if json:
        print_json(tables)
    else:
        equal.print_iso(tables, metric, Console())


@app.command("list")
def list_(
    kind: Annotated[
        Text,
        typer.Argument(
            help="mechanisms, models, levels, metrics, suites or data.", show_default=False
        ),
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """What there is: mechanisms, models, levels, metrics, suites and data sets."""
    from paca_bench.catalogue import catalogue, print_catalogue

    content = catalogue(kind, plugin or ())
    if json:
        print_json(content)
    else:
        print_catalogue(content)


@app.command()
def clusters(
    image: Annotated[Path, typer.Argument(help="A picture, such as a .jpg.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")],
    model: Annotated[
        str, typer.Option(help="A model with clusters.")
    ] = "pacavit_tiny_p2cconv_100_0",
    checkpoint: Annotated[
        Path | None, option("Trained weights, .pth or .safetensors.  [default: random weights]")
    ] = None,
    res: Annotated[
        str, typer.Option(help="What the model sees: HxW, or one side; resized and centre-cut.")
    ] = "224",
    option: Annotated[
        list[str] | None, option("A setting of the model as NAME=VALUE; may repeat.")
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
