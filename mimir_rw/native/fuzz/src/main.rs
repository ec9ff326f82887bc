//! Fuzzing of the native decoders on stable Rust: a seeded mutator, a table of targets, nothing else.
//!
//!     cargo run --release --manifest-path mimir_rw/native/fuzz/Cargo.toml -- TARGET [--runs N] [--seed S]
//!         [--corpus DIR] [--rss-max-mib M]          (TARGET `all` runs each in turn; `list` names them)
//!
//! A run takes one of the target's seeds (valid inputs, plus every file of `--corpus`), mutates it (mutate.rs) and
//! hands it to the target. A finding is a panic (debug assertions and overflow checks are on) or a peak of resident
//! memory over the bound; the input is then written to `fuzz-TARGET-SEED-RUN.bin`, and the exit status is 1. Equal
//! seeds give equal runs. `--file F` gives one input as it is, to repeat a finding.
//!
//! A target is one file in `targets/`: `pub fn target(data: &[u8])`, which must return for any input, and
//! `pub fn seeds() -> Vec<Vec<u8>>`. Add a line to `TARGETS`. Beyond "does not panic", a target should assert what
//! must hold for an accepted input (it encodes back, it equals the slow path, its counts add up).
//!
//! The crate links libpython (the kernels' types are Python classes too): where that is not on the loader's path, set
//! LD_LIBRARY_PATH to the interpreter's `lib`, and PYO3_PYTHON to the interpreter when building.

mod mutate;
mod targets;

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;

struct Target {
    name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

const TARGETS: &[Target] = &[
    Target {
        name: "batch",
        run: targets::batch::target,
        seeds: targets::batch::seeds,
    },
    Target {
        name: "label_frame",
        run: targets::series_set::target_frame,
        seeds: targets::series_set::seeds_frame,
    },
    Target {
        name: "series_part",
        run: targets::series_set::target_part,
        seeds: targets::series_set::seeds_part,
    },
    Target {
        name: "block_index",
        run: targets::block::target_index,
        seeds: targets::block::seeds_index,
    },
    Target {
        name: "block_header",
        run: targets::block::target_header,
        seeds: targets::block::seeds_header,
    },
    Target {
        name: "block_parts",
        run: targets::block::target_parts,
        seeds: targets::block::seeds_parts,
    },
    Target {
        name: "chunk",
        run: targets::chunk::target,
        seeds: targets::chunk::seeds,
    },
    Target {
        name: "histogram_chunk",
        run: targets::histogram_chunk::target,
        seeds: targets::histogram_chunk::seeds,
    },
    Target {
        name: "histograms",
        run: targets::histograms::target,
        seeds: targets::histograms::seeds,
    },
    Target {
        name: "rechunk",
        run: targets::rechunk::target,
        seeds: targets::rechunk::seeds,
    },
    Target {
        name: "wal_record",
        run: targets::wal::target_record,
        seeds: targets::wal::seeds_record,
    },
    Target {
        name: "wal_segment",
        run: targets::wal::target_segment,
        seeds: targets::wal::seeds_segment,
    },
    Target {
        name: "go_regex",
        run: targets::go_regex::target,
        seeds: targets::go_regex::seeds,
    },
    Target {
        name: "proto",
        run: targets::proto::target,
        seeds: targets::proto::seeds,
    },
    Target {
        name: "remote_write",
        run: targets::remote_write::target,
        seeds: targets::remote_write::seeds,
    },
    Target {
        name: "remote_write_message",
        run: targets::remote_write::target_message,
        seeds: targets::remote_write::seeds_message,
    },
    Target {
        name: "remote_write_v2_message",
        run: targets::remote_write::target_message_v2,
        seeds: targets::remote_write::seeds_message_v2,
    },
];

struct Options {
    target: String,
    runs: u64,
    seed: u64,
    corpus: Option<PathBuf>,
    file: Option<PathBuf>,
    rss_max_mib: u64,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        target: args.next().ok_or("which target? `list` names them")?,
        runs: 100_000,
        seed: 1,
        corpus: None,
        file: None,
        rss_max_mib: 1024,
    };
    while let Some(name) = args.next() {
        let value = args.next().ok_or(format!("{name} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|e| format!("{name} {value}: {e}"))
        };
        match name.as_str() {
            "--runs" => options.runs = number()?,
            "--seed" => options.seed = number()?,
            "--rss-max-mib" => options.rss_max_mib = number()?,
            "--corpus" => options.corpus = Some(value.into()),
            "--file" => options.file = Some(value.into()),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// Peak resident memory of this process, where the system tells it.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib / 1024)
}

fn survives(target: &Target, input: &[u8]) -> bool {
    panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok()
}

fn fuzz(target: &Target, options: &Options) -> Result<(), String> {
    if let Some(file) = &options.file {
        let input = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
        return survives(target, &input)
            .then_some(())
            .ok_or_else(|| format!("{} fails", file.display()));
    }
    let mut seeds = (target.seeds)();
    if let Some(dir) = &options.corpus {
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
            .map_err(|e| format!("{}: {e}", dir.display()))?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .collect();
        files.sort();
        seeds.extend(files.iter().filter_map(|f| std::fs::read(f).ok()));
    }
    let mut rng = mutate::Rng::new(options.seed);
    for run in 0..options.runs {
        let input = mutate::input(&mut rng, &seeds);
        let fine = survives(target, &input);
        let swollen = run % 256 == 0 && peak_rss_mib().is_some_and(|mib| mib > options.rss_max_mib);
        if !fine || swollen {
            let path = format!("fuzz-{}-{}-{run}.bin", target.name, options.seed);
            std::fs::write(&path, &input).map_err(|e| format!("{path}: {e}"))?;
            let what = if fine {
                "memory over the bound within the last 256 runs"
            } else {
                "panic"
            };
            return Err(format!(
                "{}: {what} at run {run}, input in {path}",
                target.name
            ));
        }
    }
    println!(
        "{}: {} runs from seed {}, {} seed inputs, peak RSS {} MiB",
        target.name,
        options.runs,
        options.seed,
        seeds.len(),
        peak_rss_mib().unwrap_or(0)
    );
    Ok(())
}

fn run() -> Result<(), String> {
    let options = parse(std::env::args().skip(1))?;
    if options.target == "list" {
        TARGETS.iter().for_each(|t| println!("{}", t.name));
        return Ok(());
    }
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .filter(|t| options.target == "all" || options.target == t.name)
        .collect();
    if chosen.is_empty() {
        return Err(format!("no target {:?}; `list` names them", options.target));
    }
    chosen
        .into_iter()
        .try_for_each(|target| fuzz(target, &options))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
