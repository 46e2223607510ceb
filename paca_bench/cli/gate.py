"""The command that compares two revisions of a repository."""

from pathlib import Path
from typing import Annotated, Any

import typer

from paca_bench.cli.base import INTERRUPTED, app
from paca_bench.cli.options import (
    AllowDifferent,
    Batches,
    Clusters,
    Device,
    Dtypes,
    Github,
    Host,
    HtmlFile,
    JsonFile,
    JunitFile,
    MarkdownFile,
    Mechanisms,
    Plugins,
    Strict,
    Suite,
    Text,
    Threads,
    files_to_write,
    given_options,
    option,
)

TERMINATED = 143

# Options that are not settings of the sweep of both sides.
_OWN = (
    *("base", "head", "fail_on", "q", "static_only", "install", "allow_different", "strict"),
    *("out", "markdown", "html", "json", "junit", "github"),
)


@app.command()
def gate(
    context: typer.Context,
    base: Annotated[str, typer.Option(help="A branch, tag or hash.", show_default=False)],
    head: Annotated[
        Text, option("The same.  [default: the working tree, with uncommitted changes]")
    ] = None,
    suite: Suite = None,
    res: Annotated[Text, option("Resolutions, as of a sweep.  [default: the suite gate]")] = None,
    mechanism: Mechanisms = None,
    model: Annotated[Text, option("Published models, by comma; implies --level model.")] = None,
    clusters: Clusters = None,
    level: Annotated[Text, option("host, layer, model.  [default: host,layer]")] = None,
    host: Host = None,
    stage: Annotated[Text, option("Stages of layers.  [default: 1]")] = None,
    mode: Annotated[Text, option("forward, train, checkpointed.  [default: forward,train]")] = None,
    batch: Batches = None,
    dtype: Dtypes = None,
    device: Device = None,
    threads: Threads = None,
    timeout: Annotated[Text, option("Longest time of one process.  [default: 5m]")] = None,
    seed: Annotated[Text, option("Of order, weights and inputs.  [default: 0]")] = None,
    budget: Annotated[
        Text, option("Time to measure, starts of workers not counted: 90s, 5m.  [default: 2m]")
    ] = None,
    plugin: Plugins = None,
    fail_on: Annotated[
        Text, option("What fails.  [default: latency>2%,macs>0,params>0,memory>1%]")
    ] = None,
    q: Annotated[
        float | None, option("False discovery rate over suspects, two-sided.  [default: 0.01]")
    ] = None,
    static_only: Annotated[bool, option("Compare counts; time nothing.", "--static-only")] = False,
    install: Annotated[
        bool, option("Install each side into an environment of its own.", "--install")
    ] = False,
    allow_different: AllowDifferent = False,
    strict: Strict = False,
    out: Annotated[Path | None, option("A new folder, to keep the run of each side.")] = None,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    json: JsonFile = None,
    junit: JunitFile = None,
    github: Github = False,
) -> None:
    """Measure two git revisions in turns, and exit 1 if the second is confirmed to be slower."""
    from rich.console import Console

    from paca_bench.compare.output import write_github
    from paca_bench.compare.text import print_comparison
    from paca_bench.gate import gate as run_gate
    from paca_bench.gate.output import write_gate

    outputs = files_to_write(markdown=markdown, html=html, json=json, junit=junit)
    given: dict[str, Any] = given_options(context, _OWN)
    given |= {k: v for k, v in {"fail_on": fail_on, "q": q}.items() if v is not None}
    _end_in_good_order()
    try:
        found = run_gate(
            base,
            head,
            static_only=static_only,
            install=install,
            allow_different=allow_different,
            strict=strict,
            out=out,
            say=lambda text: typer.echo(text, err=True),
            **given,
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was decided, and both worktrees are removed", err=True)
        raise typer.Exit(INTERRUPTED) from None
    print_comparison(found.comparison, Console())
    write_gate(found, outputs)
    if github:
        write_github(found.comparison)
    raise typer.Exit(found.exit_code)


def _end_in_good_order() -> None:
    """Let what ends a job in a CI also remove the worktrees."""
    import signal

    def end(number: int, frame: object) -> None:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)
