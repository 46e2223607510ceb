"""The Typer application itself, and the options it takes without a command."""

from typing import Annotated

import typer

# The exit code of a command that Ctrl-C ended, as shells have it.
INTERRUPTED = 130

app = typer.Typer(
    name="paca-bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fair, uncertainty-aware benchmarks of vision attention: PaCa, Swin, PVT and ViT.",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from paca_bench.version import package_version

        typer.echo(f"paca-bench {package_version()}")
        raise typer.Exit
