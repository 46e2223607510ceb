"""Non-negative fits of ``a + b·N + c·N·log N + d·N²`` to the logarithms of a metric.

The numbers behind ``laws``. Coefficients are held as the cost of each term at the largest
measured N, so that all are of one size and a share needs no further scaling.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import nnls

Floats = NDArray[np.float64]
Terms = tuple[int, ...]

# Constant, linear, linearithmic, quadratic: the columns of every matrix here.
CONSTANT, LINEAR, LINEARITHMIC, QUADRATIC = range(4)

# Relative error below this is that of the arithmetic, not of the metric.
_EXACT = 1e-9
# No lower bound is sharper than this: a clock or an allocator found it.
_SHARPEST_BOUND = 1e-3
_STEPS = 30
_HALVINGS = 6


def basis(n: Floats, scale: float) -> Floats:
    """The four terms at ``n``, each 1 at ``n = scale``: [len(n), 4]."""
    x = n / scale
    return np.stack([np.ones_like(x), x, x * np.log(n) / math.log(scale), x * x], axis=1)


def slopes(n: Floats, scale: float) -> Floats:
    """``n`` times the derivative of each column of ``basis``: [len(n), 4]."""
    x = n / scale
    return np.stack([np.zeros_like(x), x, x * (np.log(n) + 1) / math.log(scale), 2 * x * x], axis=1)


def subsets(most: int) -> list[Terms]:
    """All sets of one to ``most`` of the four terms."""
    sizes = range(1, most + 1)
    return [terms for size in sizes for terms in itertools.combinations(range(4), size)]


@dataclass(frozen=True)
class Points:
    """What a law is fitted to.

    Attributes:
        design: [points, 4] the terms at each point.
        logs: [points] logarithm of the value, or of the lower bound on it.
        known: [points] False where only a lower bound is known.
    """

    design: Floats
    logs: Floats
    known: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Points whose value is known."""
        return int(self.known.sum())


@dataclass(frozen=True)
class Fit:
    """The best law of certain terms.

    Attributes:
        terms: those it has, all with a positive coefficient.
        costs: [4] cost of each term at the largest measured N; zero where it has none.
        squares: sum of squared log residuals of the known points.
        deviance: -2 log likelihood, up to a constant; bounds included.
    """

    terms: Terms
    costs: Floats
    squares: float
    deviance: float


def fit_terms(points: Points, terms: Terms) -> Fit | None:
    """The most likely non-negative law of ``terms`` under log-normal error.

    A non-negative least-squares fit with weights 1/value starts it; it is then repeated with
    weights 1/fitted and the residuals of the logarithms (Gauss-Newton), because weights
    1/value favour the points that noise made small. A lower bound enters as the score and
    the curvature of its log probability (Tobit; Amemiya, "Advanced Econometrics", 10.4): it
    pulls where the law is below it or near, and not at all where the law is well above.

    Returns:
        None if a coefficient comes out as zero (that is the law of the other terms) or a cost.
    """
    design = points.design[:, terms]
    known = points.known
    relative = design[known] / np.exp(points.logs[known])[:, None]
    costs, _ = nnls(relative, np.ones(points.count))
    if not (design @ costs > 0).all():
        return None  # N·log N alone costs nothing at N = 1
    residuals = points.logs - np.log(design @ costs)
    centre = float(residuals[known].mean())
    costs, residuals = costs * math.exp(centre), residuals - centre
    for _ in range(_STEPS):
        sigma = _sigma(residuals, known)
        better = _improved(design, costs, residuals, known, sigma)
        if better is None:
            break
        gain = _misfit(residuals, known, sigma) - _misfit(better[1], known, sigma)
        costs, residuals = better
        if gain < 1e-7:
            break
    if not (costs > 0).all():
        return None
    spread = np.zeros(points.design.shape[1])
    spread[list(terms)] = costs
    sigma = _sigma(residuals, known)
    squares = float(residuals[known] @ residuals[known])
    # The sum of squares over sigma² is the same for every law, except for an exact one.
    deviance = 2 * points.count * math.log(sigma) + _bound_misfit(residuals[~known], sigma)
    return Fit(terms, spread, squares, deviance)


def resample(
    points: Points, fit: Fit, supports: list[Terms], draws: int, rng: np.random.Generator
) -> Floats:
    """Coefficients of ``draws`` refits to made-up values around ``fit``: [4, draws].

    A parametric bootstrap of log-normal error. Each draw also redraws the noise level from
    what ``count - len(terms)`` degrees of freedom leave open (s² v / chi² of v): otherwise few
    points would give the intervals of a known noise. Refits are one Gauss-Newton step from
    ``fit`` with exact non-negativity, by trying every one of ``supports``; all draws share
    the matrices, so that hundreds take milliseconds.
    """
    freedom = max(points.count - len(fit.terms), 1)
    fitted = points.design @ fit.costs
    sigma = math.sqrt(fit.squares / freedom)
    residuals = points.logs - np.log(fitted)
    weights, _ = _working(residuals, points.known, max(sigma, _EXACT))
    noise = rng.standard_normal((len(points.logs), draws))
    noise *= sigma * np.sqrt(freedom / rng.chisquare(freedom, draws))
    # The value of a made-up point stays positive, however large the noise.
    target = np.maximum(weights[:, None] + noise, 0.05 * weights[:, None])
    return nonnegative(points.design * (weights / fitted)[:, None], target, supports)


def nonnegative(design: Floats, targets: Floats, supports: list[Terms]) -> Floats:
    """Non-negative least squares of every column of ``targets``: [4, columns].

    Each solution is the unconstrained one on some support, so with four terms trying all is
    exact, and faster than one call of an active-set method for each column.
    """
    best = np.full(targets.shape[1], np.inf)
    solution = np.zeros((design.shape[1], targets.shape[1]))
    for support in supports:
        part = design[:, support]
        found = np.linalg.lstsq(part, targets, rcond=None)[0]
        squares = ((targets - part @ found) ** 2).sum(axis=0)
        wins = (found >= 0).all(axis=0) & (squares < best)
        best[wins] = squares[wins]
        solution[:, wins] = 0
        solution[np.ix_(list(support), np.flatnonzero(wins).tolist())] = found[:, wins]
    return solution


def _improved(
    design: Floats, costs: Floats, residuals: Floats, known: NDArray[np.bool_], sigma: float
) -> tuple[Floats, Floats] | None:
    """Costs and residuals after a step that lowers the misfit; None if none does."""
    weights, pull = _working(residuals, known, sigma)
    fitted = design @ costs
    target, _ = nnls(design * (weights / fitted)[:, None], weights * (1 + pull))
    logs = residuals + np.log(fitted)
    now = _misfit(residuals, known, sigma)
    for halving in range(_HALVINGS):
        tried = costs + (target - costs) / 2**halving
        new = design @ tried
        if (new > 0).all():
            left = logs - np.log(new)
            if _misfit(left, known, sigma) < now:
                return tried, left
    return None


def _working(residuals: Floats, known: NDArray[np.bool_], sigma: float) -> tuple[Floats, Floats]:
    """Weight of each point (root of its curvature) and the residual it acts with."""
    weights, pull = np.ones_like(residuals), residuals.copy()
    if known.all():
        return weights, pull
    sigma = max(sigma, _SHARPEST_BOUND)
    z = residuals[~known] / sigma
    # Mills' ratio inverted: the slope of -log P(value > bound); erfcx keeps it exact far out.
    mills = math.sqrt(2 / math.pi) / special.erfcx(z / math.sqrt(2))
    curvature = np.maximum(mills * (mills - z), 1e-12)
    weights[~known], pull[~known] = np.sqrt(curvature), sigma * mills / curvature
    return weights, pull


def _misfit(residuals: Floats, known: NDArray[np.bool_], sigma: float) -> float:
    """-2 log likelihood at a fixed ``sigma``, up to a constant."""
    squares = float(residuals[known] @ residuals[known])
    return squares / sigma**2 + _bound_misfit(residuals[~known], sigma)


def _bound_misfit(residuals: Floats, sigma: float) -> float:
    if not residuals.size:
        return 0.0
    z = residuals / max(sigma, _SHARPEST_BOUND)
    return -2 * float(special.log_ndtr(-z).sum())


def _sigma(residuals: Floats, known: NDArray[np.bool_]) -> float:
    return max(math.sqrt(float((residuals[known] ** 2).mean())), _EXACT)
