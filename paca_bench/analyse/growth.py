"""The verdict's sentences on growth: exponents, the claim "linear", and the crossover."""

from __future__ import annotations

import math

import pandas as pd

from paca_bench.analyse.claims import TOLERANCE, Claim, linear_claim
from paca_bench.analyse.crossover import Crossover, crossovers
from paca_bench.analyse.curves import measured
from paca_bench.analyse.laws import Law
from paca_bench.analyse.scaling import Exponent, curve_law, fit_exponent
from paca_bench.analyse.scene import Scene, focus, layer_scene
from paca_bench.analyse.wording import interval
from paca_bench.units import significant

# More curves than this in one sentence are better read in the table.
_MOST_CURVES = 2

# A residual below this is the arithmetic's.
_EXACT = 1e-6

_EXACT_COSTS = {
    "macs": "fewer MACs",
    "predicted_peak_memory_bytes": "a lower predicted peak memory",
}
_CLAIMED = {"latency_s": "latency", "macs": "MACs"}
_VERDICTS = {
    Claim.HOLDS: "holds",
    Claim.FAILS: "does not hold",
    Claim.NOT_SHOWN: "is not shown",
}


def growth_sentences(scene: Scene) -> list[str]:
    """Measured exponents beside those of the MACs: of the attention alone, then of the host."""
    layer = layer_scene(scene) if scene.axes["level"] == "host" else None
    sentences = []
    if layer and (alone := _exponents(layer)):
        sentences.append(
            f"Growth of the attention alone (stage {layer.axes['stage']:.0f}): {alone}"
        )
    if within := _exponents(scene):
        where = f"Growth ({scene.text})"
        if scene.axes["level"] == "host":
            where = f"Growth of host {scene.axes['host']}, whose other costs are common to all"
            where += "" if layer else " (add --level layer for the sharper test)"
        sentences.append(f"{where}: {within}")
    how = "N^p over N tokens; least squares on logs, 95% t intervals, of MACs for the curve's bend"
    return [f"{sentence} ({how})." for sentence in sentences] or [
        "How cost grows cannot be told: an exponent needs at least three resolutions measured; "
        "give a range such as --res 224..1024."
    ]


def claim_sentence(scene: Scene) -> str | None:
    """Whether "linear" holds: of the attention alone where it was measured, else of the host."""
    layer = layer_scene(scene) if scene.axes["level"] == "host" else None
    for place, where in ((layer, "attention alone"), (scene, scene.text)):
        if place and (judged := _claims(place)):
            return (
                f"Is growth linear ({where}, fixed costs set aside)? {'; '.join(judged)} "
                f"(non-negative fit of a + b·N + c·N·log N + d·N²; claimed where its local "
                f"exponent at the largest N is at most {1 + TOLERANCE:.3g}, by a 95% bootstrap "
                f"interval)."
            )
    return None


def _claims(scene: Scene) -> list[str]:
    """``paca (M=49): in latency it holds, 1.00 [1.00, 1.04], ...``, of each curve in focus."""
    texts = []
    for label in focus(scene.rows)[:_MOST_CURVES]:
        curve = scene.rows[scene.rows["label"] == label]
        laws = {noun: curve_law(curve, metric) for metric, noun in _CLAIMED.items()}
        said = [_claim_text(law, noun) for noun, law in laws.items() if law]
        if said:
            texts.append(f"{label}: {', '.join(said)}")
    return texts


def _claim_text(law: Law, noun: str) -> str:
    claim = linear_claim(law)
    assert claim.exponent is not None  # there is a law
    made = claim.exponent
    rest = law.relative_residual
    within = f"within {significant(100 * rest, 2)}%" if rest > _EXACT else "exactly"
    size = f"law {' + '.join(law.terms)} {within}"
    if law.tokens_asked > law.tokens_max:
        size += f", measured up to N = {law.tokens_max:.0f} of {law.tokens_asked:.0f}"
    if law.bounded:
        size += f", {law.bounded} lower bound{'s' if law.bounded > 1 else ''} respected"
    exponent = f"[{_two_decimals(made.low)}, {_two_decimals(made.high)}]"
    if not math.isnan(made.value):
        exponent = f"{_two_decimals(made.value)} {exponent}"
    return f"in {noun} it {_VERDICTS[claim.verdict]}, {exponent} ({size})"


def crossover_sentence(scene: Scene) -> str | None:
    """From which resolution the second label in focus is faster than the first."""
    first, *rest = focus(measured(scene.rows, "latency_s")) or [""]
    if not rest:
        return None
    axes = scene.axes
    found = crossovers(
        scene.rows, "latency_s", rest[0], first, mode=axes["mode"], level=axes["level"]
    )
    if found is None:
        return f"{rest[0]} and {first} share no measured resolution, so none can overtake."
    return _crossover_text(found, rest[0], first)


def exact_crossover_sentence(scene: Scene) -> str | None:
    """From which resolution the second label in focus costs less, in what is exactly known."""
    parts = []
    for metric, noun in _EXACT_COSTS.items():
        first, *rest = focus(measured(scene.rows, metric)) or [""]
        if not rest:
            continue
        axes = scene.axes
        found = crossovers(
            scene.rows, metric, rest[0], first, mode=axes["mode"], level=axes["level"]
        )
        if found is None or not (leader := found.always or found.cheaper):
            continue
        other = first if leader == rest[0] else rest[0]
        where = f"at all {found.points} resolutions"
        if not found.always:
            where = f"from {found.high:.0f} px on (more at {found.low:.0f} px)"
        parts.append(f"{leader} has {noun} than {other} {where}")
    return f"Exactly, without sampling error: {'; '.join(parts)}." if parts else None


def _exponents(scene: Scene) -> str:
    """``vit p = 1.62 [1.40, 1.84] in latency, more than linear, ...; paca (M=49) ...``."""
    parts = []
    for label in focus(scene.rows)[:_MOST_CURVES]:
        curve = scene.rows[scene.rows["label"] == label]
        time, tail = _fit(curve, "latency_s"), _fit(curve, "latency_s", tail=True)
        macs = _fit(curve, "macs")
        texts = []
        if time:
            texts.append(f"{_exponent_text(time)} in latency, {_linearity(time)}")
        # A tail of three points can be too uncertain to say anything.
        if time and tail and tail.points < time.points and tail.high - tail.low < 1:
            texts.append(f"{_exponent_text(tail)} from N = {tail.tokens_min:.0f} on")
        if macs:
            texts.append(f"{_exponent_text(macs)} in MACs")
        if span := time or macs:
            size = f"{span.points} points, N = {span.tokens_min:.0f} to {span.tokens_max:.0f}"
            parts.append(f"{label} p = {', '.join(texts)} ({size})")
    return "; ".join(parts)


def _fit(curve: pd.DataFrame, metric: str, tail: bool = False) -> Exponent | None:
    good = measured(curve, metric)
    return fit_exponent(good["tokens"].tolist(), good[metric].tolist(), tail=tail)


def _exponent_text(fit: Exponent) -> str:
    return interval(_two_decimals, fit.value, fit.low, fit.high)


def _two_decimals(value: float) -> str:
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, 2) + 0.0:.2f}"


def _linearity(fit: Exponent) -> str:
    if fit.low > 1:
        return "more than linear"
    if fit.high < 1:
        return "less than linear (fixed costs still show)"
    if fit.high < 2:
        return "consistent with linear"
    return "too uncertain to tell linear from quadratic"


def _crossover_text(found: Crossover, a: str, b: str) -> str:
    doubt = f"at {found.unclear} of {found.points} measured resolutions the two are not "
    doubt += "distinguishable"
    how = "by the 95% interval of the ratio at each"
    if found.unclear == found.points:
        return (
            f"{a} and {b} cannot be told apart by latency at any of the "
            f"{found.points} resolutions measured for both ({how})."
        )
    if found.always:
        other = b if found.always == a else a
        many = f"all {found.points} resolutions" if found.points > 1 else "the one resolution"
        caution = f"; {doubt}" if found.unclear else ""
        return (
            f"{found.always} has a lower median latency than {other} at {many} measured for "
            f"both, so there is no crossover in that range ({how}{caution})."
        )
    other = b if found.cheaper == a else a
    low = f"{found.low:.0f}" if found.low > 0 else "below all measured"
    high = f"{found.high:.0f}" if found.high < math.inf else "beyond all measured"
    caution = f"; {doubt}" if found.unclear else ""
    return (
        f"{found.cheaper} becomes faster than {other} at about {found.resolution:.0f} px "
        f"[{low}, {high}] ({found.method.partition('resolutions, ')[2]}{caution})."
    )
