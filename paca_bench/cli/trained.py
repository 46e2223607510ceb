"""Commands on trained weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from paca_bench.cli.base import INTERRUPTED, app
from paca_bench.cli.options import Device, Plugins, Text, Threads, option


@app.command()
def evaluate(
    model: Annotated[Text, option("A published model; see 'paca-bench list models'.")] = None,
    checkpoint: Annotated[Path | None, option("Its weights, .pth or .safetensors.")] = None,
    data: Annotated[
        Text, option("folder:DIR with images in DIR/val/CLASS or DIR/CLASS, a folder per class.")
    ] = None,
    res: Annotated[
        Text, option("Sides of square images in pixels, by comma.  [default: the published]")
    ] = None,
    classes: Annotated[
        Path | None,
        option(
            "File with all class folder names in the order of the logits, one a line.  "
            "[default: the folders by name]"
        ),
    ] = None,
    batch: Annotated[str, typer.Option(help="Images per call.")] = "64",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    autocast: Annotated[str, typer.Option(help="none, bfloat16 or float16.")] = "none",
    device: Device = None,
    threads: Threads = None,
    bad_images: Annotated[
        str, typer.Option(help="Unreadable files and empty class folders: raise or skip.")
    ] = "raise",
    option: Annotated[
        list[str] | None, option("A setting of the model as NAME=VALUE; may repeat.")
    ] = None,
    plugin: Plugins = None,
    json: Annotated[Path | None, option("Write JSON.", "--json", "-o")] = None,
) -> None:
    """Top-1 and top-5 of a checkpoint, preprocessed as published, beside the published top-1."""
    from rich.console import Console

    from paca_bench import evaluate as evaluating
    from paca_bench.errors import NothingMeasuredError, SpecError
    from paca_bench.explain.parsing import parse_option

    if model is None or checkpoint is None or data is None:
        raise SpecError(
            "evaluate needs --model NAME, --checkpoint FILE and --data folder:DIR; random weights "
            "have no accuracy to compare"
        )
    if json is not None:
        from paca_bench.report.page import check_target

        check_target(json)
    evaluation = evaluating.prepare(
        model,
        checkpoint,
        data,
        res=res,
        classes=classes,
        batch=batch,
        device=device or "auto",
        dtype=dtype,
        autocast=autocast,
        threads=threads or 0,
        bad_images=bad_images,
        options=dict(parse_option(one) for one in option or ()),
        plugins=plugin or (),
    )
    rows = []
    complete = True
    with evaluating.progress(evaluation, Console(stderr=True)) as observer:
        try:
            for row in evaluation.rows(observer):
                rows.append(row)
        except KeyboardInterrupt:
            complete = False
    if rows:
        evaluating.print_evaluation(evaluation.header, rows, Console())
    if json is not None:
        _write_json(json, evaluating.evaluation_json(evaluation.header, rows, complete=complete))
    if not complete:
        typer.echo("interrupted; resolutions that were not finished are left out", err=True)
        raise typer.Exit(INTERRUPTED)
    if all(row.reason for row in rows):
        raise NothingMeasuredError("no resolution could be evaluated; the notes say why")


def _write_json(target: Path, content: Mapping[str, Any]) -> None:

    from paca_bench.report.page import json_text, write_atomically

    write_atomically(target, json_text(content))
    typer.echo(f"JSON: {target}")
