import pytest

from mimir_rw._native import KnownSeries, PushLimits, decode_remote_write
from mimir_rw.testing.history import History, Window
from mimir_rw.testing.samples import SamplePlan, decode_value

PLAN = SamplePlan(tenant="t", start_ms=1_000_000, interval_ms=1_000)
WHOLE = Window(start_ms=0, end_ms=2_000_000, begun_s=50.0, ended_s=51.0)


@pytest.fixture
def history():
    """Series 3 with samples 0-4 sent at 10-14, of which 0-2 acknowledged at 20; sample 5 sent at 60."""
    history = History(PLAN)
    for sequence in range(5):
        history.sent(3, sequence, 10.0 + sequence)
    for sequence in range(3):
        history.acknowledged(3, sequence, 20.0)
    history.sent(3, 5, 60.0)
    return history


def point(sequence, series=3):
    return PLAN.time_ms(series, sequence), PLAN.value(series, sequence)


def complaint(history, points, window=WHOLE, series=3):
    found = history.complaints({series: points}, window, [3])
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("there", [3, 4, 5], ids=lambda n: f"{n} points")
def test_what_was_not_acknowledged_may_be_there_or_not(history, there):
    assert complaint(history, [point(k) for k in range(there)]) is None


def test_an_acknowledged_sample_that_is_missing(history):
    assert complaint(history, [point(0), point(2)]) == "series 3 lacks acknowledged samples 1"
    assert complaint(history, []) == "series 3 lacks acknowledged samples 0-2"


def test_a_sample_that_was_acknowledged_while_the_read_ran_may_be_missing(history):
    during = Window(start_ms=0, end_ms=2_000_000, begun_s=19.0, ended_s=51.0)
    assert complaint(history, [], during) is None


def test_a_sample_outside_the_range_is_not_missed(history):
    later = Window(start_ms=PLAN.time_ms(3, 1), end_ms=2_000_000, begun_s=50.0, ended_s=51.0)
    assert complaint(history, [point(2)], later) is None
    assert "not in the range" in complaint(history, [point(1), point(2)], later)


def test_invented_samples(history):
    good = [point(0), point(1), point(2)]
    assert "never sent" in complaint(history, [*good, point(5)])
    assert "never sent" in complaint(history, [*good, point(77)])
    assert "a sample of series 4" in complaint(history, [*good, point(4, series=4)])
    assert "sent for" in complaint(history, [*good, (point(4)[0] + 1, point(4)[1])])


def test_a_sample_that_stands_there_twice(history):
    assert complaint(history, [point(0), point(1), point(2), point(2)]) == "series 3 sample 2 is there twice"


def test_a_series_that_nobody_asked_for(history):
    answer = {3: [point(0), point(1), point(2)], 4: [point(0, series=4)]}
    assert history.complaints(answer, WHOLE, [3]) == ["series 4 was not asked for"]


def test_a_count_lies_between_what_was_acknowledged_and_what_was_sent(history):
    verdicts = [history.count_complaint(count, WHOLE, [3]) is None for count in range(8)]
    assert verdicts == [False, False, False, True, True, True, False, False]


def test_too_few_holders(history):
    holders = {(3, 0): 2, (3, 1): 1}
    found = history.lost(holders, quorum=2)
    assert [text.split(" was ")[0] for text in found] == ["series 3 sample 1", "series 3 sample 2"]


def test_bodies_are_what_the_core_reads():
    limits = PushLimits(
        label_names_max=30, info_label_names_max=80, label_name_bytes_max=1024, label_value_bytes_max=2048,
        metadata_bytes_max=1024, future_grace_ms=1 << 50, past_grace_ms=0, utf8_names=False,
    )  # fmt: skip
    push = decode_remote_write(
        PLAN.body([(3, [0, 1]), (4, [0])]), tenant="t", key=bytes(32), known=KnownSeries(entries_max=0),
        limits=limits, now_ms=1_000_000, bytes_max=1 << 20,
    )  # fmt: skip
    assert (push.batch.sample_count, list(push.rejections)) == (3, [])


def test_a_value_says_whose_it_is():
    assert decode_value(PLAN.value(12, 3456)) == (12, 3456)


@pytest.mark.parametrize("series", [0, 4, 11])
def test_sequences_within_a_range_are_those_whose_times_are(series):
    plan = SamplePlan("t", 1_000_000, 100, initial=2, growth=3)
    times = [plan.time_ms(series, k) for k in range(20)]
    edges = sorted({time_ms + off for time_ms in times for off in (-1, 0, 1)} | {0})
    for start_ms in edges:
        for end_ms in edges:
            found = [k for k, time_ms in enumerate(times) if start_ms < time_ms <= end_ms]
            assert [k for k in plan.within(series, start_ms, end_ms) if k < 20] == found
