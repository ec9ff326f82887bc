"""Odd requests to the query API, as a table: what clients send that is not quite in order, or in order by a rule that
few know. `groups()` gives them by the rule that they try.

Left out is where Prometheus' answer is an accident: times beyond 64-bit nanoseconds wrap around there, a timeout that
is next to zero or less ends the query at a place that depends on the scheduler of threads.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.differential.data import Written, labelled
from tests.e2e.processes import Process

FORM = "application/x-www-form-urlencoded"
_LEFT_AS_IT_IS = "%/?&=[]{}()\"';:@!~*#+,|<>\\"


def _words(table: str) -> list[str]:
    return table.split()


TIMES = _words("""
0 1 1.5 -1 -1.5 1e3 1E3 1.7e9 0x10 0x1p4 0X1.8P1 0x1p 1_000 1__0 _1 1_ 0x_1p0 0x1_0 %2B1 %2B5.5 .5 5. . %2B 1e400
9223372036 1.0005 1.0004999 -1.0005 0.0015 1435781451.781 1435781430.7815 2015-07-01T20:10:51.781Z
2015-07-01T20:10:51Z 2015-07-01T20:10:51%2B02:00 2015-07-01T20:10:51-0200 2015-07-01T20:10:51 2015-07-01t20:10:51z
2015-07-01T20:10:51.7819999999Z 2015-07-01T20:10:51.781999999Z 2015-07-01T20:10:51,781Z 2015-07-01T20:10:51.Z
2015-13-01T20:10:51Z 2015-02-29T20:10:51Z 2016-02-29T20:10:51Z 2015-07-01T24:00:00Z 2015-07-01T23:59:60Z
2015-07-01T20:60:00Z 2015-07-01T20:10:51%2B24:00 2015-07-01T20:10:51%2B25:00 2015-07-01T20:10:51%2B14:60
2015-07-01T20:10:51%2B14:61 2015-07-01T20:10:51-23:59 2015-07-01T2:10:51Z 2015-7-01T20:10:51Z 10000-01-01T00:00:00Z
1969-12-31T23:59:59.5Z 1969-12-31T23:59:59.9999Z %2B292277025-08-18T07:12:54.999999999Z now 1h abc é 1.7e9s 0b11 0o7
1e e1 --1 1,5 ١ 15s %201 1%20 2015-07-01%2020:10:51Z
""")
DURATIONS = _words("""
1 0 -1 0.5 1e-3 0.0015 1e-9 1e-10 1m 1h30m 30m1h 1h1h 1.5h 1y 1w 1d 1ms 1us 1ns 1M -1m %2B1m 0s x 1e400 inf -inf nan
%2BNaN NaN Infinity infinit 9223372036 9223372037 9223372036.854 -9223372037 292y 293y 1e10y 0x10 0x1p4 1_0
99999999999999999999999m 010 5. .5 1d12h 0.1s 0m 1h0m 0h 1y1w1d1h1m1s1ms s 1s1 1%20m %201m 1m%20
""")
LIMITS = _words("""
0 1 -1 %2B1 1.5 x 1e3 0x1 9223372036854775807 9223372036854775808 -9223372036854775809 99999999999999999999 1_000 00
-0 01 é ٣ - %2B %201
""")
PAIRS = _words("""
query=%FF&time=1 query="%FF"&time=1 query=1%2B1&time=1 query=1+%2B+1&time=1 query=%zz&time=1 query=1&time=1&x=%zz
query=1;time=2 query=1&&&time=1 &query=1&time=1 query=1&time=1& query=1&query=2&time=1 time=1&time=2&query=time()
query=&query=2&time=1 =x&query=1&time=1 query=1=1&time=1 query=1%3D%3Dbool1&time=1 QUERY=1&time=1 query=1%00&time=1
query=%221%00%22&time=1 query=1%0A%2B1&time=1 query=1% query=1&time=%31 qu%65ry=1&time=1 query=1&time=1%E9
a=%&query=1 query=%F0%9F%98%80&time=1 query=%ED%A0%80&time=1 query="%ED%A0%80"&time=1 query=1?time=1
query=1&time=1%2 %=1&query=1
""")
QUERIES = _words("""
query=(&time=x query=(&limit=x query=(&timeout=x query=(&lookback_delta=x query=(&stats=q limit=x&time=x
time=x&timeout=x timeout=x&lookback_delta=x query= query=%20 query query=%23 query=up%5B5m%5D&time=0
query="s"&time=5 query=1&time=1.5 query="<%26>\n"&time=1 query="é"&time=5 query="%5Cxff"&time=5 query={}
query=up&time=1 query=-up&time=1 query={a=~".*"}
""")
RANGES = _words("""
start=0&end=11000&step=1 start=0&end=11001&step=1 start=0&end=11000.999&step=1 start=0&end=11000999&step=1000ms
start=0&end=11&step=0.001 start=0&end=11.001&step=0.001 start=0&end=0.5&step=0.00001 start=1&end=0&step=1
start=1&end=0.9999&step=1 start=1.0001&end=1&step=1 start=0&end=1 start=0&step=1 end=0&step=1 start=0&end=1&step=1e9
start=-10&end=10&step=3 start=-9223372036&end=9223372036&step=9223372036 start=1.7e9&end=1.7e9&step=1y start=x&end=x
end=x&step=x start=1&end=0&step=x start=0&end=1&step=0&query=( start=0&end=1&step=x&limit=x
start=0&end=0&step=1&query=up[5m] start=0&end=0&step=1&query="s" start=0&end=0&step=1&query=up[5m:1m]
start=0&end=100000&step=1&timeout=x&query=( start=0&end=0&step=1&timeout=x&query=( start=0&end=0.01&step=0.0025
""")
SEARCHES = _words("""
series series?match[]= series?match[]={} series?match[]=up&match[]={} series?match[]=a%2Bb series?match[]=up%5B5m%5D
series?match[]=up%20offset%205m series?match[]=up@1 series?match[]={a=~%22.*%22} series?match[]={a=%22%22}
series?match[]={a!=%22x%22} series?match[]=%22up%22 series?match[]=(up) series?match[]={__name__=~%22(%22}
series?match[]=up&start=2&end=1 series?match[]=up&start=x&end=y&limit=z series?limit=z series?match[]=(&start=x
labels?match[]={} labels?match[]= labels?match[]=a%2Bb labels?start=2&end=1 labels?match[]=(&start=x
label/a/values?match[]={} label/a/values?match[]=( label/U__a_2e_b/values label/1a/values label/%FF/values
label/a%20b/values label/é/values label/U___FFFFFFFF_/values label/U__/values label/%00/values metadata?metric=x
metadata?limit=-1 metadata?limit_per_metric=x metadata?limit=x&limit_per_metric=x match
""")
TYPES = [
    *(FORM + rest for rest in ("", "; charset=utf-8", ";charset=UTF-8", "; charset=iso-8859-1", ";", "; x", " ; a=b")),
    *(FORM + rest for rest in ('; charset="utf-8"', "; charset=utf-8; charset=utf-8", ", text/plain", "/x")),
    *(FORM.upper(), "text/plain", "application/json", "", None, "multipart/form-data", "garbage;;;"),
]
_FIELD = "content-disposition: form-data; name="
_PARTS = f'--x\r\n{_FIELD}"query"\r\n\r\n7\r\n--x\r\n{_FIELD}"time"\r\n\r\n1\r\n--x--\r\n'
MULTIPART = [
    *(_PARTS, _PARTS[:-9], "junk", _PARTS * 2),
    *(_PARTS.replace('"query"', "query"), _PARTS.replace("\r\n", "\n"), _PARTS.replace('y"', 'y"; filename="f"')),
]
BOUNDARIES = ("boundary=x", 'boundary="x"', "boundary=", "boundary=y", "")


START_S = 1_700_000_000
WRITTEN = [
    Written(labelled("m", i=str(i), job="ab"[i % 2]), [((START_S + 15 * k) * 1000, float(k * i)) for k in range(40)])
    for i in range(5)
]
"""What both sides are given."""
_END_S = START_S + 600
_RANGE = f"start={START_S}&end={_END_S}&step=30"
_SHOWN = _words("m sort_desc(m) rate(m[1m]) sum(m)by(job) quantile(3,m)by(i) m[1m] m[1m:20s] 1 'text' m>1 -m")
_MANY = [
    *(f"query?time={_END_S}&query={query}" for query in _SHOWN),
    *(f"query_range?{_RANGE}&query={query}" for query in _SHOWN),
    *("series?match[]=m", "series?match[]={i=~'[24]'}&match[]=m", "labels?", "labels?match[]=m"),
    *("label/i/values?", "label/job/values?match[]=m"),
]
_READING = _words("""
m sum(m) m+m rate(m[1m]) m[1m] 1 m@1700000300 m@1700000300+m rate(m[1m]@end()) rate(m[10s]) absent(nothing) vector(1)
sum_over_time(m[1m:15s]) sum_over_time(m[30s:10s]offset%2020s) max_over_time(rate(m[1m])[5m:1m]) timestamp(m) m[1m:15s]
avg_over_time(sum_over_time(m[1m:15s])[2m:30s]) max_over_time(m[10s:5s]) sum_over_time(m[1m:15s]@end()) -m
m%20offset%201m+on(i)m m%20offset%20-30s absent_over_time(m[20s]) quantile_over_time(.5,m[2m])>3 topk(1,m) time()
""")
_COUNTED = [
    *(f"query?time={_END_S}&query={query}" for query in _READING),
    *(f"query_range?{_RANGE}&query={query}" for query in _READING if not query.startswith("m[")),
    *(f"query_range?start={START_S - 40}&end={_END_S + 400}&step=110&query={query}" for query in _READING[:18]),
]
_LOOKBACKS = _words("1 10s 14.999 15 15.001 1m 10m 0 -1 nan 1e-9")
_LOOKING_BACK = [
    *(f"query?time={_END_S + ahead}&query=count(m)" for ahead in (0, 10, 600)),
    *(
        f"query_range?start={START_S - 10}&end={_END_S + 900}&step=7&query={query}"
        for query in ("m", "m[20s:3s]", "m-m")
    ),
]


@dataclass(frozen=True, slots=True)
class Odd:
    target: str
    method: str = "GET"
    body: str = ""
    content_type: str | None = None

    def ask(self, process: Process, prefix: str) -> tuple[object, ...]:
        """What is compared of the answer: status, type and text of an error, data, annotations."""
        client = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
        client.putrequest(self.method, f"{prefix}/api/v1/{quote(self.target, safe=_LEFT_AS_IT_IS)}")
        if self.content_type is not None:
            client.putheader("Content-Type", self.content_type)
        body = self.body.encode()
        if self.method == "POST":
            client.putheader("Content-Length", str(len(body)))
        client.endheaders(body)
        answer = client.getresponse()
        text = answer.read()
        client.close()
        return answer.status, *_telling(text)


def post(target: str, body: str, content_type: str | None = FORM) -> Odd:
    return Odd(target, "POST", body, content_type)


def groups() -> Iterator[tuple[str, list[Odd]]]:
    yield "times", [Odd(target) for text in (*TIMES, "") for target in _timed(text)]
    yield "durations", [Odd(target) for text in (*DURATIONS, "") for target in _lasting(text)]
    yield "limits", [Odd(target) for text in (*LIMITS, "") for target in _limited(text)]
    yield "pairs", [odd for pairs in PAIRS for odd in _encoded(pairs)]
    yield "types", [post(target, "query=1&time=1", kind) for kind in TYPES for target in _POSTED]
    yield (
        "multipart",
        [
            post(target, body, f"multipart/form-data; {boundary}")
            for body in MULTIPART
            for boundary in BOUNDARIES
            for target in ("query", "query?query=2&time=3", "series")
        ],
    )
    yield "queries", [Odd(path + query) for query in QUERIES for path in _TEXTUAL]
    yield (
        "ranges",
        [Odd(f"query_range?query=1&{bounds}") for bounds in RANGES]
        + [Odd(f"query_range?{bounds}&query=(") for bounds in RANGES],
    )
    yield "searches", [Odd(target) for target in SEARCHES]
    yield (
        "exemplars",
        [
            *(Odd(f"query_exemplars?query=up&start={text}") for text in TIMES),
            *(Odd(f"query_exemplars?{query}") for query in QUERIES),
            *(Odd(f"query_exemplars?query=up&{bounds}") for bounds in RANGES),
            *(post("query_exemplars", "query=rate(up[5m])"), Odd("query_exemplars?query=1"), Odd("query_exemplars")),
        ],
    )
    yield "limits of results", [Odd(f"{target}&limit={limit}") for target in _MANY for limit in (1, 2, 4, 5, 6)]
    yield "statistics", [Odd(f"{target}&stats={stats}") for target in _COUNTED for stats in ("true", "all")]
    yield "lookback", [Odd(f"{target}&lookback_delta={text}") for text in _LOOKBACKS for target in _LOOKING_BACK]
    yield (
        "precedence",
        [
            *(
                post("query", ""),
                post("query_range", "query=1&start=0&end=1&step=1"),
                post("format_query?query=1", "query=2"),
            ),
            *(post("query?limit=-1", "query=1&time=1"), post("query?query=2", "query=1&time=1")),
            *(post("query?time=5", "query=time()"), post("query?query=time()", "time=5")),
            *(Odd(f"query?query=1&time=1&stats={stats}") for stats in ("true", "false", "1", "True", "x<y", "é", "")),
        ],
    )


_POSTED = ("query", "query?query=2&time=3", "labels", "series?match[]=up", "format_query?query=2")
_TEXTUAL = ("query?", "query_range?start=0&end=1&step=1&", "format_query?", "parse_query?")


def _timed(text: str) -> list[str]:
    bounds = [
        f"query_range?query=1&start={text}&end={text}&step=1",
        f"labels?start={text}",
        f"series?match[]=up&end={text}",
    ]
    return [*bounds, f"query?query=time()&time={text}"] if text else bounds


def _lasting(text: str) -> list[str]:
    return [
        f"query_range?query=1&start=0&end=10&step={text}",
        f"query?query=vector(1)&time=1&lookback_delta={text}",
        f"query_range?query=1&start=0&end=1&step=1&lookback_delta={text}",
        *([] if text in _NO_TIME else [f"query?query=vector(1)&time=1&timeout={text}"]),
    ]


_NO_TIME = _words("0 0s 0m 0h 1e-3 0.0015 1e-9 1e-10 1ms -1 nan NaN")


def _limited(text: str) -> list[str]:
    paths = ("query?query=vector(1)&time=1", "query_range?query=1&start=0&end=1&step=1", "series?match[]=up", "labels?")
    more = ("label/a/values?", "metadata?", f"metadata?limit_per_metric={text}")
    return [f"{path}&limit={text}" for path in (*paths, *more)]


def _encoded(pairs: str) -> list[Odd]:
    return [
        Odd(f"query?{pairs}&time=7"),
        Odd(f"labels?{pairs}"),
        Odd(f"series?match[]=up&{pairs}"),
        post("query", f"{pairs}&time=7"),
        post("series", f"match[]=up&{pairs}"),
        post("labels", pairs),
    ]


def _telling(text: bytes) -> tuple[object, ...]:
    try:
        answer = json.loads(text)
    except ValueError:
        return ("no JSON",)
    if answer["status"] == "error":
        return answer["errorType"], answer["error"]
    # Prometheus gathers annotations in a map: their order is another one each time.
    return _data(answer["data"]), *(sorted(answer.get(kind, ())) for kind in ("warnings", "infos"))


def _data(data: Any) -> Any:
    """Without what differs from run to run, and without the places that only our syntax trees have."""
    if isinstance(data, list):
        return [_data(each) for each in data]
    if not isinstance(data, dict):
        return data
    if "stats" in data:
        timings, samples = data["stats"]["timings"], data["stats"]["samples"]
        return {**data, "stats": [sorted(timings), {**samples, "peakSamples": None}]}
    return {name: _data(value) for name, value in data.items() if not ("type" in data and name in ("start", "end"))}
