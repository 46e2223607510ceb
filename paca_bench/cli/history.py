"""The command that looks back over runs."""

from pathlib import Path
from typing import Annotated

import typer

from paca_bench.cli.base import app
from paca_bench.cli.options import (
    HtmlFile,
    JsonFile,
    MarkdownFile,
    Text,
    files_to_write,
    option,
)


@app.command()
def history(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, pytest-benchmark JSON files, or folders of either.",
            show_default=False,
        ),
    ],
    fail_on: Annotated[
        Text, option("Exit 1 for a step that lasts: latency>5%,macs>0.  [default: never]")
    ] = None,
    all_cases: Annotated[bool, option("Show cases without a step too.", "--all")] = False,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    json: JsonFile = None,
) -> None:
    """Each case over commits: where its latency or a count changed, and by how much."""
    from rich.console import Console

    from paca_bench.history import history as looked_back
    from paca_bench.history.output import write_outputs
    from paca_bench.history.text import print_history

    outputs = files_to_write(markdown=markdown, html=html, json=json)
    found = looked_back(runs, fail_on=fail_on)
    print_history(found, Console(), all_cases=all_cases)
    write_outputs(found, outputs)
    raise typer.Exit(found.exit_code)
