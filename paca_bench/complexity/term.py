"""What a named term of a closed form is made of: operators, each with all that it costs.

A closed form is written once, from the operators below, and gives multiply-accumulates,
parameters and the elements that must move between memory and processor alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from paca_bench.complexity.expr import Expr, symbols
from paca_bench.errors import SpecError

NOTHING = Expr({})
# A gradient for each of the two operands.
BOTH_GRADIENTS = 2


@dataclass(frozen=True, slots=True)
class Operator:
    """One matrix-like operator (or parameters that no such operator uses), in symbols.

    Attributes:
        macs: multiply-accumulates for one image.
        params: trainable parameters.
        activations: elements read and written for one image, each operand and the result
            once; attention stores no scores. None: unknown.
        fixed: elements read once a call, whatever the batch: weights, and biases of scores.
        gradients: the operator's backward pass in units of its forward pass: one for each
            operand that wants a gradient.
    """

    macs: Expr = NOTHING
    params: Expr = NOTHING
    activations: Expr | None = NOTHING
    fixed: Expr = NOTHING
    gradients: int = BOTH_GRADIENTS


@dataclass(frozen=True, slots=True)
class Term:
    """A sum of operators: ``4 * linear(N, C, C)``, ``linear(N, C, D) + linear(N, D, C)``."""

    operators: tuple[tuple[int, Operator], ...]

    @classmethod
    def of(cls, value: Term | Expr | int) -> Term:
        """``value`` itself, or a term of which only the multiply-accumulates are known."""
        if isinstance(value, Term):
            return value
        return _single(Operator(macs=Expr.of(value), activations=None))

    def __add__(self, other: Term) -> Term:
        return Term((*self.operators, *other.operators))

    def __rmul__(self, count: int) -> Term:
        if type(count) is not int or count < 0:
            raise SpecError(f"a term is repeated a whole number of times, not {count!r}")
        return Term(tuple((count * times, operator) for times, operator in self.operators))

    @property
    def macs(self) -> Expr:
        """Multiply-accumulates for one image."""
        return sum((times * op.macs for times, op in self.operators), start=NOTHING)

    @property
    def params(self) -> Expr:
        """Trainable parameters."""
        return sum((times * op.params for times, op in self.operators), start=NOTHING)


def linear(tokens: Expr | int, inputs: Expr, outputs: Expr, *, bias: bool = True) -> Term:
    """A linear map of tokens, or a 1x1 convolution: ``N D C``."""
    tokens, weights = Expr.of(tokens), inputs * outputs
    return _single(
        Operator(
            macs=tokens * weights,
            params=weights + outputs if bias else weights,
            activations=tokens * inputs + tokens * outputs,
            fixed=weights,
        )
    )


def convolution(
    tokens_in: Expr,
    tokens: Expr,
    area: Expr | int,
    inputs: Expr | int,
    outputs: Expr,
    *,
    bias: bool = True,
    of_image: bool = False,
) -> Term:
    """A dense convolution of a kernel of ``area``, to ``tokens`` positions: ``k² D C N``.

    ``of_image``: it reads the image, for which nobody wants a gradient.
    """
    weights = Expr.of(area) * inputs * outputs
    return _single(
        Operator(
            macs=weights * tokens,
            params=weights + outputs if bias else weights,
            activations=tokens_in * inputs + tokens * outputs,
            fixed=weights,
            gradients=1 if of_image else BOTH_GRADIENTS,
        )
    )


def depthwise(
    tokens: Expr,
    area: Expr | int,
    channels: Expr,
    *,
    learned: bool = True,
    tokens_in: Expr | None = None,
) -> Term:
    """A depthwise convolution of stride 1: ``k² C N``; its weights may be fixed.

    ``tokens_in``: positions that it reads, where its input is padded beforehand.
    """
    weights = Expr.of(area) * channels
    read = tokens if tokens_in is None else tokens_in
    return _single(
        Operator(
            macs=weights * tokens,
            params=weights + channels if learned else NOTHING,
            activations=read * channels + tokens * channels,
            fixed=weights,
            gradients=BOTH_GRADIENTS if learned else 1,
        )
    )


def product(rows: Expr, inner: Expr, columns: Expr) -> Term:
    """A product of two activations: ``rows x inner`` by ``inner x columns``."""
    moved = rows * inner + inner * columns + rows * columns
    return _single(Operator(macs=rows * inner * columns, activations=moved))


def attention(queries: Expr, keys: Expr, channels: Expr, *, learned: bool = False) -> Term:
    """``q kᵀ`` and ``p v`` over all heads: ``2 N K C``.

    ``learned``: the queries are parameters, the same for all images.
    """
    query = queries * channels
    moved = query + 2 * keys * channels
    return _single(
        Operator(
            macs=2 * queries * keys * channels,
            params=query if learned else NOTHING,
            activations=moved if learned else moved + query,
            fixed=query if learned else NOTHING,
        )
    )


def window_attention(
    tokens: Expr, window: Expr, channels: Expr, heads: Expr, *, masked: bool
) -> Term:
    """Attention of ``tokens`` inside windows of ``window`` tokens: ``2 N w² C``.

    To the scores of each head a bias is added, the same for all windows; ``masked``: one for
    each window of each image, as the mask makes them differ.
    """
    moved = 4 * tokens * channels
    return _single(
        Operator(
            macs=2 * tokens * window * channels,
            activations=moved + tokens * window * heads if masked else moved,
            fixed=NOTHING if masked else window * window * heads,
        )
    )


def parameters(count: Expr) -> Term:
    """Parameters that take part in elementwise work only: norms, tables."""
    return _single(Operator(params=count))


def norm(channels: Expr) -> Term:
    """Weight and bias of a norm."""
    return parameters(2 * channels)


def _single(operator: Operator) -> Term:
    return Term(((1, operator),))


# The symbols that closed forms share: token counts N, clusters M, reduced tokens N_R,
# channels C, the channels D before a layer, expansion r, kernel side k, window side w.
N, M, C, D, r, k, w = symbols("N M C D r k w")
N_in, N_half, N_R, N_w = symbols("N_in N_half N_R N_w")
