import dataclasses

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw._native import HistogramColumn, LabelFrame, SampleColumns
from mimir_rw.model.errors import BadRequest, Internal, LimitExceeded, MimirError, Unavailable
from mimir_rw.model.exemplars import Exemplar, SeriesExemplars
from mimir_rw.promql.exec.values import HistogramCells, Scalar, String, Vector
from mimir_rw.promql.result import QueryStats, RangeSamples, Result, ResultType
from mimir_rw.promql.result_codec import COMPRESSED_BYTES_MIN, Evaluated, decode_outcome, encode_outcome
from mimir_rw.promql.steps import Steps
from mimir_rw.rpc.contracts.ingester import MetricMetadata
from mimir_rw.rpc.transport import Message

STATS = QueryStats(10, 20, 0.1, 0.2, 0.3, (5, 6), (5, 1))
NAN = float("nan")


def frame(rows):
    return LabelFrame.from_rows([{"__name__": "m", "i": str(i)} for i in range(rows)])


def evaluated(value, kind, steps, warnings=(), infos=()):
    return Evaluated(Result(kind, value, steps, warnings, infos, STATS), 3, 400)


def crossed(outcome):
    """As it arrives: the header through msgpack, the payload as a view."""
    message = encode_outcome(outcome)
    header = msgspec.msgpack.decode(msgspec.msgpack.encode(dict(message.header)))
    return decode_outcome(Message(header, memoryview(bytes(message.payload))))


def matrix(rows, steps, *, holes=True):
    values = np.arange(rows * steps, dtype=np.float64).reshape(rows, steps)
    mask = values % 3 != 1 if holes else np.ones(values.shape, dtype=np.bool_)
    return Vector(frame(rows), values, mask)


@pytest.mark.parametrize(
    ("rows", "steps", "holes"), [(0, 5, True), (1, 1, False), (3, 7, True), (2, 4, False), (300, 100, True)]
)
def test_matrices(rows, steps, holes):
    sent = evaluated(matrix(rows, steps, holes=holes), ResultType.MATRIX, Steps(1000, 15, steps), ("w\udc80",), ("i",))
    got = crossed(sent)
    assert dataclasses.replace(got.result, value=None) == dataclasses.replace(sent.result, value=None)
    assert (got.series_fetched, got.bytes_fetched) == (3, 400)
    value, want = got.result.value, sent.result.value
    assert value.labels.rows() == want.labels.rows()
    assert value.values.shape == value.mask.shape == (rows, steps)
    assert (value.mask == want.mask).all()
    assert (value.values[value.mask] == want.values[want.mask]).all()


def test_bits_of_values_survive():
    bits = np.array([[0x7FF0000000000002, 0x7FF8000000000001, 1 << 63]], dtype=np.uint64).view(np.float64)
    sent = Vector(frame(1), bits, np.ones((1, 3), dtype=np.bool_))
    got = crossed(evaluated(sent, ResultType.MATRIX, Steps(0, 1, 3))).result.value
    assert got.values.tobytes() == bits.tobytes()


def test_columns_of_any_layout():
    values = np.broadcast_to(np.array([[1.0], [2.0]]), (2, 3))
    sent = Vector(frame(2), values, np.ones((3, 2), dtype=np.bool_).T)
    got = crossed(evaluated(sent, ResultType.MATRIX, Steps(0, 1, 3))).result.value
    assert got.values.tolist() == [[1.0] * 3, [2.0] * 3]


def test_exemplars():
    sent = [SeriesExemplars((("__name__", "a"), ("x", "é")), (Exemplar((("trace_id", "7"),), 1.5, -3),))]
    assert crossed(sent) == sent
    assert crossed([]) == []
    message = encode_outcome(sent)
    assert isinstance(decode_outcome(Message(message.header, bytes(message.payload)[:-1] + b"\xc1")), Internal)


def test_scalars_and_strings():
    scalar = crossed(evaluated(Scalar(np.array([1.5])), ResultType.SCALAR, Steps(7, 0, 1)))
    assert scalar.result.value.values.tolist() == [1.5]
    string = crossed(evaluated(String("\udcffé"), ResultType.STRING, Steps(7, 0, 1)))
    assert string.result.value == String("\udcffé")


@pytest.mark.parametrize("rows", [0, 3])
def test_samples(rows):
    offsets = np.arange(rows + 1, dtype=np.int64) * 2
    ts = np.tile(np.array([5, 6], dtype=np.int64), rows)
    columns = SampleColumns(offsets, ts, ts * 1.0)
    got = crossed(evaluated(RangeSamples(frame(rows), columns), ResultType.MATRIX, Steps(0, 0, 1))).result.value
    assert got.columns.offsets.tolist() == offsets.tolist()
    assert got.columns.ts.tolist() == ts.tolist()


def test_other_answers():
    assert crossed(frame(4)).rows() == frame(4).rows()
    assert crossed(["a", "", "é\udc80"]) == ["a", "", "é\udc80"]
    assert crossed([]) == []
    entries = [MetricMetadata("m", "gauge", "help", ""), MetricMetadata("n", "", "", "s")]
    assert crossed(entries) == entries


@pytest.mark.parametrize(
    "error",
    [BadRequest("x\udc80"), LimitExceeded("too much", error_id="max-series-per-query"), Unavailable("later")],
    ids=repr,
)
def test_errors(error):
    got = crossed(error)
    assert (type(got), str(got), got.error_id) == (type(error), str(error), error.error_id)


def test_large_answers_are_compressed():
    message = encode_outcome(evaluated(matrix(100, 100), ResultType.MATRIX, Steps(0, 1, 100)))
    assert message.header["lz4"] > COMPRESSED_BYTES_MIN
    assert len(message.payload) < message.header["lz4"]


MESSAGES = [
    encode_outcome(evaluated(matrix(3, 7), ResultType.MATRIX, Steps(1000, 15, 7))),
    encode_outcome(evaluated(matrix(100, 100), ResultType.MATRIX, Steps(0, 1, 100))),
    encode_outcome(frame(3)),
    encode_outcome(["a", "b"]),
    encode_outcome([MetricMetadata("m", "gauge", "help", "")]),
    encode_outcome(Unavailable("x")),
]
JUNK = st.one_of(
    st.none(), st.integers(), st.text(max_size=3), st.binary(max_size=3), st.lists(st.integers(), max_size=3)
)


@given(st.data())
def test_whatever_comes_is_an_outcome(data):
    message = data.draw(st.sampled_from(MESSAGES))
    header, payload = dict(message.header), bytearray(message.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            header[data.draw(st.sampled_from(sorted(header)))] = data.draw(JUNK)
        elif payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    got = decode_outcome(Message(header, bytes(payload)))
    assert isinstance(got, Evaluated | LabelFrame | list | MimirError)


def test_sizes_are_checked_before_memory_is_taken():
    message = MESSAGES[1]
    for size in (1 << 40, -1, "x"):
        got = decode_outcome(Message({**message.header, "lz4": size}, message.payload))
        assert isinstance(got, Internal)
    got = decode_outcome(Message({**MESSAGES[0].header, "steps": [0, 1, 1 << 60]}, MESSAGES[0].payload))
    assert isinstance(got, Internal)


def histograms(count):
    side = ([(1, 2)], [1.0, 2.0])
    return HistogramColumn.from_parts([(0, 0, 0.0, 0.0, 3.0, float(i), side, ([], []), []) for i in range(count)])


def mixed(index, *, floats=False):
    cells = np.array(index, dtype=np.int32)
    mask = (cells < 0) if floats else np.zeros(cells.shape, dtype=np.bool_)
    return Vector(frame(len(cells)), np.ones(cells.shape), mask, None, HistogramCells(histograms(9), cells))


def sums(cells):
    return [[None if i < 0 else cells.column.part(i)[5] for i in row] for row in cells.index.tolist()]


@pytest.mark.parametrize("index", [[[8, -1, 2], [-1, 2, -1]], [[0, 1, 8]], [[-1, -1, -1]]])
@pytest.mark.parametrize("floats", [True, False])
def test_cells_of_histograms(index, floats):
    sent = mixed(index, floats=floats)
    got = crossed(evaluated(sent, ResultType.MATRIX, Steps(0, 1, 3))).result.value
    assert sums(got.histograms) == sums(sent.histograms)
    assert (got.mask == sent.mask).all()
    assert len(got.histograms.column) == len({number for row in index for number in row if number >= 0})


def test_samples_of_histograms():
    floats = SampleColumns(np.array([0, 1, 1]), np.array([5]), np.array([1.0]))
    columns = floats.with_histograms(np.array([0, 1, 3]), np.array([7, 1, 2]), histograms(3))
    sent = evaluated(RangeSamples(frame(2), columns), ResultType.MATRIX, Steps(0, 0, 1))
    got = crossed(sent).result.value.columns
    assert got.histogram_offsets.tolist() == [0, 1, 3]
    assert got.histogram_ts.tolist() == [7, 1, 2]
    assert [got.histogram_column.part(i) for i in range(3)] == [histograms(3).part(i) for i in range(3)]
    assert got.ts.tolist() == [5]


def test_results_without_histograms_are_as_before():
    header = encode_outcome(evaluated(matrix(2, 3), ResultType.MATRIX, Steps(0, 1, 3))).header
    assert (header["value"], len(header["parts"])) == ("vector", 3)


@given(st.data())
def test_damaged_histograms_are_an_internal_error(data):
    message = encode_outcome(evaluated(mixed([[8, -1, 2]]), ResultType.MATRIX, Steps(0, 1, 3)))
    payload = bytearray(message.payload)
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] ^= data.draw(st.integers(1, 255))
    got = decode_outcome(Message(message.header, bytes(payload)))
    assert isinstance(got, Internal | Evaluated)


def test_a_float_and_a_histogram_in_one_cell_are_refused():
    sent = dataclasses.replace(mixed([[1, 2]]), mask=np.ones((1, 2), dtype=np.bool_))
    got = crossed(evaluated(sent, ResultType.MATRIX, Steps(0, 1, 2)))
    assert isinstance(got, Internal)
