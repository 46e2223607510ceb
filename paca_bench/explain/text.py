"""An explanation as text on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.complexity.growth import DEGREE_WORDS
from paca_bench.units import format_bytes, format_count, format_percent, significant


def print_explanation(content: Mapping[str, Any]) -> None:
    """Formula or stages, terms, parameters, growth, traffic and memory."""
    console = Console()
    name = content.get("model") or content["mechanism"]
    title = content["title"] if "grid" in content else f"{name}  {content['title']}"
    console.print(f"[bold]{escape(title)}[/bold]  {escape(content['source'])}", highlight=False)
    console.print(_shape(content), highlight=False)
    console.print(_terms(content) if "grid" in content else _stages(content))
    console.print(_glossary(content), highlight=False)
    console.print(
        f"{format_count(content['macs'], 'MACs')}, {format_count(content['flops'], 'FLOPs')} "
        f"(2 per MAC), {format_count(content['params'])} parameters per image; backward "
        f"{format_count(content['backward_macs'], 'MACs')}",
        highlight=False,
    )
    for sentence in (*_growth(content), *_traffic(content)):
        console.print(sentence, highlight=False)
    console.print(
        f"predicted peak memory over weights and input, float32, batch 1: "
        f"{format_bytes(content['peak_memory_bytes'])} forward, "
        f"{format_bytes(content['peak_memory_bytes_train'])} train, "
        f"{format_bytes(content['peak_memory_bytes_checkpointed'])} train with checkpointing",
        highlight=False,
    )


def print_latex(content: Mapping[str, Any]) -> None:
    """The closed form of each term as a row of a LaTeX ``align*``, and the values behind it."""
    lines = [r"\begin{align*}"]
    rows = list(content["term_latex"].items())
    for index, (name, latex) in enumerate(rows):
        end = "" if index == len(rows) - 1 else r" \\"
        term = name.replace("_", r"\_")
        lines.append(rf"  \text{{{term}}} &= {latex}{end}")
    lines.append(r"\end{align*}")
    for name, symbols in content["term_symbols"].items():
        values = ", ".join(f"{symbol} = {value}" for symbol, value in symbols.items())
        lines.append(f"% {name}: {values}")
    print("\n".join(lines))


def _shape(content: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in content["options"].items())
    if "grid" in content:
        height, width = content["grid"]
        return escape(
            f"grid {height}x{width}, C = {content['dim']}, h = {content['num_heads']}, {options}"
        )
    return escape(f"{content['height']}x{content['width']}, {options}")


_MEANINGS = {
    "N": "tokens of the stage",
    "N_image": "pixels",
    "N_half": "positions after the first convolution",
    "N_w": "tokens padded to whole windows",
    "N_R": "tokens left by the reduction",
    "P": "pooled tokens",
    "M": "clusters",
    "C": "channels",
    "D": "channels before the layer",
    "K": "classes",
    "R": "reduction ratio",
    "w": "window side",
    "k": "kernel side",
    "r": "expansion of the MLP",
    "h": "heads",
}


def _glossary(content: Mapping[str, Any]) -> str:
    """What the symbols of the closed forms stand for; those of a plugin's own are left out."""
    used = {symbol for symbols in content["term_symbols"].values() for symbol in symbols}
    return "; ".join(f"{name}: {text}" for name, text in _MEANINGS.items() if name in used)


def _table(first: str) -> Table:
    table = Table(box=None)
    table.add_column(first)
    table.add_column("closed form")
    for heading in ("MACs", "share", "parameters"):
        table.add_column(heading, justify="right")
    return table


def _terms(content: Mapping[str, Any]) -> Table:
    table = _table("term")
    macs = max(content["macs"], 1)
    for name in dict.fromkeys([*content["terms"], *content["param_terms"]]):
        count = content["terms"].get(name, 0)
        table.add_row(
            name,
            content["term_formulas"].get(name, ""),
            f"{count:,}",
            format_percent(count / macs),
            f"{content['param_terms'].get(name, 0):,}",
        )
    table.add_section()
    table.add_row("total", content["formula"], f"{content['macs']:,}", "", f"{content['params']:,}")
    return table


def _stages(content: Mapping[str, Any]) -> Table:
    """Terms by stage, with the subtotal and growth of each stage above them."""
    macs, params = content["terms"], content["param_terms"]
    exponents = {one["stage"]: one["exponent"] for one in content["growth"]["stages"]}
    table = _table("stage and term")

    def add(label: str, form: str, names: Iterable[str], style: str | None = None) -> None:
        names = list(names)
        count = sum(macs.get(name, 0) for name in names)
        share = format_percent(count / max(content["macs"], 1))
        parameters = sum(params.get(name, 0) for name in names)
        table.add_row(label, form, f"{count:,}", share, f"{parameters:,}", style=style)

    for stage, names in _by_stage([*macs, *params]).items():
        grows = f"∝ N^{exponents[stage]:.2f} here" if stage in exponents else ""
        add(stage, grows, names, style="bold")
        for name in names:
            form = content["term_formulas"].get(name, "")
            add(f"  {name.removeprefix(f'{stage}.')}", form, [name])
    table.add_section()
    add(
        "total",
        f"∝ N^{content['macs_exponent']:.2f} here",
        dict.fromkeys([*macs, *params]),
        style="bold",
    )
    return table


def _by_stage(names: Iterable[str]) -> dict[str, list[str]]:
    """The first part of a term's label -> its terms, in the order of the model."""
    stages: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        stages.setdefault(name.partition(".")[0], []).append(name)
    return stages


def _growth(content: Mapping[str, Any]) -> list[str]:
    if "growth" not in content:
        return [f"grows with N^{content['macs_exponent']:.2f} at this shape"]
    return [growth_sentence(content["growth"])]


def growth_sentence(growth: Mapping[str, Any]) -> str:
    """Which stages grow how, and from which resolution the fastest growing one wins."""
    by_degree: dict[int, list[str]] = {}
    for stage in growth["stages"]:
        if stage["degree"]:
            by_degree.setdefault(stage["degree"], []).append(stage["stage"])
    parts = [
        f"{DEGREE_WORDS.get(degree, f'of degree {degree}')} in the tokens: {', '.join(stages)}"
        for degree, stages in sorted(by_degree.items())
    ]
    winner = growth["winner"]
    # With one stage that grows at all there is nothing to overtake.
    if winner and len(by_degree) > 1:
        largest, dominates = growth["largest_from"], growth["dominates_from"]
        if dominates is None:
            parts.append(f"{winner} outgrows the others beyond any size that a sweep takes")
        elif largest == dominates:
            parts.append(f"{winner} costs more than all the rest together from {dominates} px")
        else:
            parts.append(
                f"{winner} costs most from {largest} px, and more than all the rest together "
                f"from {dominates} px"
            )
    return "; ".join(parts)


def _traffic(content: Mapping[str, Any]) -> list[str]:
    if "moved_bytes" not in content:
        return []
    return [
        f"matrix-like operators move {format_bytes(content['moved_bytes'])} in float32, "
        f"{significant(content['intensity_flops_per_byte'])} FLOPs a byte"
    ]
