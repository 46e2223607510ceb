"""``--fail-on``: what is understood, and what is refused with a hint."""

import pytest

from paca_bench.compare.rules import DEFAULT_FAIL_ON, Rule, parse_rules
from paca_bench.errors import SpecError


def test_the_default():
    rules = parse_rules(DEFAULT_FAIL_ON)
    assert ",".join(map(str, rules.values())) == DEFAULT_FAIL_ON
    assert rules["latency"] == Rule("latency", 0.05)
    assert rules["memory"] == Rule("memory", 0.01)


def test_blanks_and_fractions_of_a_percent():
    rules = parse_rules(" latency > 2.5% , macs!=0")
    assert rules == {"latency": Rule("latency", 0.025), "macs": Rule("macs", 0.0, True)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("latency", "not understood"),
        ("latency>fast", "not understood"),
        ("latncy>5%", "did you mean 'latency'"),
        ("latency>5", "such as latency>5%"),
        ("latency!=0", "no two latencies are equal"),
        ("macs!=1%", "!= takes 0"),
        ("macs>0,macs>1%", "macs twice"),
        ("latency>99999999%", "up to 1000000%"),
    ],
)
def test_mistakes(text, says):
    with pytest.raises(SpecError, match=r"--fail-on") as error:
        parse_rules(text)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("rule", "base", "new", "broken"),
    [
        (Rule("macs", 0.0), 10**18, 10**18 + 1, True),
        (Rule("macs", 0.0), 10**18 + 1, 10**18, False),
        (Rule("macs", 0.0, True), 10**18 + 1, 10**18, True),
        (Rule("memory", 0.01), 1000, 1010, False),
        (Rule("memory", 0.01), 1000, 1011, True),
        (Rule("macs", 0.0), 0, 1, True),
        (Rule("macs", 0.0), 0, 0, False),
    ],
)
def test_what_breaks_a_rule(rule, base, new, broken):
    assert rule.is_broken(base, new) is broken
