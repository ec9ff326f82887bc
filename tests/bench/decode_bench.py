"""Nanoseconds a sample of remote write decoding, cold (every series new) and known.

usage: python tests/bench/decode_bench.py DIR [--rounds N]      DIR: bodies of shared/bench/gen_remote_write.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mimir_rw._native import KnownSeries, PushLimits, decode_remote_write

LIMITS = PushLimits(
    label_names_max=30,
    info_label_names_max=80,
    label_name_bytes_max=1024,
    label_value_bytes_max=2048,
    metadata_bytes_max=1024,
    future_grace_ms=600_000,
    past_grace_ms=0,
    utf8_names=False,
)


def decode_all(bodies: list[bytes], known: KnownSeries) -> float:
    """CPU nanoseconds a sample over all bodies."""
    samples = 0
    start = time.process_time_ns()
    for body in bodies:
        push = decode_remote_write(
            body,
            tenant="anonymous",
            key=bytes(32),
            known=known,
            limits=LIMITS,
            now_ms=time.time_ns() // 1_000_000,
            bytes_max=100 << 20,
        )
        assert not push.rejections
        samples += push.batch.sample_count
    return (time.process_time_ns() - start) / samples


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    bodies = [path.read_bytes() for path in sorted(args.dir.glob("*.bin"))]
    cold = min(decode_all(bodies, KnownSeries(entries_max=0)) for _ in range(args.rounds))
    known = KnownSeries(entries_max=10_000_000)
    decode_all(bodies, known)
    warm = sorted(decode_all(bodies, known) for _ in range(args.rounds))
    print(f"cold {cold:.0f} ns/sample, known min {warm[0]:.0f} median {warm[len(warm) // 2]:.0f} ns/sample")
    print(f"{len(known)} known series, {known.memory_bytes / max(len(known), 1):.1f} bytes each")


if __name__ == "__main__":
    main()
