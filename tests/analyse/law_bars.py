"""Do fitted laws recover known ones? The bars, on simulated sweeps with log-normal noise.

``python -m tests.analyse.law_bars`` runs them in full; the test suite runs a part.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from paca_bench.analyse.claims import Claim, linear_claim
from paca_bench.analyse.laws import fit_law
from paca_bench.analyse.scaling import fit_exponent

POINTS = (5, 6, 7, 8, 9)
# In the order constant, linear, linearithmic, quadratic; "c" is a constant of any size.
KINDS = ("linear", "quadratic", "linearithmic", "mix", "c+linear", "c+quadratic", "c+mix")


@dataclass
class Study:
    """How often, of ``cases``, the true value lay within the interval, and what it was called."""

    cases: int = 0
    range_hits: int = 0
    local_hits: int = 0
    growth_hits: int = 0
    line_hits: int = 0
    called: Counter = field(default_factory=Counter)
    claims: Counter = field(default_factory=Counter)
    wrong_claims: int = 0

    def __str__(self):
        rates = (self.range_hits, self.local_hits, self.growth_hits, self.line_hits)
        shown = " ".join(f"{hits / self.cases:.3f}" for hits in rates)
        return (
            f"{shown}  called {dict(self.called)}, claims {dict(self.claims)}, "
            f"{self.wrong_claims} wrong"
        )


def sweep_tokens(points):
    """N of ``points`` resolutions from 224 to 1024, multiples of 32."""
    sides = np.round(np.geomspace(224, 1024, points) / 32) * 32
    return (sides / 4) ** 2


def terms_at(n):
    n = np.asarray(n, dtype=float)
    return np.stack([np.ones_like(n), n, n * np.log(n), n * n], axis=-1)


def draw_law(kind, tokens, rng):
    """Coefficients of a law: N² has 5 to 95% of a mix at the largest N, a constant 10 to 90% of
    the cost at the smallest."""
    first, last = terms_at(tokens[0]), terms_at(tokens[-1])
    share = rng.uniform(0.05, 0.95)
    at_the_end = {
        "linear": (0, 1, 0, 0),
        "quadratic": (0, 0, 0, 1),
        "linearithmic": (0, 0, 1, 0),
        "mix": (0, 1 - share, 0, share),
    }[kind.removeprefix("c+")]
    law = np.array(at_the_end) / last
    if kind.startswith("c+"):
        fixed = rng.uniform(0.1, 0.9)
        law[0] = first @ law * fixed / (1 - fixed)
    return law


def exponents(law, tokens):
    """The true exponent over the range, the local one and the growth one at the largest N."""
    x = np.log(tokens) - np.log(tokens).mean()
    over_range = x @ np.log(terms_at(tokens) @ law) / (x @ x)
    n = tokens[-1]
    costs = terms_at(n) * law
    each = np.array([0, 1, 1 + 1 / math.log(n), 2])
    return over_range, each @ costs / costs.sum(), each[1:] @ costs[1:] / costs[1:].sum()


def holds(interval, true):
    return interval.low - 1e-9 <= true <= interval.high + 1e-9


def study(kinds, cases, *, noise=0.05, seed=0, points=POINTS):
    """Simulate ``cases`` sweeps, kinds and numbers of points in turn, and fit them."""
    rng = np.random.default_rng(seed)
    found = Study()
    for case in range(cases):
        kind = kinds[case % len(kinds)]
        tokens = sweep_tokens(points[case // len(kinds) % len(points)])
        true = draw_law(kind, tokens, rng)
        values = terms_at(tokens) @ true * np.exp(noise * rng.standard_normal(len(tokens)))
        law = fit_law(tokens, values, seed=case)
        over_range, local, growth = exponents(true, tokens)
        claim = linear_claim(law)
        found.cases += 1
        found.range_hits += holds(law.exponent, over_range)
        found.local_hits += holds(law.exponent_at(tokens[-1]), local)
        found.growth_hits += holds(law.growth_exponent_at(tokens[-1]), growth)
        found.line_hits += holds(fit_exponent(tokens, values), over_range)
        found.called[law.kind] += 1
        found.claims[claim.verdict.value] += 1
        settled = claim.verdict is not Claim.NOT_SHOWN
        found.wrong_claims += settled and (claim.verdict is Claim.HOLDS) != (growth <= 1.1)
    return found


if __name__ == "__main__":
    print("share of cases whose true value is in the 95% interval: exponent over the range,")
    print("local and growth exponent at the largest N; and straight line on logs, over the range")
    for noise in (0.05, 0.01):
        print(f"noise {noise:.0%}, 1,000 cases of all kinds: {study(KINDS, 1000, noise=noise)}")
        for kind in KINDS:
            print(f"  {kind}: {study((kind,), 1000, noise=noise, seed=1)}", flush=True)
