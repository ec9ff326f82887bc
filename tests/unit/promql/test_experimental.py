import pytest

from mimir_rw.promql.errors import InvalidQuery
from mimir_rw.promql.experimental import Enabled, refuse_disabled
from mimir_rw.promql.parser import parse_expression

ALL = Enabled(functions=["all"], range_selectors=["all"], fill_modifiers=["all"])


@pytest.mark.parametrize(
    ("text", "enabled", "message"),
    [
        ("start()", Enabled(range_selectors=["all"]), 'function "start" is not enabled for tenant t'),
        ("sum(limitk(1, foo))", Enabled(functions=["info"]), 'aggregate "limitk" is not enabled for tenant t'),
        (
            "rate(foo[5m] anchored)",
            Enabled(range_selectors=["smoothed"]),
            'extended range selector modifier "anchored" is not enabled for tenant t',
        ),
        ("foo smoothed", Enabled(), 'extended range selector modifier "smoothed" is not enabled for tenant t'),
        (
            "a + fill(0) b",
            Enabled(fill_modifiers=["fill_left"]),
            'binop fill modifier "fill" is not enabled for tenant t',
        ),
        ("a + fill_left(0) b", Enabled(), 'binop fill modifier "fill_left" is not enabled for tenant t'),
        (
            "a + fill_left(0) fill_right(1) b",
            Enabled(fill_modifiers=["fill_left"]),
            'binop fill modifier "fill_right" is not enabled for tenant t',
        ),
        ("mad_over_time(limitk(1, foo)[5m:])", Enabled(), 'function "mad_over_time" is not enabled for tenant t'),
    ],
)
def test_what_is_not_enabled_is_refused(text: str, enabled: Enabled, message: str) -> None:
    expr = parse_expression(text)
    refuse_disabled(expr, ALL, "t")
    with pytest.raises(InvalidQuery) as caught:
        refuse_disabled(expr, enabled, "t")
    assert str(caught.value) == message


def test_names_enable_what_they_name() -> None:
    enabled = Enabled(["limitk", "start"], ["anchored"], ["fill"])
    refuse_disabled(parse_expression("limitk(1, rate(a[5m] anchored) + fill(0) b) > start()"), enabled, "t")


def test_the_plain_language_needs_no_leave() -> None:
    refuse_disabled(parse_expression("sum by (a) (rate(foo[5m])) / on (a) group_left bar > 1"), Enabled(), "t")
