"""Text to the values of the axes, and every wrong text to one clear line."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.axes import (
    MAX_RESOLUTION,
    RESOLUTION_STEP,
    parse_choices,
    parse_duration,
    parse_integers,
    parse_resolutions,
    suggest,
)
from paca_bench.errors import SpecError

HUGE = "9" * 5000  # beyond what Python converts to an integer


def squares(text: str) -> list[int]:
    sizes = parse_resolutions(text)
    assert all(height == width for height, width in sizes)
    return [height for height, _ in sizes]


def test_ladder_of_the_main_job() -> None:
    assert squares("224..1024") == [224, 288, 416, 544, 768, 1024]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("224", [224]),
        ("224..224", [224]),
        ("224..256", [224, 256]),
        ("224..1024:160", [224, 384, 544, 704, 864, 1024]),
        ("224..256:320", [224]),
        ("224..320:64", [224, 288]),
        ("64..128/3", [64, 96, 128]),
        ("32..32/1", [32]),
        ("384, 224 ,384", [224, 384]),
        ("512,32..64", [32, 64, 512]),
    ],
)
def test_forms(text: str, expected: list[int]) -> None:
    assert squares(text) == expected


def test_not_square_is_height_by_width() -> None:
    assert parse_resolutions("256x192,64") == ((64, 64), (256, 192))


ENDS = st.tuples(st.integers(1, 64), st.integers(1, 64)).map(
    lambda ends: (min(ends) * RESOLUTION_STEP, max(ends) * RESOLUTION_STEP)
)


@given(ENDS)
@settings(max_examples=150, deadline=None)
def test_a_ladder_keeps_both_ends_and_spreads_in_log(ends: tuple[int, int]) -> None:
    low, high = ends
    ladder = squares(f"{low}..{high}")
    assert ladder[0] == low
    assert ladder[-1] == high
    assert ladder == sorted(set(ladder))
    assert all(side % RESOLUTION_STEP == 0 for side in ladder)
    assert len(ladder) <= 6
    if low < high:
        # Each inner rung is the multiple of 32 next to the exact one.
        exact = [low * (high / low) ** (i / 5) for i in range(6)]
        assert all(
            min(abs(side - e) for e in exact) <= RESOLUTION_STEP / 2 + 1e-9 for side in ladder
        )


@given(ENDS, st.integers(2, 12))
@settings(max_examples=150, deadline=None)
def test_a_counted_range_has_its_count_or_says_why_not(ends: tuple[int, int], count: int) -> None:
    low, high = ends
    try:
        ladder = squares(f"{low}..{high}/{count}")
    except SpecError:
        # Too many to be told apart: fewer multiples than rungs, or crowded at the lower end.
        assert high / low < (1 + RESOLUTION_STEP / low) ** (count - 1)
        return
    assert len(ladder) == count
    assert (ladder[0], ladder[-1]) == (low, high)


@given(ENDS, st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_a_stepped_range_is_arithmetic(ends: tuple[int, int], steps: int) -> None:
    low, high = ends
    step = steps * RESOLUTION_STEP
    ladder = squares(f"{low}..{high}:{step}")
    assert ladder[0] == low
    assert high - step < ladder[-1] <= high
    assert {b - a for a, b in itertools.pairwise(ladder)} <= {step}


@given(st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_text_is_sizes_or_a_spec_error(text: str) -> None:
    try:
        sizes = parse_resolutions(text)
    except SpecError:
        return
    assert sizes
    for side in itertools.chain(*sizes):
        assert RESOLUTION_STEP <= side <= MAX_RESOLUTION


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0..x", "not a resolution"),
        ("", "not a resolution"),
        (" ", "not a resolution"),
        ("224,", "not a resolution"),
        (",", "not a resolution"),
        ("224..", "not a resolution"),
        ("..224", "not a resolution"),
        ("-224", "not a resolution"),
        ("224.0", "not a resolution"),
        ("224x", "not a resolution"),
        ("224..256x256", "not a resolution"),
        ("224..1024:32/4", "not a resolution"),
        ("٢٢٤", "not a resolution"),  # digits, but not those that are documented
        ("1024..224", "write 224..1024"),
        ("33", "nearest is 32"),
        ("0", "nearest is 32"),
        ("224x33", "33 pixels"),
        ("33..224", "33 pixels"),
        ("0..224", "0 pixels"),
        ("16416", "nearest is 16384"),
        ("999999999", "nearest is 16384"),
        ("1" + "0" * 400, "not a resolution"),
        (HUGE, "not a resolution"),
        (f"224..{HUGE}", "not a resolution"),
        ("224..1024:0", "multiple of 32"),
        ("224..1024:33", "multiple of 32"),
        (f"224..1024:{HUGE}", "not a resolution"),
        ("224..1024/0", "both ends are kept"),
        ("224..1024/1", "both ends are kept"),
        ("224..1024/27", "26 multiples"),
        (f"224..1024/{HUGE}", "not a resolution"),
        ("32..1024/20", "at most"),
    ],
)
def test_bad_resolutions(text: str, says: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_resolutions(text)
    message = str(error.value)
    assert says in message
    assert message.startswith("--res ")
    assert "\n" not in message
    assert len(message) < 300


def test_the_message_names_the_flag_that_was_given() -> None:
    for text in ("33", "x", "64..32", "32..96:5", "32..96/9", "32..1024/20"):
        with pytest.raises(SpecError, match=r"^--accuracy-res "):
            parse_resolutions(text, "--accuracy-res")


def test_the_count_that_the_message_offers_is_accepted() -> None:
    with pytest.raises(SpecError) as error:
        parse_resolutions("32..1024/20")
    offered = str(error.value).split("at most ")[1].split(",")[0]
    assert len(squares(f"32..1024/{offered}")) == int(offered)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h1s", 3601),
        ("0.5m", 30),
        (" 5M ", 300),
        (12, 12),
        (0.25, 0.25),
        ("1h30m10.5s", 5410.5),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


WORDS = ["", "0", "0s", "-5m", "5 m", "m", "5x", "30m1h", "inf", "nan", "1e3", "1..5m"]


@pytest.mark.parametrize("text", [*WORDS, HUGE, HUGE + "h", None, True, [5], {}])
def test_bad_durations(text: object) -> None:
    with pytest.raises(SpecError, match=r"^--timeout .* is not a duration; write 90s") as error:
        parse_duration(text, "--timeout")
    assert len(str(error.value)) < 200


@given(
    st.integers(0, 99), st.integers(0, 999), st.integers(1, 9999), st.sampled_from(["", "0", "00"])
)
@settings(max_examples=100, deadline=None)
def test_a_duration_is_the_sum_of_its_parts(h: int, m: int, s: int, zeros: str) -> None:
    assert math.isclose(parse_duration(f"{zeros}{h}h{m}m{s}s"), 3600 * h + 60 * m + s)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("25,49,100", (25, 49, 100)),
        ("49,25,49", (49, 25)),
        (" 1 , 2 ", (1, 2)),
        ([3, "4"], (3, 4)),
        ((5,), (5,)),
        (7, (7,)),
        (0, (0,)),
    ],
)
def test_integers(value: object, expected: tuple[int, ...]) -> None:
    assert parse_integers(value, "--clusters", 0, 100) == expected


@pytest.mark.parametrize(
    "value",
    ["", ",", [], "x", "1.5", 1.0, True, [False], None, -1, "101", "25;49", {}, [[1]], "1_0", HUGE],
)
def test_bad_integers(value: object) -> None:
    with pytest.raises(SpecError, match=r"^--clusters .*(integer from 0 to 100|is empty)") as error:
        parse_integers(value, "--clusters", 0, 100)
    assert len(str(error.value)) < 200


def test_choices_keep_their_order_and_drop_repeats() -> None:
    allowed = ("host", "layer")
    assert parse_choices("layer, host,layer", "--level", allowed) == ("layer", "host")
    assert parse_choices(["host"], "--level", allowed) == ("host",)


@pytest.mark.parametrize("value", ["hots", ["host", "hots"], 3, True, None, {"host": 1}])
def test_a_bad_choice_names_all_that_are_allowed(value: object) -> None:
    with pytest.raises(SpecError, match=r"^--level .* does not exist; .*choose from host, layer$"):
        parse_choices(value, "--level", ("host", "layer"))


def test_a_near_miss_is_suggested_and_a_far_one_not() -> None:
    assert suggest("hots", ["host", "layer"]) == "did you mean 'host'? choose from host, layer"
    assert suggest("zebra", ["host", "layer"]) == "choose from host, layer"


def test_no_choice_is_an_error() -> None:
    for value in ("", ",", []):
        with pytest.raises(SpecError, match="--level is empty"):
            parse_choices(value, "--level", ("host",))
