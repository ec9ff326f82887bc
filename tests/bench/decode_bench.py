"""Nanoseconds a sample of remote write decoding, cold (every series new) and known.

usage: python -m tests.bench.decode_bench [--series 20000] [--rounds 20]
"""

from __future__ import annotations

import argparse
import time

from mimir_rw._native import KnownSeries
from tests.bench.head_bench import START_MS, decode
from tests.bench.load import Load, bodies


def decode_all(made: list[bytes], known: KnownSeries) -> float:
    """CPU nanoseconds a sample over all bodies."""
    start = time.process_time_ns()
    samples = sum(decode(body, known).sample_count for body in made)
    return (time.process_time_ns() - start) / samples


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    made = [body for step in bodies(Load("ordered", args.series, 3, START_MS)) for body in step]
    cold = min(decode_all(made, KnownSeries(entries_max=0)) for _ in range(args.rounds))
    known = KnownSeries(entries_max=10_000_000)
    decode_all(made, known)
    warm = sorted(decode_all(made, known) for _ in range(args.rounds))
    print(f"cold {cold:.0f} ns/sample, known min {warm[0]:.0f} median {warm[len(warm) // 2]:.0f} ns/sample")
    print(f"{len(known)} known series, {known.memory_bytes / max(len(known), 1):.1f} bytes each")


if __name__ == "__main__":
    main()
