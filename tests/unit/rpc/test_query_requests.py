import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.model.errors import BadRequest
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.rpc.contracts.query import (
    ExemplarsRequest,
    InstantQuery,
    LabelNamesRequest,
    LabelValuesRequest,
    MetadataRequest,
    RangeQuery,
    SeriesRequest,
)
from mimir_rw.rpc.query_requests import decode_request, encode_request
from mimir_rw.rpc.transport import Message

SETS = [[Matcher(MatchType.EQUAL, "a", "b"), Matcher(MatchType.NOT_REGEX, "c", "\udc80.*")], []]
REQUESTS = [
    InstantQuery("up\udc80", 5, timeout_s=1.5, limit=3, lookback_ms=7, stats="all"),
    InstantQuery("up", -5),
    RangeQuery("up", 1, 10, 3, explain=True),
    SeriesRequest(SETS, 1, 2),
    LabelNamesRequest([], 1, 2),
    LabelValuesRequest("é", SETS, 1, 2),
    ExemplarsRequest(SETS, 1, 2),
    MetadataRequest(None),
    MetadataRequest("up"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_requests_survive_the_way(request_):
    header = msgspec.msgpack.decode(msgspec.msgpack.encode(dict(encode_request(request_).header)))
    assert decode_request(Message(header)) == request_


JUNK = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3), st.binary(max_size=3), st.floats()),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(REQUESTS), st.data())
def test_what_is_no_request_is_refused(request_, data):
    header = dict(encode_request(request_).header)
    header[data.draw(st.sampled_from(sorted(header)))] = data.draw(JUNK)
    with contextlib.suppress(BadRequest):
        decode_request(Message(header))


def test_nothing_is_no_request():
    with pytest.raises(BadRequest):
        decode_request(Message())
    with pytest.raises(BadRequest):
        decode_request(Message({**encode_request(RangeQuery("a", 5, 1, 1)).header}))
