"""Bodies of query answers: envelope, annotations, limit, statistics."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from mimir_rw._native import LabelFrame, SampleColumns
from mimir_rw.wire.prometheus_json import (
    Stats,
    matrix_data,
    query_answer,
    range_samples_data,
    scalar_data,
    string_data,
    vector_data,
)

LABELS = LabelFrame.from_rows([{"__name__": "up", "job": "a<b"}, {"job": "c"}])


def test_vector() -> None:
    data = vector_data(LABELS, 1_500, np.array([1.0, np.nan]), np.array([True, True]))
    assert query_answer(data) == (
        b'{"status":"success","data":{"resultType":"vector","result":['
        b'{"metric":{"__name__":"up","job":"a<b"},"value":[1.500,"1"]},{"metric":{"job":"c"},"value":[1.500,"NaN"]}]}}'
    )


def test_matrix_with_annotations() -> None:
    values, mask = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[True, True], [False, True]])
    body = query_answer(matrix_data(LABELS, 0, 1000, values, mask), warnings=["a > b & c"], infos=["d"])
    assert body == (
        b'{"status":"success","data":{"resultType":"matrix","result":['
        b'{"metric":{"__name__":"up","job":"a<b"},"values":[[0,"1"],[1,"2"]]},'
        b'{"metric":{"job":"c"},"values":[[1,"0"]]}]},'
        b'"warnings":["a \\u003e b \\u0026 c"],"infos":["d"]}'
    )


def test_limit_warns_when_it_cuts() -> None:
    values, mask = np.ones(2), np.ones(2, dtype=np.bool_)
    cut = json.loads(query_answer(vector_data(LABELS, 0, values, mask, limit=1), warnings=["w"]))
    assert len(cut["data"]["result"]) == 1
    assert cut["warnings"] == ["w", "results truncated due to limit"]
    whole = json.loads(query_answer(vector_data(LABELS, 0, values, mask, limit=2)))
    assert len(whole["data"]["result"]) == 2
    assert "warnings" not in whole


def test_other_types() -> None:
    columns = SampleColumns(np.array([0, 1, 2]), np.array([7, 8_000]), np.array([1e21, 0.5]))
    body = json.loads(query_answer(range_samples_data(LABELS, columns)))
    assert body["data"]["result"][0]["values"] == [[0.007, "1e+21"]]
    assert body["data"]["result"][1] == {"metric": {"job": "c"}, "values": [[8, "0.5"]]}
    scalar = json.loads(query_answer(scalar_data(1000, 1e21)))["data"]
    assert scalar == {"resultType": "scalar", "result": [1, "1000000000000000000000"]}
    text = json.loads(query_answer(string_data(1000, 'a"b')))["data"]
    assert text == {"resultType": "string", "result": [1, 'a"b']}
    broken = json.loads(query_answer(string_data(0, "a\udcc5")))["data"]
    assert broken["result"] == [0, "a\ufffd"]


def test_stats() -> None:
    stats = Stats(
        prepare_s=0.25, evaluate_s=0.5, queue_s=1.0, total_s=2.0, samples_queryable=5, samples_read=3, samples_peak=2
    )
    assert json.loads(query_answer(scalar_data(0, 1.0), stats=stats))["data"]["stats"] == {
        "timings": {
            "evalTotalTime": 0.75,
            "resultSortTime": 0.0,
            "queryPreparationTime": 0.25,
            "innerEvalTime": 0.5,
            "execQueueTime": 1.0,
            "execTotalTime": 2.0,
        },
        "samples": {"totalQueryableSamples": 5, "samplesRead": 3, "peakSamples": 2},
    }
    by_step = dataclasses.replace(stats, steps=[(1.0, 2, 2), (1.5, 3, 1)])
    samples = json.loads(query_answer(scalar_data(0, 1.0), stats=by_step))["data"]["stats"]["samples"]
    assert samples["totalQueryableSamplesPerStep"] == [[1, 2], [1.5, 3]]
    assert samples["samplesReadPerStep"] == [[1, 2], [1.5, 1]]
