"""What commands have in common: options that several take, and what they print.

Annotations are objects in this package and not text: typer would evaluate each text at every
start.
"""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Text = str | None


def option(help_text: str, *names: str) -> Any:
    """An option whose help says its default."""
    return typer.Option(*names, help=help_text, show_default=False)


Mechanisms = Annotated[Text, option("Mechanisms, by comma.  [default: all]")]
Clusters = Annotated[
    Text,
    option("Numbers of clusters M, by comma; 49-64-81-100 by stage.  [default: 25,49,100]"),
]
Options = Annotated[
    list[str] | None,
    option("An option of mechanisms and its values, clustering=conv,mlp; may repeat.", "--option"),
]
Host = Annotated[Text, option("Size of the pyramid: pico, nano, tiny, small.  [default: nano]")]
Batches = Annotated[Text, option("Images per call, by comma.  [default: 1]")]
Dtypes = Annotated[Text, option("float32, bfloat16, float16, float64.  [default: float32]")]
Modes = Annotated[Text, option("forward, train, checkpointed.  [default: forward]")]
Device = Annotated[Text, option("auto, cpu, cuda or cuda:INDEX.  [default: auto]")]
Threads = Annotated[Text, option("CPU threads; 0 for all.  [default: 0]")]
Plugins = Annotated[list[str] | None, option("Python file with mechanisms of yours; may repeat.")]
Suite = Annotated[Text, option("A TOML suite, or the name of one that ships.")]
Out = Annotated[Path | None, option("Run folder.  [default: results/DATE]")]
AllowDifferent = Annotated[
    bool, option("Compare latencies of different conditions too.", "--allow-different")
]
Strict = Annotated[bool, option("Exit 4 if anything stays open.", "--strict")]
MarkdownFile = Annotated[Path | None, option("Write Markdown for a pull request.", "--markdown")]
HtmlFile = Annotated[Path | None, option("Write one self-contained HTML file.", "--html")]
JsonFile = Annotated[Path | None, option("Write JSON.", "--json")]
JunitFile = Annotated[Path | None, option("Write JUnit XML.", "--junit")]
Github = Annotated[bool, option("Print annotations, and write the step summary.", "--github")]
Json = Annotated[bool, option("Print one JSON object.", "--json")]


def given_options(context: typer.Context, own: Container[str]) -> dict[str, Any]:
    """The options that were given, but for a command's ``own``.

    One that was not given is None, or an empty tuple where it may repeat.
    """
    given = context.params.items()
    return {k: v for k, v in given if v not in (None, ()) and k not in own}


def files_to_write(**paths: Path | None) -> dict[str, Path]:
    """Kind -> path of the files that were asked for.

    Raises:
        StoreError: one of them cannot be written, which is found out before any work is done.
    """
    from paca_bench.report.page import check_target

    outputs = {kind: path for kind, path in paths.items() if path is not None}
    for path in outputs.values():
        check_target(path)
    return outputs


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    import json

    typer.echo(json.dumps(content, indent=2))


def summarise(console: Any, run: Path) -> None:
    """Print a run's summary, and write its report beside its records."""
    from paca_bench.report.html import named_runs, read_runs, render
    from paca_bench.report.page import write_atomically
    from paca_bench.report.text import print_summary
    from paca_bench.store import REPORT_FILE

    folders = named_runs([run])
    # Read once: of a large run that is most of the work.
    frame = read_runs(folders)
    print_summary(frame, console, [folder.header for folder in folders.values()])
    report = run / REPORT_FILE
    write_atomically(report, render(frame, folders))
    typer.echo(f"\nRun folder: {run}\nReport:     {report}")
