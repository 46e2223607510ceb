"""Column widths of terminal tables."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.report.grid import fitted_widths

columns = st.lists(
    st.tuples(st.integers(1, 20), st.integers(0, 20)).map(lambda c: (c[0], c[0] + c[1])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(columns, st.integers(0, 120))
def test_widths_hold_every_word_and_fit(sizes: list[tuple[int, int]], extra: int) -> None:
    least, natural = [c[0] for c in sizes], [c[1] for c in sizes]
    room = sum(least) + extra
    widths = fitted_widths(natural, least, room)
    assert sum(widths) <= room
    assert all(a <= w <= b for a, w, b in zip(least, widths, natural, strict=True))
    assert sum(widths) == min(room, sum(natural))


def test_a_small_lack_is_met_before_a_large_one() -> None:
    assert fitted_widths([10, 30], [8, 8], 20) == [10, 10]
