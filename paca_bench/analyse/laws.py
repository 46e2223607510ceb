"""The law by which a metric grows with the number of tokens, and its exponents.

``fit_exponent`` puts a straight line through the logarithms and assumes no law; a law says
what the cost is made of: ``a + b·N + c·N·log N + d·N²``, no coefficient negative.

*The true exponent over the measured range* is the least-squares slope of log cost on log N of
the true law at the measured token counts: what ``fit_exponent`` estimates. *The local exponent
at N* is the derivative of log cost by log N there. *The growth exponent at N* is the local
exponent of the cost without its constant: a fixed cost cannot hide quadratic growth from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from paca_bench.analyse.law_fit import (
    CONSTANT,
    LINEAR,
    LINEARITHMIC,
    QUADRATIC,
    Fit,
    Floats,
    Points,
    basis,
    fit_terms,
    resample,
    slopes,
    subsets,
)
from paca_bench.analyse.statistics import Estimate, check_confidence
from paca_bench.errors import SpecError
from paca_bench.units import significant

TERMS = ("constant", "linear", "linearithmic", "quadratic")
_SYMBOLS = ("", "N", "N·log N", "N²")

# With fewer token counts AICc refuses every law of two terms, and most costs have two.
FEWEST_COUNTS = 5
# A term that is nowhere in the measured range this part of the cost is left out of the law.
_LEAST_SHARE = 0.02
# How much better in AICc a law of faster growth must be, at most; see ``_choose``.
_LARGEST_MARGIN = 6
_TAKEN_AS_ZERO = 1e-12
_EXACT_RESIDUAL = 1e-9


@dataclass(frozen=True)
class Law:
    """A fitted law. Make it with ``fit_law``.

    Attributes:
        coefficients: term -> coefficient, in the unit of the metric per N, N·log N (natural
            logarithm) or N²; only the chosen terms.
        shares: term -> its share of the fitted cost at ``tokens_max``.
        relative_residual: what remains: root mean square of log(value / law), over the
            degrees of freedom left; 0.05 is 5%.
        exponent: over the measured range, with its interval.
        confidence: of all intervals.
        points: points with a value.
        censored: points without one.
        bounded: those of them with a lower bound, which the fit respects.
        tokens_min: fewest tokens with a value.
        tokens_max: most tokens with a value: up to here the law is backed by measurements.
        tokens_asked: most tokens among all points.
        method: how law and intervals were made, in words.
    """

    coefficients: dict[str, float]
    shares: dict[str, float]
    relative_residual: float
    exponent: Estimate
    confidence: float
    points: int
    censored: int
    bounded: int
    tokens_min: float
    tokens_max: float
    tokens_asked: float
    method: str
    _costs: Floats = field(repr=False, compare=False)
    _draws: Floats = field(repr=False, compare=False)

    @property
    def terms(self) -> tuple[str, ...]:
        """The chosen terms, by rising growth."""
        return tuple(self.coefficients)

    @property
    def kind(self) -> str:
        """Its term of fastest growth: constant, linear, linearithmic or quadratic."""
        return self.terms[-1]

    @property
    def formula(self) -> str:
        """``0.00200 + 1.40e-06·N``: the metric in its unit."""
        parts = []
        for term, value in self.coefficients.items():
            symbol = _SYMBOLS[TERMS.index(term)]
            parts.append(significant(value) + (f"·{symbol}" if symbol else ""))
        return " + ".join(parts)

    def predict(self, n: float) -> float:
        """The metric at ``n`` tokens by the law; beyond ``tokens_max`` an extrapolation."""
        return float(basis(_counts(n), self.tokens_max)[0] @ self._costs)

    def exponent_at(self, n: float) -> Estimate:
        """The local exponent at ``n`` tokens; the interval holds as far as the law is right."""
        return self._estimate(lambda costs, _: _local(costs, n, self.tokens_max))

    def growth_exponent_at(self, n: float) -> Estimate:
        """The local exponent of the cost without its constant, from 1 (linear) to 2.

        Where a refit has nothing but a constant, the growth may be anything: it counts as 1
        for the lower end of the interval and as 2 for the upper, and so does the value of a
        constant law, which is NaN.
        """

        def growth(costs: Floats, none: float) -> Floats:
            growing = costs.copy()
            growing[CONSTANT] = 0
            flat = growing.sum(axis=0) <= _TAKEN_AS_ZERO * costs.sum(axis=0)
            growing[LINEAR, flat] = 1
            return np.where(flat, none, _local(growing, n, self.tokens_max))

        return self._estimate(growth)

    def _estimate(self, quantity: Callable[[Floats, float], Floats]) -> Estimate:
        return _interval(quantity, self._costs, self._draws, self.confidence, self.points)


def fit_law(
    tokens: Sequence[float],
    values: Sequence[float],
    *,
    bounds: Sequence[float] | None = None,
    confidence: float = 0.95,
    resamples: int = 400,
    seed: int = 0,
) -> Law | None:
    """Fit the law of a metric in relative error, choose its terms, and resample it.

    The terms are chosen by AICc (Hurvich and Tsai 1989) among all subsets but those with both
    N and N·log N, which no measured range can tell apart; see ``_choose`` for what keeps noise
    from turning a linear law quadratic.

    Intervals are made by two bootstraps: of the chosen terms and a constant, and of all four
    terms. The second carries the doubt on the choice, the first the error that the bias of
    non-negative fits would hide; the interval is the union, and is widened where needed to
    contain the chosen law's own value. For exact counts it is what the choice left out.

    Args:
        tokens: N of each point, at least 1.
        values: the metric; NaN for a point that was not measured (censored).
        bounds: for a censored point, a value the metric is known to exceed, or NaN.
        confidence: of the intervals.
        resamples: of each bootstrap.
        seed: of the resamples; the same points and seed give the same intervals.

    Returns:
        None with fewer than five different token counts measured.

    Raises:
        SpecError: lengths differ, a token count below 1, a value or bound that is not
            positive and finite, or a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    n, y, low = _checked(tokens, values, bounds)
    known = ~np.isnan(y)
    counts = np.unique(n[known])
    if len(counts) < FEWEST_COUNTS:
        return None
    used = known | ~np.isnan(low)
    scale = float(counts[-1])
    logs = np.log(np.where(known, y, low)[used])
    points = Points(basis(n[used], scale), logs, known[used])
    # Two degrees of freedom stay for the noise.
    supports = subsets(min(len(TERMS), len(counts) - 2))
    fits = {fit.terms: fit for terms in supports if (fit := fit_terms(points, terms))}
    chosen = _choose(list(fits.values()), points)
    widest = min(fits.values(), key=lambda fit: fit.deviance)
    own = [terms for terms in supports if set(terms) <= {CONSTANT, *chosen.terms}]
    close = min((fits[terms] for terms in own if terms in fits), key=lambda fit: fit.deviance)
    rng = np.random.default_rng(seed)
    draws = np.stack(
        [
            resample(points, fit, allowed, resamples, rng)
            for fit, allowed in ((close, own), (widest, supports))
        ]
    )
    slope = _over_range(points.design[points.known], n[known])
    exponent = _interval(slope, chosen.costs, draws, confidence, points.count)
    coefficients = chosen.costs / np.array([1, scale, scale * math.log(scale), scale**2])
    total = chosen.costs.sum()
    return Law(
        coefficients={TERMS[t]: float(coefficients[t]) for t in chosen.terms},
        shares={TERMS[t]: float(chosen.costs[t] / total) for t in chosen.terms},
        relative_residual=math.sqrt(chosen.squares / (points.count - len(chosen.terms))),
        exponent=exponent,
        confidence=confidence,
        points=points.count,
        censored=int((~known).sum()),
        bounded=int((~points.known).sum()),
        tokens_min=float(counts[0]),
        tokens_max=scale,
        tokens_asked=float(n.max()),
        method=(
            f"non-negative least squares on logs of {points.count} points, terms by AICc, "
            f"{confidence:.0%} bootstrap interval"
        ),
        _costs=chosen.costs,
        _draws=draws,
    )


def _checked(
    tokens: Sequence[float], values: Sequence[float], bounds: Sequence[float] | None
) -> tuple[Floats, Floats, Floats]:
    n, y = np.asarray(tokens, dtype=float), np.asarray(values, dtype=float)
    low = np.full(n.shape, np.nan) if bounds is None else np.asarray(bounds, dtype=float)
    if not n.shape == y.shape == low.shape:
        raise SpecError(
            f"{n.size} token counts, {y.size} values and {low.size} bounds; give one value, and "
            "one bound or none at all, per count"
        )
    few = n[~((n >= 1) & (n < math.inf))]
    if few.size:
        raise SpecError(f"token counts are finite and at least 1, given: {few[0]}")
    for name, given in (("values", y), ("bounds", low)):
        wrong = given[~np.isnan(given) & ~((given > 0) & (given < math.inf))]
        if wrong.size:
            raise SpecError(
                f"{name} of a law are positive and finite, given: {wrong[0]}; use NaN for a "
                "point that was not measured"
            )
    return n, y, np.where(np.isnan(y), low, np.nan)


def _choose(fits: list[Fit], points: Points) -> Fit:
    """The law with the least AICc, slower growth preferred.

    Noise makes a small N² term look useful now and then, and a cost that only wiggles asks for
    a term that is next to nothing. So a term must somewhere in the measured range be 2% of the
    cost; and a law of faster growth must beat the best of slower growth by a margin in AICc of
    one per point beyond the third, at most six. AICc alone asks of a second term a drop in
    deviance of 20 with five points but only 4.8 with nine; with the margin it is about 10 or
    more throughout.
    """
    known = points.design[points.known]
    best: dict[int, tuple[float, Fit]] = {}
    for fit in fits:
        score = _aicc(fit, points.count)
        shares = known * fit.costs / (known @ fit.costs)[:, None]
        small = shares[:, fit.terms].max(axis=0).min() < _LEAST_SHARE
        # A law that counts follow to the last digit is theirs, however small a term.
        small &= fit.squares > points.count * _EXACT_RESIDUAL**2
        if small or {LINEAR, LINEARITHMIC} <= set(fit.terms):
            continue
        kind = fit.terms[-1]
        if score < best.get(kind, (math.inf,))[0]:
            best[kind] = score, fit
    margin = min(points.count - 3, _LARGEST_MARGIN)
    chosen: tuple[float, Fit] | None = None
    for kind in (CONSTANT, LINEAR, LINEARITHMIC, QUADRATIC):
        if kind in best and (chosen is None or best[kind][0] < chosen[0] - margin):
            chosen = best[kind]
    assert chosen is not None  # a law of one term is never left out
    return chosen[1]


def _aicc(fit: Fit, points: int) -> float:
    """Akaike's criterion, corrected for few points; the noise level is a parameter too."""
    parameters = len(fit.terms) + 1
    spare = points - parameters - 1
    if spare <= 0:
        return math.inf
    return fit.deviance + 2 * parameters + 2 * parameters * (parameters + 1) / spare


def _interval(
    quantity: Callable[[Floats, float], Floats],
    costs: Floats,
    draws: Floats,
    confidence: float,
    points: int,
) -> Estimate:
    """``quantity`` of the law, and the union of its percentile intervals over the bootstraps.

    ``quantity(costs, none)`` takes laws [4, any] and gives ``none`` where it is undefined: for
    an interval it may then be anything that it can be.
    """
    tail = (1 - confidence) / 2
    value = float(quantity(costs[:, None], math.nan)[0])
    lows = [float(np.quantile(quantity(drawn, 1.0), tail)) for drawn in draws]
    highs = [float(np.quantile(quantity(drawn, 2.0), 1 - tail)) for drawn in draws]
    inside = [] if math.isnan(value) else [value]
    how = f"{confidence:.0%} bootstrap interval of a law through {points} points"
    return Estimate(value, min(lows + inside), max(highs + inside), how, points, points)


def _local(costs: Floats, n: float, scale: float) -> Floats:
    """Local exponents at ``n`` of laws [4, any]."""
    at = _counts(n)
    rise: Floats = (slopes(at, scale)[0] @ costs) / (basis(at, scale)[0] @ costs)
    return rise


def _over_range(design: Floats, n: Floats) -> Callable[[Floats, float], Floats]:
    """The least-squares slope of log cost on log N at the rows of ``design``."""
    centred = np.log(n) - np.log(n).mean()
    weights = centred / (centred @ centred)

    def slope(costs: Floats, _: float) -> Floats:
        # N·log N alone costs nothing at N = 1, and has no logarithm there.
        at_least = _TAKEN_AS_ZERO * costs.sum(axis=0)
        found: Floats = weights @ np.log(np.maximum(design @ costs, at_least))
        return found

    return slope


def _counts(n: float) -> Floats:
    if not 1 <= n < math.inf:
        raise SpecError(f"a law holds for finite token counts from 1, given: {n}")
    return np.array([float(n)])
