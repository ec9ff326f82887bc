"""Typed stub of the native core. One section per kernel family, in the order of lib.rs.

All times are int milliseconds. Kernels release the GIL and raise only the errors named here.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__version__: str

# -- error ----------------------------------------------------------------------------------------------------------

class DecodeError(ValueError):
    """Bytes from outside are malformed."""

class BodyTooLarge(DecodeError):
    """A body is over its bound; the text is for the user."""

class DataDamaged(ValueError): ...

# -- batch ----------------------------------------------------------------------------------------------------------

class WriteBatch:
    """One push as columns; see batch.rs. Immutable."""

    @property
    def series_count(self) -> int: ...
    @property
    def sample_count(self) -> int: ...
    @property
    def histogram_count(self) -> int: ...
    @property
    def exemplar_count(self) -> int: ...
    @property
    def extended(self) -> bool:
        """Whether there are histograms, exemplars or start timestamps."""
    @property
    def metadata_count(self) -> int: ...
    @property
    def byte_size(self) -> int:
        """Bytes of labels, samples, histograms, exemplars and metadata."""
    @property
    def reference_rows(self) -> int:
        """Rows without labels: series that the receiver is believed to know by their hash."""
    def has_labels(self) -> NDArray[np.bool_]:
        """Of each row."""
    def tokens(self) -> NDArray[np.uint32]:
        """Ring token of each series; 0 for a reference."""
    def row_counts(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """How many samples, and how many histograms, each row has."""
    def take(self, rows: NDArray[np.uint32], *, metadata: bool = False) -> WriteBatch:
        """Rows by number, in this order; their label bytes are shared. Metadata goes along on request. IndexError."""
    @staticmethod
    def concat(batches: Sequence[WriteBatch]) -> WriteBatch:
        """All rows and metadata, one batch after another. ValueError: hashed with different keys, or too much for one
        batch."""
    def encode(
        self,
        rows: NDArray[np.uint32] | None = None,
        *,
        labelled: NDArray[np.uint32] | None = None,
        metadata: bool = False,
    ) -> bytes:
        """Rows (None: all), in this order, for another process; see batch_codec.rs.

        labelled: numbers of the rows whose labels go along (None: all); the others go as references. IndexError.
        """
    # For looking at a batch row by row; nothing hot calls these.
    def hash_bytes(self, row: int) -> bytes:
        """The series' keyed hash, little-endian."""
    def row_labels(self, row: int) -> list[tuple[str, str]]: ...
    def row_samples(self, row: int) -> list[tuple[int, float]]:
        """(ms, value) in the order sent."""
    def row_start_ts(self, row: int) -> list[int]:
        """Start time of each sample, 0 where unknown."""
    def row_histograms(self, row: int) -> tuple[list[tuple[int, int, bool]], HistogramColumn]:
        """(ms, start time or 0, whether it came as floats) of each histogram, and the histograms."""
    def row_exemplars(self, row: int) -> list[tuple[int, float, list[tuple[str, str]]]]:
        """(ms, value, labels) in the order sent."""
    def metadata_rows(self) -> list[tuple[int, str, str, str]]:
        """Type number, metric, help, unit."""

# -- wire -----------------------------------------------------------------------------------------------------------

class PushLimits:
    """A tenant's limits on what a push may hold. past_grace_ms 0: samples may be of any age. histograms, exemplars:
    whether they are taken. histogram_buckets_max 0: any number; more are merged by a coarser resolution, or refused
    without reduce_histograms. type_and_unit_labels: made of the metadata of 2.0."""

    def __init__(
        self,
        *,
        label_names_max: int,
        info_label_names_max: int,
        label_name_bytes_max: int,
        label_value_bytes_max: int,
        metadata_bytes_max: int,
        future_grace_ms: int,
        past_grace_ms: int,
        utf8_names: bool,
        histograms: bool = True,
        histogram_buckets_max: int = 0,
        reduce_histograms: bool = True,
        exemplars: bool = False,
        type_and_unit_labels: bool = False,
    ) -> None: ...

class RecentMetadata:
    """Metadata of one tenant that was handed on within the last minute; bounded. Safe to share by threads."""

    def __init__(self, *, entries_max: int) -> None: ...
    def __len__(self) -> int: ...

class KnownSeries:
    """Label sets of one tenant that passed validation, with their ring tokens; bounded. Safe to share by threads.

    Only a cache: what `decode_remote_write` returns does not depend on it. A change of the tenant's label limits
    empties it. entries_max 0 keeps nothing.
    """

    def __init__(self, *, entries_max: int) -> None: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

class DecodedPush:
    """What a push body holds: the valid part as a batch, the rest by reason. Immutable."""

    @property
    def batch(self) -> WriteBatch: ...
    @property
    def rejections(self) -> list[tuple[str, int, str]]:
        """(error id, how many samples or metadata entries, text about the first), in the order in which the first of
        each stands in the body."""
    @property
    def samples_received(self) -> int:
        """As sent, valid or not; a native histogram counts as one."""
    @property
    def metadata_received(self) -> int: ...
    @property
    def exemplars_received(self) -> int:
        """As sent, valid or not."""
    @property
    def exemplars_dropped(self) -> int:
        """Those not read because the tenant's are not taken."""
    @property
    def exemplar_refusals(self) -> list[tuple[str, int]]:
        """Those left out, by reason (an error id); what is wrong with an exemplar is no fault of the push."""
    @property
    def histograms_dropped(self) -> int:
        """Native histograms not read because the tenant's are not taken; not among the samples received."""
    @property
    def newest_ms(self) -> int | None:
        """Newest timestamp of the valid samples and histograms."""

class SentSeries:
    """Series of one tenant that one receiver (in one life of it) is believed to hold. Bounded; threads may share it.

    Being wrong costs label bytes or a round trip, no more. Make a new one when the key or the receiver's life changes.
    """

    def __init__(self, *, entries_max: int) -> None: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def missing(self, batch: WriteBatch, rows: NDArray[np.uint32] | None = None) -> NDArray[np.uint32]:
        """Those of the rows (None: all) whose series is not held, in their order; see `encode`. IndexError."""
    def add(self, batch: WriteBatch, rows: NDArray[np.uint32] | None = None) -> None:
        """What was sent with labels and accepted. At the bound another entry gives way."""
    def remove(self, batch: WriteBatch, rows: NDArray[np.uint32] | None = None) -> None: ...
    def clear(self) -> None: ...
    def age(self) -> None:
        """Drop what was neither added nor asked for since the last call."""

def decode_batch(data: bytes | bytearray | memoryview, *, tenant: str, key: bytes) -> WriteBatch:
    """Inverse of `WriteBatch.encode`; total. Raises DecodeError.

    Rows with labels are hashed with `key` (32 bytes) and get their token here. References that the sender hashed with
    another key refer to no series: `Head.append` leaves them unresolved.
    """

def decode_remote_write(
    body: bytes,
    *,
    tenant: str,
    key: bytes,
    known: KnownSeries,
    limits: PushLimits,
    now_ms: int,
    bytes_max: int,
    version: int = 1,
    recent_metadata: RecentMetadata | None = None,
) -> DecodedPush:
    """Decode and validate a body (snappy block) of remote write 1.0 or 2.0.

    key: 32 secret bytes, the same in the whole cluster. bytes_max bounds the unpacked body, checked before allocation;
    the batch takes at most four times that, histograms ten times their bytes. Invalid rows, samples and histograms are
    left out of the batch and listed; labels may come in any order, labels of empty value are dropped. Metadata of 2.0
    comes with every series: what `recent_metadata` has is left out. Raises DecodeError, BodyTooLarge.
    """

# -- codec ----------------------------------------------------------------------------------------------------------

# -- head -----------------------------------------------------------------------------------------------------------

class WalFailed(Exception):
    """The log could not be read, written or synced, or the head refuses work; args are (text, disk_full: bool)."""

class RefusedSamples:
    """Samples or exemplars of a batch refused for one reason; labels and time are those of the first."""

    @property
    def error_id(self) -> str:
        """Mimir's id without prefix: sample-duplicate-timestamp, sample-out-of-order, sample-timestamp-too-old,
        max-series-per-user or max-series-per-metric; of exemplars exemplar-series-missing, or exemplar-out-of-order,
        for which Mimir has no id."""
    @property
    def count(self) -> int: ...
    @property
    def labels(self) -> str:
        """As error texts name a series: `up{job="a"}`."""
    @property
    def time_ms(self) -> int: ...
    @property
    def rows(self) -> NDArray[np.uint32]:
        """Rows of the batch that had a sample refused for this reason, ascending."""

class AppendResult:
    @property
    def samples_stored(self) -> int:
        """Accepted samples, floats and histograms, equal duplicates included."""
    @property
    def histograms_stored(self) -> int:
        """The histograms among them."""
    @property
    def refused(self) -> list[RefusedSamples]:
        """Samples."""
    @property
    def exemplars_stored(self) -> int:
        """Accepted exemplars, equal duplicates included; 0 where exemplars are off."""
    @property
    def exemplars_refused(self) -> list[RefusedSamples]: ...
    @property
    def unresolved(self) -> NDArray[np.uint32]:
        """Rows that refer to series which the head does not have, ascending; nothing of them is stored or refused."""

class ReplayReport:
    @property
    def segments(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def samples_unknown_series(self) -> int: ...
    @property
    def exemplars(self) -> int: ...
    @property
    def records_unknown(self) -> int: ...
    @property
    def torn(self) -> int:
        """Records that were never finished."""
    @property
    def torn_bytes(self) -> int: ...
    @property
    def damage(self) -> list[str]:
        """One line per damaged segment: what and where, and what became of it."""

class HeadStats:
    @property
    def series(self) -> int: ...
    @property
    def series_created(self) -> int:
        """Since it was opened, replay included."""
    @property
    def series_removed(self) -> int:
        """Those whose samples are all in blocks."""
    @property
    def owned_series(self) -> int:
        """By `set_owned_ranges`; all when there are none."""
    @property
    def chunks(self) -> int: ...
    @property
    def samples_appended(self) -> int: ...
    @property
    def ooo_samples_appended(self) -> int: ...
    @property
    def histogram_samples_appended(self) -> int:
        """Histograms among all samples appended."""
    @property
    def exemplars(self) -> int:
        """Exemplars held."""
    @property
    def exemplars_appended(self) -> int: ...
    @property
    def exemplars_out_of_order(self) -> int:
        """Refused: earlier than another one of the series."""
    @property
    def exemplar_series(self) -> int:
        """Series that have any."""
    @property
    def exemplar_last_time_ms(self) -> int | None:
        """Time of the exemplar that was added last."""
    @property
    def min_time_ms(self) -> int | None: ...
    @property
    def max_time_ms(self) -> int | None: ...
    @property
    def memory_bytes(self) -> int:
        """Estimate."""
    @property
    def wal_bytes_written(self) -> int: ...
    @property
    def wal_segment(self) -> int: ...
    @property
    def wal_syncs_failed(self) -> int: ...
    @property
    def wal_unsynced_segments(self) -> bool:
        """Whether `sync` has full segments to sync."""

class HeadSeriesSet:
    """A storage.contract.SeriesSet: a snapshot of the head. Decode raises DataDamaged."""

    @property
    def labels(self) -> LabelFrame: ...
    def decode(
        self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None
    ) -> SampleColumns: ...
    def sample_count_max(self, start_row: int, end_row: int) -> int: ...
    def encode(self, start_row: int, end_row: int, *, histograms: bool = True) -> bytes:
        """Rows as a part for `decode_series_set`: their labels, their chunks as they are; see part.rs. IndexError.

        histograms=False leaves histograms out, for a reader of RPC protocol 2 and before: it knows none.
        """
    def part_end(self, start_row: int, bytes_max: int) -> int:
        """Where a part from start_row with about bytes_max bytes ends; at least one row on, if there is one."""

class Head:
    """One tenant's head over `directory`/wal and `directory`/wbl; see head/mod.rs.

    `append`, `replay_step` and `close` are for one caller at a time (they wait for each other); the rest may be called
    from any thread beside them. Matchers are `Matcher.as_tuple()`; times are inclusive. A bad regex is a ValueError.
    """

    def __init__(
        self,
        directory: str,
        *,
        tenant: str,
        hash_key: bytes,
        segment_bytes: int = ...,
        fsync: str = "segment",
        compress: bool = False,
        ooo_chunk_samples: int = 32,
        exemplars_max: int = 0,
        range_ms: int = 7_200_000,
        floor: int | None = None,
    ) -> None:
        """hash_key: 32 bytes, the one that batches are hashed with. fsync: segment, interval or always. exemplars_max:
        how many replay keeps; 0: none. range_ms: length of the ranges that blocks are cut at. floor: blocks have all
        in-order samples before this time; replay passes over them, and none are accepted any more.

        Nothing is written before the first append. Raises WalFailed when the directory cannot be read.
        """
    def replay_step(self, bytes_max: int) -> tuple[int, int]:
        """Replay about bytes_max more; bytes done and in total. When they are equal the head is open for appends.

        Raises WalFailed (I/O) or DataDamaged (needs an operator).
        """
    def replay_report(self) -> ReplayReport: ...
    def append(
        self,
        batches: Sequence[WriteBatch],
        *,
        series_max: int = 0,
        series_per_metric_max: int = 0,
        ooo_window_ms: int = 0,
        exemplars_max: int = 0,
    ) -> list[AppendResult]:
        """Store a group with one write per log; one result per batch. 0 means: no limit, no out-of-order samples, no
        exemplars. When exemplars_max changes, the newest exemplars stay.

        Of a row, floats are appended before histograms, then exemplars. A histogram equals another of the same time
        whatever the layout of its buckets, and what it knows about resets, are.

        series_max and series_per_metric_max count owned series. A new series that is not owned is neither counted nor
        refused: another instance counts it, here it came because two views of the ring differ for a moment. Rows that
        were hashed with another key than the head's are hashed again; references among them are unresolved.

        On WalFailed and DecodeError nothing of the group is stored. After a failed write that could not be cut back,
        every append fails until a cut succeeds.
        """
    def rekey(self, key: bytes) -> None:
        """Hash all series with another key (32 bytes) from now on; about 0.1 µs a series. Also while
        replaying."""
    def owned_series(self, ranges: NDArray[np.int64] | NDArray[np.uint32]) -> int:
        """Series whose ring token lies in one of the half-open ranges, shape (k, 2), in any order.

        An end of 0 means 2^32; a range that ends before it starts wraps. ValueError.
        """
    def set_owned_ranges(self, ranges: NDArray[np.int64] | NDArray[np.uint32] | None) -> int:
        """Count the owned series by these ranges from now on (None: all are owned); how many that are now."""
    def owned(self) -> int:
        """Owned series now. Never waits for the disk."""
    def sync(self, *, current: bool) -> None:
        """Sync full segments, and the current ones too. Appends go on meanwhile."""
    def close(self) -> None:
        """Sync and refuse appends from now on."""
    def select(self, matchers: Sequence[tuple[int, str, str]], mint: int, maxt: int) -> HeadSeriesSet: ...
    def series(self, matcher_sets: Sequence[Sequence[tuple[int, str, str]]], mint: int, maxt: int) -> LabelFrame:
        """Union of the label sets that match any of the sets, sorted."""
    def exemplars(self, matcher_sets: Sequence[Sequence[tuple[int, str, str]]], mint: int, maxt: int) -> ExemplarSet:
        """Exemplars with mint <= t <= maxt of the series that match any of the sets."""
    def label_names(self, matchers: Sequence[tuple[int, str, str]], mint: int, maxt: int) -> list[str]: ...
    def label_values(self, name: str, matchers: Sequence[tuple[int, str, str]], mint: int, maxt: int) -> list[str]: ...
    def stats(self) -> HeadStats:
        """Waits for an append that is under way."""
    def extent(self) -> tuple[int, int | None, int | None]:
        """Series, oldest and newest sample (ms; None when empty). Never waits for the disk."""
    def upkeep(self) -> HeadUpkeep: ...

class CutStats:
    """What a block that was cut holds. Times are those of samples, inclusive."""

    @property
    def series(self) -> int: ...
    @property
    def chunks(self) -> int: ...
    @property
    def floats(self) -> int: ...
    @property
    def histograms(self) -> int: ...
    @property
    def min_time_ms(self) -> int: ...
    @property
    def max_time_ms(self) -> int: ...

class HeadUpkeep:
    """What happens to a head when blocks take a part of it; the order is in head/upkeep.rs. Methods that say so are
    short turns for the tenant's lane; the others run beside appends, one at a time. WalFailed, DataDamaged."""

    def freeze(self, before: int) -> None:
        """A turn. Accept nothing in order before this time from now on: a block is being cut there."""
    def thaw(self) -> None:
        """A turn. The block did not come to be."""
    def write_block(
        self, directory: str, mint: int, maxt: int, *, out_of_order: bool = False, segment_bytes: int = ...
    ) -> CutStats | None:
        """Write the samples with mint <= t < maxt, in order or those marked by `freeze_ooo`, as a block without
        meta.json into a directory, which exists and is empty. None: there are none; files may lie there."""
    def forget(self, mint: int, start: int) -> int | None:
        """A turn. Blocks have everything in order before mint: drop it from some series, from number `start` on. Where
        the next turn starts; None: that was the last."""
    def prepare_rebuild(self) -> None:
        """Index the series that have samples."""
    def rebuild(self) -> int:
        """A turn, the longest: about 0.2 µs a series. Drop the series without samples, as prepared; how many."""
    def ended_series(self, before: int) -> int:
        """Series whose newest sample in order is before this time, or that have none."""
    def seal_wal(self) -> int:
        """A turn. Begin another segment of the WAL; its number."""
    def checkpoint(self, active: int) -> int | None:
        """Fold WAL segments before this one into a checkpoint; how many, None: too few."""
    def seal_wbl(self) -> int:
        """A turn. Begin another segment of the out-of-order log; its number."""
    def freeze_ooo(self, start: int) -> int | None:
        """A turn. Mark the out-of-order samples that some series have now for blocks; as `forget`."""
    def forget_ooo(self, start: int) -> int | None:
        """A turn. Blocks have the marked out-of-order samples: drop them from some series; as `forget`."""
    def truncate_wbl(self, before: int) -> int:
        """Remove the segments of the out-of-order log before this one; how many."""
    def cut_extent(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Oldest sample in order, oldest out of order, newest of all, and before which time nothing is accepted in
        order."""

# -- histogram ------------------------------------------------------------------------------------------------------

HistogramParts = tuple[
    int,
    int,
    float,
    float,
    float,
    float,
    tuple[list[tuple[int, int]], list[float]],
    tuple[list[tuple[int, int]], list[float]],
    list[float],
]
"""Reset hint (0 unknown, 1 reset, 2 not reset, 3 gauge), schema, zero threshold, zero count, count, sum; positive and
negative side as spans (offset, length) with absolute counts; upper bounds of custom buckets."""

class HistogramColumn:
    """Histograms that cells or samples refer to by number. Immutable; cheap to concatenate."""

    @staticmethod
    def from_parts(parts: Sequence[HistogramParts]) -> HistogramColumn:
        """Raises ValueError when spans and counts do not agree."""
    @staticmethod
    def concat(columns: Sequence[HistogramColumn]) -> HistogramColumn: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """An estimate; looks at each."""
    def take(self, numbers: NDArray[np.int64]) -> HistogramColumn:
        """IndexError."""
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> HistogramColumn:
        """Raises DecodeError."""
    # For looking at histograms one by one; nothing hot calls these. All raise IndexError.
    def progression(self, number: int, increment: HistogramColumn, times: int, sign: float) -> HistogramColumn:
        """Histogram `number` and `times` more, each by the first of `increment` further (sign -1: less). ValueError
        where one has custom buckets, the other not."""
    def is_reset(self, number: int, previous: HistogramColumn, previous_number: int) -> bool:
        """Whether the counter `number` began anew since `previous_number`."""
    def compacted(self) -> HistogramColumn:
        """All of them, without empty buckets."""
    def part(self, number: int) -> HistogramParts:
        """All that is in one."""

# Kernels over cells of histograms: a column, and `index` (rows, steps), -1 where a cell has none. Floats come with a
# mask, histograms with the numbers of a new column. ValueError when shapes do not agree.

def histogram_moment(
    moment: str, column: HistogramColumn, index: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """moment: "count", "sum", "avg", "stddev", "stdvar"."""

def native_quantile(
    q: NDArray[np.float64], column: HistogramColumn, index: NDArray[np.int32]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.bool_]], NDArray[np.bool_], NDArray[np.bool_]]:
    """q: one per step. Then, per row: whether a quantile lies among NaN observations, and whether they skew one."""

def native_fraction(
    lower: NDArray[np.float64], upper: NDArray[np.float64], column: HistogramColumn, index: NDArray[np.int32]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.bool_]], NDArray[np.bool_]]:
    """lower, upper: one per step. Then, per row: whether NaN observations were left out."""

def histogram_change(
    op: str, column: HistogramColumn, index: NDArray[np.int32], numbers: NDArray[np.float64]
) -> tuple[HistogramColumn, NDArray[np.int32]]:
    """op: "*", "/", "</", ">/" with numbers (rows, steps), the result compact; "-", as "*" but left as it is."""

def histogram_add(
    left: HistogramColumn,
    left_index: NDArray[np.int32],
    right: HistogramColumn,
    right_index: NDArray[np.int32],
    subtract: bool,
) -> tuple[HistogramColumn, NDArray[np.int32], NDArray[np.uint8]]:
    """Of cells that both sides have. Then, per cell: 1 incompatible, and there is no result; 2 reset hints collide;
    4 custom bounds were reconciled."""

def histogram_equal(
    left: HistogramColumn,
    left_index: NDArray[np.int32],
    right: HistogramColumn,
    right_index: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Cells where both sides have the same histogram, whatever the reset hints."""

def aggregate_histograms(
    op: str,
    groups: NDArray[np.int64],
    group_count: int,
    column: HistogramColumn,
    index: NDArray[np.int32],
    floats: NDArray[np.bool_],
) -> tuple[HistogramColumn, NDArray[np.int32], tuple[bool, bool, bool], NDArray[np.bool_]]:
    """op: "sum", "avg", in the order of rows; no result where a group has floats too, or histograms that do not go
    together. Then whether there was a mix with floats, a collision of reset hints, reconciled bounds; and, per row,
    whether its histogram did not go with those before it."""

class HistogramAccumulator:
    """`aggregate_histograms` for rows that come batch after batch; the result is the same to the bit. One caller at a
    time."""

    def __init__(self, op: str, steps: int) -> None: ...
    @property
    def nbytes(self) -> int:
        """An estimate; looks at each cell."""
    def add(
        self,
        groups: NDArray[np.int64],
        group_count: int,
        floats: NDArray[np.bool_],
        histograms: tuple[HistogramColumn, NDArray[np.int32]] | None,
    ) -> NDArray[np.bool_]:
        """The next rows. group_count may rise from call to call. Per row, whether its histogram did not go with those
        before it."""
    def finish(self) -> tuple[HistogramColumn, NDArray[np.int32], tuple[bool, bool, bool], NDArray[np.bool_]]:
        """As `aggregate_histograms`, and where groups had a histogram. To be called once."""

def histogram_texts(column: HistogramColumn) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct texts, and for each histogram the number of its own: `{count:4, sum:5, (0.5,1]:2}`."""

# -- labels ---------------------------------------------------------------------------------------------------------

class LabelFrame:
    """n label sets as dictionary-coded columns. Immutable; cheap to share.

    A row without a label has code -1 in that column. Columns are sorted by label name. Row numbers out of range raise
    IndexError.
    """

    def __len__(self) -> int: ...
    @property
    def names(self) -> list[str]:
        """Label names that at least one row has, sorted."""
    @property
    def nbytes(self) -> int:
        """Bytes of codes and dictionaries, shared ones counted in full."""
    @staticmethod
    def from_rows(rows: Sequence[dict[str, str]]) -> LabelFrame: ...
    @staticmethod
    def empty_rows(n: int) -> LabelFrame:
        """n rows without any label."""
    @staticmethod
    def concat(frames: Sequence[LabelFrame]) -> LabelFrame: ...
    @staticmethod
    def union_sorted(frames: Sequence[LabelFrame]) -> LabelFrame:
        """The distinct label sets of all frames, sorted. Cheapest for sorted frames that came from another process."""
    def to_bytes(self) -> bytes:
        """For another process; see frame_codec.rs."""
    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> LabelFrame:
        """Inverse of to_bytes; total. Raises DecodeError."""
    def row(self, i: int) -> dict[str, str]: ...
    def rows(self) -> list[dict[str, str]]: ...
    def format_row(self, i: int) -> str:
        """The series as Prometheus prints it: `up{a="b"}`, `up`, `{a="b"}`, `{}`."""
    def format_labels(self, i: int) -> str:
        """The label set as in Prometheus' error messages: `{__name__="up", a="b"}`."""
    def take(self, rows: NDArray[np.int64]) -> LabelFrame: ...
    def keep(self, names: Sequence[str]) -> LabelFrame: ...
    def drop(self, names: Sequence[str]) -> LabelFrame: ...
    def codes(self, name: str) -> NDArray[np.int32]:
        """Code of each row in `dictionary(name)`, -1 where absent. All -1 for an unknown name."""
    def dictionary(self, name: str) -> list[str]:
        """Distinct non-empty strings by code; may hold more than the rows use. Empty for an unknown name."""
    def with_column(self, name: str, dictionary: Sequence[str], codes: NDArray[np.int32]) -> LabelFrame:
        """Replace or add a column. A code whose dictionary entry is "" means absent, as -1 does. Entries may repeat."""
    def group(self, names: Sequence[str], without: bool) -> tuple[NDArray[np.int64], LabelFrame]:
        """Group id per row, and one row of labels per group, ids in order of first appearance.

        without=False: group by exactly `names`; without=True: by all names but these (the caller adds __name__ itself
        when it should go).
        """
    def match_ids(
        self, other: LabelFrame, names: Sequence[str], ignoring: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Signature ids of the rows of self and other over one id space of the returned size: equal ids mean equal
        values of `names` (or of all names but these). Absent equals absent only."""
    def row_ids(self) -> tuple[NDArray[np.int64], int]:
        """Id per row, equal ids for equal label sets, and the number of distinct ones."""
    def hashes(self) -> NDArray[np.uint64]:
        """XXH64 of each row's label set, as Prometheus hashes it (limit_ratio)."""
    def sort_order(self) -> NDArray[np.int64]:
        """Stable order of the rows by label set (name, then value, bytewise; a prefix sorts first)."""

class RegexError(ValueError):
    """A regular expression that Go would not accept, or over our bounds; the text is Go's."""

class CompiledMatcher:
    """One label matcher, ready to test values. Immutable; may be shared between threads.

    type: model.labels.MatchType's number. Regexes are Go syntax over the whole value, the dot matches newline; linear
    in the length of the value. Raises RegexError (`error parsing regexp: missing closing ): `(a``).
    """

    def __init__(self, type: int, name: str, value: str) -> None: ...
    @property
    def type(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def literals(self) -> list[str] | None:
        """The values that pass, sorted, if these are a finite set; "" (the label is absent) may be among them."""
    @property
    def prefix(self) -> str:
        """A literal that every value that passes begins with; "" if none is known."""
    def matches(self, value: str) -> bool:
        """Whether a series with this value passes; "" for one without the label."""

def regex_replace(dictionary: Sequence[str], regex: str, replacement: str) -> list[str | None]:
    """label_replace over a dictionary: per value what the replacement expands to, None where the regex does not match
    the whole of it.

    `$1`, `${1}`, `$name`, `${name}` and `$$` as in Go. Raises RegexError, quoting the regex within `^(?s:` and `)$`.
    """

# -- math -----------------------------------------------------------------------------------------------------------

def elementary(func: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """acos, acosh, asin, asinh, atan, atanh, cos, cosh, exp, ln, log10, log2, sin, sinh, tan or tanh of a matrix, to
    the last bit as Prometheus has them. ValueError for another name."""

def elementary2(func: str, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """pow (left to the power of right) or atan2 (left over right) of matrices of one shape. ValueError."""

# -- series_set -----------------------------------------------------------------------------------------------------

class Looks:
    """Which histograms of a series a query looks at; see codec/histogram/looks.rs."""

    def __init__(self, wanted: str, start_ms: int, step_ms: int, steps: int, range_ms: int, bare: bool) -> None:
        """Of windows (end - range_ms, end] with their ends at start_ms and, step_ms apart, `steps` - 1 more.

        all: each. newest: the newest at each end. edges: the first and the last of each window. times: none, only times
        and resets count. bare: of those, count and sum alone. ValueError.
        """

class EncodedSeriesSet:
    """A storage.contract.SeriesSet of another process, or of a block. Immutable. Decode raises DataDamaged."""

    @property
    def labels(self) -> LabelFrame: ...
    @property
    def nbytes(self) -> int:
        """Bytes held: parts, labels, places of chunks."""
    def decode(
        self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None
    ) -> SampleColumns: ...
    def sample_count_max(self, start_row: int, end_row: int) -> int: ...
    def encode(self, start_row: int, end_row: int, *, histograms: bool = True) -> bytes:
        """As `HeadSeriesSet.encode`."""
    def part_end(self, start_row: int, bytes_max: int) -> int:
        """As `HeadSeriesSet.part_end`."""

class MergedSeriesSet:
    """A storage.contract.SeriesSet of several replicas. Immutable. Decode raises DataDamaged."""

    @property
    def labels(self) -> LabelFrame: ...
    def decode(
        self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None
    ) -> SampleColumns: ...
    def sample_count_max(self, start_row: int, end_row: int) -> int:
        """Counts what replicas have in common once, but for a few samples a chunk."""
    def encode(self, start_row: int, end_row: int, *, histograms: bool = True) -> bytes:
        """As `HeadSeriesSet.encode`. The reader sees one source: at equal times the first set that was merged wins."""
    def part_end(self, start_row: int, bytes_max: int) -> int:
        """As `HeadSeriesSet.part_end`."""

def series_set_part_rows(part: bytes | bytearray | memoryview) -> int:
    """How many series a part says it has, from its first bytes. Raises DecodeError."""

def decode_series_set(parts: Sequence[bytes | bytearray | memoryview]) -> EncodedSeriesSet:
    """A set from its parts in order; total. Chunks are not looked into; `bytes` are kept, other buffers copied.

    Raises DecodeError when a part is malformed or the rows do not ascend by labels.
    """

def merge_series_sets(sets: Sequence[HeadSeriesSet | EncodedSeriesSet | MergedSeriesSet]) -> MergedSeriesSet:
    """The series of all replicas, the samples of all, each time once; see merged.rs.

    What replicas have in common is decoded once. Of different values at one time the one whose bits are the larger
    unsigned integer stands, of histograms the one with the larger hash, and a histogram before a float; the order of
    the sets does not matter.
    """

class ExemplarSet:
    """Exemplars of series, a row a series in label order, each row ascending in time. Immutable."""

    @property
    def labels(self) -> LabelFrame:
        """Of the series; no two rows equal."""
    @property
    def offsets(self) -> NDArray[np.int64]:
        """Row i owns the exemplars offsets[i]:offsets[i+1]."""
    @property
    def ts(self) -> NDArray[np.int64]:
        """Milliseconds, one per exemplar, as are `values` and the rows of `exemplar_labels`."""
    @property
    def values(self) -> NDArray[np.float64]: ...
    @property
    def exemplar_labels(self) -> LabelFrame:
        """The exemplars' own labels, a row each; rows may be equal, or empty. Made at each call."""
    def __len__(self) -> int:
        """Number of exemplars."""

# -- windows --------------------------------------------------------------------------------------------------------

class SampleColumns:
    """Decoded samples of n series: row i owns offsets[i]:offsets[i+1]. Immutable; stale markers may be present.

    Within a row times rise strictly. A row's histogram samples stand apart, with offsets and times of their own; it has
    no float and histogram of one time. Start timestamps are None where no sample has one, and 0 for one that has none.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        ts: NDArray[np.int64],
        values: NDArray[np.float64],
        *,
        start_ts: NDArray[np.int64] | None = None,
    ) -> None:
        """Copies its arguments. Raises ValueError when they break an invariant."""
    def with_histograms(
        self,
        offsets: NDArray[np.int64],
        ts: NDArray[np.int64],
        column: HistogramColumn,
        *,
        start_ts: NDArray[np.int64] | None = None,
    ) -> SampleColumns:
        """The same floats and these histograms, row i owning offsets[i]:offsets[i+1]. Raises ValueError as above."""
    @staticmethod
    def from_matrix(
        values: NDArray[np.float64],
        mask: NDArray[np.bool_],
        start_ms: int,
        step_ms: int,
        index: NDArray[np.int32] | None = None,
        column: HistogramColumn | None = None,
    ) -> SampleColumns:
        """One sample for each cell whose mask is true or index is not negative, at start_ms + column * step_ms (a
        subquery's result); what a histogram's hint says of the sample before is forgotten."""
    @staticmethod
    def concat(parts: Sequence[SampleColumns]) -> SampleColumns:
        """The rows of all parts, in order."""
    def __len__(self) -> int:
        """Number of rows."""
    @property
    def sample_count(self) -> int:
        """Floats."""
    @property
    def histogram_count(self) -> int: ...
    @property
    def histogram_bytes(self) -> int:
        """An estimate; looks at each."""
    @property
    def offsets(self) -> NDArray[np.int64]:
        """Length n + 1, ascending, from 0. Like the other arrays a read-only copy."""
    @property
    def ts(self) -> NDArray[np.int64]: ...
    @property
    def values(self) -> NDArray[np.float64]: ...
    @property
    def start_ts(self) -> NDArray[np.int64] | None: ...
    @property
    def histogram_offsets(self) -> NDArray[np.int64]: ...
    @property
    def histogram_ts(self) -> NDArray[np.int64]: ...
    @property
    def histogram_start_ts(self) -> NDArray[np.int64] | None: ...
    @property
    def histogram_column(self) -> HistogramColumn: ...
    def take(self, rows: NDArray[np.int64]) -> SampleColumns:
        """Rows by number, in this order. IndexError."""
    def drop_stale(self) -> SampleColumns: ...
    def shift(self, delta_ms: int) -> SampleColumns:
        """The same samples, delta_ms later."""

MixedMatrix = tuple[
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.int32],
    HistogramColumn,
    list[int],
]
"""Values and mask of floats; numbers of histograms, -1 for none, and the column that they are of; and per row bits that
say what the kernel met (see windows/flags.rs and exec/range_notes.py)."""

def histogram_statistics(cols: SampleColumns, start_ms: int, step_ms: int, length_ms: int) -> SampleColumns:
    """The same samples, of histograms only count, sum and schema; whether one follows a reset is its hint, unless it is
    the first of a window (end - length_ms, end] with a gap before it. Windows end at start_ms + i * step_ms."""

# Kernels below take evaluation times as start_ms, start_ms + step_ms, ... (`steps` of them; step_ms = 0 repeats the
# first, for `@`) and return values (float64) and mask (bool) of shape (rows, steps). A value whose mask is false is
# 0 and means nothing. Offsets are the caller's: pass start_ms - offset.

def select_instant(
    cols: SampleColumns, start_ms: int, step_ms: int, steps: int, lookback_ms: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The newest sample with t - lookback < ts <= t; absent when that is a stale marker."""

def select_instant_times(
    cols: SampleColumns, start_ms: int, step_ms: int, steps: int, lookback_ms: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """As `select_instant`, but the time of that sample in seconds."""

def select_instant_mixed(
    cols: SampleColumns, start_ms: int, step_ms: int, steps: int, lookback_ms: int, taken: str
) -> MixedMatrix:
    """As `select_instant`, of rows that have histograms too: the newest sample of either kind.

    taken: "sample"; "time", its time in seconds; "start time", its start timestamp in seconds, 0 where it has none.
    """

def window(
    func: str,
    cols: SampleColumns,
    start_ms: int,
    step_ms: int,
    steps: int,
    range_ms: int,
    params: Sequence[NDArray[np.float64]] = (),
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """PromQL's `func` over the samples with t - range < ts <= t, stale markers left out.

    func: rate, increase, delta, irate, idelta, changes, resets, deriv, predict_linear, double_exponential_smoothing,
    or one of (count, present, first, last, sum, avg, stddev, stdvar, min, max, mad, quantile, ts_of_first, ts_of_last,
    ts_of_min, ts_of_max)_over_time.

    params hold one value per step each: quantile_over_time (q,); predict_linear (seconds ahead, evaluation time in ms,
    offset and @ not applied); double_exponential_smoothing (smoothing factor, trend factor), both already checked to
    lie in (0, 1). Raises ValueError for another name, for wrong params and for a range that is not positive.
    """

def window_mixed(
    func: str,
    cols: SampleColumns,
    start_ms: int,
    step_ms: int,
    steps: int,
    range_ms: int,
    params: Sequence[NDArray[np.float64]],
    use_starts: bool,
) -> MixedMatrix:
    """As `window`, of rows that have histograms too. use_starts: the functions of counters heed start timestamps."""

def window_extended_mixed(
    func: str,
    cols: SampleColumns,
    start_ms: int,
    step_ms: int,
    steps: int,
    range_ms: int,
    lookback_ms: int,
    smoothed: bool,
) -> MixedMatrix:
    """As `window_extended`, of rows that have histograms too."""

def select_smoothed_mixed(
    cols: SampleColumns, start_ms: int, step_ms: int, steps: int, lookback_ms: int
) -> MixedMatrix:
    """As `select_smoothed`, of rows that have histograms too."""

def window_extended(
    func: str,
    cols: SampleColumns,
    start_ms: int,
    step_ms: int,
    steps: int,
    range_ms: int,
    lookback_ms: int,
    smoothed: bool,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """rate, increase, delta, and unless smoothed changes, resets, of `anchored` or `smoothed` ranges: over samples with
    t - range - lookback < ts <= t (smoothed: t + lookback), stale markers left out."""

def select_smoothed(
    cols: SampleColumns, start_ms: int, step_ms: int, steps: int, lookback_ms: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The value at t on the line between its neighbours with t - lookback < ts <= t + lookback, or the earlier one's
    where there is no later; stale markers left out."""

# Aggregations below take a matrix with a mask and a group id per row, below group_count; a negative id leaves the row
# out. They return one row per group; ValueError when lengths do not fit.

def aggregate(
    op: str,
    groups: NDArray[np.int64],
    group_count: int,
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """op: sum, avg, min, max, count, group, stddev, stdvar; sums run in row order."""

class Accumulator:
    """`aggregate` for rows that come batch after batch; the result is the same to the bit. One caller at a time."""

    def __init__(self, op: str, steps: int) -> None: ...
    @property
    def nbytes(self) -> int: ...
    def add(
        self, groups: NDArray[np.int64], group_count: int, values: NDArray[np.float64], mask: NDArray[np.bool_]
    ) -> None:
        """The next rows. group_count may rise from call to call."""
    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """One row per group. To be called once."""

def aggregate_quantile(
    q: NDArray[np.float64],
    groups: NDArray[np.int64],
    group_count: int,
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The q quantile (one q per step); q outside 0..1 gives -Inf or +Inf, NaN gives NaN."""

def select_k(
    op: str,
    k: NDArray[np.int64],
    groups: NDArray[np.int64],
    group_count: int,
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """topk, bottomk or limitk with one k per step (below 1 keeps nothing).

    Returns which cells are kept, in the shape of values, and the rows kept at the first step in the order of an
    instant result: group after group, best first, NaN last.
    """

def count_values(
    groups: NDArray[np.int64], group_count: int, values: NDArray[np.float64], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Group and value of each distinct pair, in order of first appearance row by row, and its number of rows at each
    step, masked where that is 0. All NaN are one value; 0 and -0 are two."""

def histogram_quantile(
    q: NDArray[np.float64],
    groups: NDArray[np.int64],
    group_count: int,
    bounds: NDArray[np.float64],
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
) -> tuple[
    tuple[NDArray[np.float64], NDArray[np.bool_]],
    tuple[
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
    ],
]:
    """Quantile (one q per step) of classic histograms: a group holds the bucket rows of one, `bounds` is each row's
    `le`; give rows with a bad `le` a negative group.

    Also returns where counts had to be forced to rise, one entry each: group, step, lowest and highest bound
    corrected, largest difference.
    """

def histogram_fraction(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    groups: NDArray[np.int64],
    group_count: int,
    bounds: NDArray[np.float64],
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Share of the observations between lower and upper (one each per step); see histogram_quantile."""

# -- text -----------------------------------------------------------------------------------------------------------

# Prometheus' JSON. `limit` > 0 ends a list after so many items; rows without any sample are left out (and not counted).
# ValueError when the lengths do not agree.

def encode_matrix(
    labels: LabelFrame,
    start_ms: int,
    step_ms: int,
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
    limit: int = 0,
    histograms: tuple[HistogramColumn, NDArray[np.int32]] | None = None,
) -> bytes:
    """`result` of a matrix: values, mask and numbers of histograms of shape (rows, steps), at start_ms, start_ms +
    step_ms, ..."""

def encode_vector(
    labels: LabelFrame,
    time_ms: int,
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
    limit: int = 0,
    histograms: tuple[HistogramColumn, NDArray[np.int32]] | None = None,
) -> bytes:
    """`result` of a vector: values and mask of length rows, numbers of histograms of shape (rows, 1)."""

def encode_range_samples(labels: LabelFrame, columns: SampleColumns, limit: int = 0) -> bytes:
    """`result` of a matrix of samples at their own times."""

def encode_label_sets(labels: LabelFrame, limit: int = 0) -> bytes:
    """List of label objects, as in `data` of /series."""

def encode_strings(texts: Sequence[str], limit: int = 0) -> bytes:
    """List of strings, <, > and & escaped, as in `data` of /labels."""

def encode_scalar(time_ms: int, value: float) -> bytes:
    """`result` of a scalar: never in exponent form."""

def encode_string(time_ms: int, text: str) -> bytes:
    """`result` of a string."""

def format_value(value: float) -> str:
    """A sample value as in a vector: shortest; exponent form below 1e-6 and from 1e21 on."""

def compact_blocks(
    sources: Sequence[tuple[str, int, int]], outputs: Sequence[str], segment_bytes: int
) -> list[tuple[int, int, int, int, int, int, int]]:
    """Merge blocks into blocks: series by labels, samples by time. Of two samples at one time that of the first source
    stays.

    sources: directory and time range (ms, end exclusive) of each block; outputs: directories, empty. A series goes to
    the output with the number hash mod len(outputs). For each output series, chunks, samples, floats, histograms, first
    and last time. Raises DataDamaged with what is wrong and the number of the source that cannot be read; OSError.
    """

class BlockStats:
    """What a block holds. mint, maxt: of samples, both inclusive; None when there are none."""

    @property
    def series(self) -> int: ...
    @property
    def chunks(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def floats(self) -> int: ...
    @property
    def histograms(self) -> int: ...
    @property
    def mint(self) -> int | None: ...
    @property
    def maxt(self) -> int | None: ...

class BlockBuilder:
    """A block from columns, in memory until it is written; for tests and tools."""

    def __init__(self) -> None: ...
    def add(self, labels: LabelFrame, samples: SampleColumns) -> None:
        """Add series: row i of both is one. ValueError when they are not as long. Rows without samples are left out.

        Floats go into chunks of 120 at most, histograms into chunks of float histograms.
        """
    def write(self, directory: str, *, segment_bytes: int = 512 << 20) -> BlockStats:
        """Write index, chunks and tombstones into an empty directory; all on the disk when it returns. The builder is
        empty afterwards. ValueError when a label set was added twice. OSError."""

def copy_block(source: str, directory: str, *, segment_bytes: int = 512 << 20) -> BlockStats:
    """Read a block and write it into an empty directory, chunk by chunk. DataDamaged; OSError."""

class BlockReport:
    @property
    def stats(self) -> BlockStats:
        """What is in the block, as far as it can be read."""
    @property
    def tombstones(self) -> int: ...
    @property
    def problems(self) -> list[str]:
        """The first hundred, each with file and place."""
    @property
    def problem_count(self) -> int: ...

def verify_block_files(directory: str) -> BlockReport:
    """Read all of a block: every checksum, every order, every sample, and that index, postings and chunks agree.
    meta.json is not looked at. Damage is what the report tells; OSError: a file cannot be read."""

class LocalBlock:
    """A block in a directory, read at positions; safe from any thread. In memory: `nbytes`.

    Matchers are `Matcher.as_tuple()`; times are ms, inclusive. Everything raises DataDamaged, naming file and place, or
    OSError. A bad regex is a ValueError. meta.json and tombstones are not looked at.
    """

    def __init__(self, directory: str) -> None:
        """Reads symbols and label pairs of the index once, checking both."""
    @property
    def nbytes(self) -> int: ...
    def select(self, matchers: Sequence[tuple[int, str, str]], mint: int, maxt: int) -> EncodedSeriesSet:
        """Series that match, with the chunks that overlap the range: read here, checksums checked, and kept encoded."""
    def series(self, matcher_sets: Sequence[Sequence[tuple[int, str, str]]], mint: int, maxt: int) -> LabelFrame:
        """Label sets that match any of the sets and have a chunk in the range, sorted, distinct."""
    def label_names(self, matchers: Sequence[tuple[int, str, str]], mint: int, maxt: int) -> list[str]:
        """Sorted. Without matchers those of the whole block, whatever the range."""
    def label_values(self, name: str, matchers: Sequence[tuple[int, str, str]], mint: int, maxt: int) -> list[str]:
        """Sorted. Without matchers those of the whole block, whatever the range."""

def index_header_ranges(toc: bytes, index_bytes: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and end of the symbols in an index of so many bytes, and of its tail (what follows from the postings table
    on). toc: its last 52 bytes. DataDamaged."""

def build_index_header(first: bytes, toc: bytes, symbols: bytes, tail: bytes) -> bytes:
    """An index-header from parts of an index: its first 5 bytes, its last 52, and the two of `index_header_ranges`.

    The checksums of symbols and tail are checked when it is opened. DataDamaged.
    """

class IndexHeader:
    """An index-header in a local file: finds series of a block whose index is elsewhere. Safe from any thread.

    The order of questions: `postings` tells which bytes of the index to fetch, `PostingsPlan.resolve` makes them ids of
    series; `PostingsPlan.series` fetches those, `FetchedSeries.fetch_chunks` their chunks. All methods are for threads.
    DataDamaged, OSError.
    """

    def __init__(self, path: str) -> None:
        """Reads the whole file once, checking it; keeps every 32nd symbol's place and every 32nd value."""
    @property
    def nbytes(self) -> int:
        """Memory held."""
    def label_names(self) -> list[str]:
        """Of the whole block, sorted."""
    def label_values(self, name: str) -> list[str]:
        """Of the whole block, sorted."""
    def postings(self, matchers: Sequence[tuple[int, str, str]], *, gap_bytes_max: int = ...) -> PostingsPlan:
        """How matchers are answered. Ranges that lie less than gap_bytes_max apart are joined."""

class PostingsPlan:
    """Immutable."""

    @property
    def nothing(self) -> bool:
        """No series can match."""
    @property
    def ranges(self) -> NDArray[np.int64]:
        """(k, 2): start and end of bytes of the index to be fetched, ascending, apart."""
    def resolve(self, fetched: Sequence[bytes | bytearray | memoryview]) -> NDArray[np.uint32]:
        """Ids of series, ascending, from what was fetched for `ranges`. Matchers that are cheaper to test on labels are
        not applied yet: there may be more ids than series that match. DataDamaged."""
    def series(self, ids: NDArray[np.uint32], mint: int, maxt: int, *, gap_bytes_max: int = ...) -> SeriesFetch:
        """Fetch series by ids, ascending: any part of what `resolve` gave. mint, maxt: inclusive."""

class SeriesFetch:
    """Fetch `ranges` and `add` them until there are none (at most two rounds), then `finish`. For one thread at a
    time."""

    @property
    def ranges(self) -> NDArray[np.int64]:
        """(k, 2): start and end of bytes of the index to be fetched now."""
    def add(self, fetched: Sequence[bytes | bytearray | memoryview]) -> None:
        """What was fetched for `ranges`. DataDamaged."""
    def finish(self) -> FetchedSeries:
        """Series that match all matchers of the plan and have a chunk in the range. ValueError when called twice."""

class FetchedSeries:
    """Series with the places of their chunks. Immutable."""

    @property
    def labels(self) -> LabelFrame:
        """Sorted, distinct."""
    @property
    def chunks(self) -> int:
        """How many chunks they have in the range."""
    def chunk_rows_end(self, start_row: int, bytes_max: int) -> int:
        """Where a batch of rows from start_row with about so many bytes of chunks ends; one row on at least, if there
        is one."""
    def fetch_chunks(
        self, start_row: int, end_row: int, segment_bytes: Sequence[int], *, gap_bytes_max: int = ...
    ) -> ChunkFetch:
        """Fetch the chunks of rows. segment_bytes: how long chunks/000001 and so on are. DataDamaged; IndexError."""

class ChunkFetch:
    """As `SeriesFetch`, of chunks."""

    @property
    def ranges(self) -> NDArray[np.int64]:
        """(k, 3): segment (0 is chunks/000001), start and end of bytes of it to be fetched now."""
    def add(self, fetched: Sequence[bytes | bytearray | memoryview]) -> None:
        """What was fetched for `ranges`; checksums are checked. DataDamaged."""
    def finish(self) -> EncodedSeriesSet:
        """The rows; `encode` makes a part for another process of them. ValueError when called twice."""
