"""Signatures of all PromQL functions, and the value types they speak of.

Data only: what a function computes lives in `exec/`. Trailing arguments beyond `arg_types` repeat the last type as
far as `variadic` allows.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ValueType(enum.Enum):
    """Type of an expression. The value is the name that error messages use."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


SHORT_TYPE_NAMES = {
    ValueType.SCALAR: "scalar",
    ValueType.VECTOR: "vector",
    ValueType.MATRIX: "matrix",
    ValueType.STRING: "string",
}


@dataclass(frozen=True, slots=True)
class Function:
    """One signature.

    variadic: 0 for exactly `arg_types`; n > 0 for the last type given 0 to n times; -1 for 0 or more times.
    """

    name: str
    arg_types: tuple[ValueType, ...]
    return_type: ValueType
    variadic: int = 0
    experimental: bool = False

    @property
    def args_min(self) -> int:
        return len(self.arg_types) - (1 if self.variadic else 0)

    @property
    def args_max(self) -> int | None:
        """None: no bound."""
        return None if self.variadic < 0 else self.args_min + self.variadic


_LETTERS = {"s": ValueType.SCALAR, "v": ValueType.VECTOR, "r": ValueType.MATRIX, "t": ValueType.STRING}

# One line per signature: argument letters (s scalar, v instant vector, r range vector, t string literal),
# result letter, variadic count, names. A trailing "*" marks an experimental function.
_SIGNATURES = """
v v 0  abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count
v v 0  histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh
v v 0  timestamp start_timestamp*
v v 1  day_of_month day_of_week day_of_year days_in_month hour minute month year
v s 0  scalar
s v 0  vector
- s 0  pi time end* range* start* step*
ss s 0 max_of* min_of*
r v 0  absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate
r v 0  last_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time stdvar_over_time
r v 0  sum_over_time mad_over_time* ts_of_first_over_time* ts_of_last_over_time* ts_of_max_over_time*
r v 0  ts_of_min_over_time*
rs v 0 predict_linear
rss v 0 double_exponential_smoothing*
sr v 0 quantile_over_time
sv v 0 histogram_quantile
ssv v 0 histogram_fraction
vtss v 9 histogram_quantiles*
vs v 0 clamp_max clamp_min
vs v 1 round
vss v 0 clamp
vt v -1 sort_by_label* sort_by_label_desc*
vttt v -1 label_join
vtttt v 0 label_replace
vv v 1 info*
"""


def _table() -> dict[str, Function]:
    functions = {}
    for line in _SIGNATURES.strip().splitlines():
        args, result, variadic, *names = line.split()
        arg_types = tuple(_LETTERS[letter] for letter in args.replace("-", ""))
        for name in names:
            plain = name.rstrip("*")
            functions[plain] = Function(
                name=plain,
                arg_types=arg_types,
                return_type=_LETTERS[result],
                variadic=int(variadic),
                experimental=plain != name,
            )
    return functions


FUNCTIONS: dict[str, Function] = _table()
