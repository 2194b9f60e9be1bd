//! `kv benchmark`

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use kv::limits;
use kv::store::{Code, Error, JsonText, Patch, Put, Result, Store};

use super::connect::{self, OpenStore};
use super::progress::Completion;
use super::settings::Settings;
use super::signals::Signals;
use super::{exit_code, number, output, progress};

#[derive(Debug, Subcommand)]
pub(super) enum Benchmark {
    /// Get records (default: 10000 gets of 100 records, by 100 workers)
    Get {
        /// Number of records that are put first
        #[arg(default_value_t = 100, value_parser = number::positive)]
        records: u64,
        #[command(flatten)]
        load: Load,
    },
    /// Put records (default: 30000 puts by 100 workers)
    Put(Load),
    /// Patch one record N times by each worker, and check that no patch is missing (default: 250 times by 4 workers)
    Patch(Load),
    /// Put records, and get each one (default: 10000 by 15 workers)
    Mixed(Load),
}

/// The size of a benchmark.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Load {
    /// Number of operations
    #[arg(value_parser = number::positive)]
    n: Option<u64>,
    /// Number of workers that run at once
    #[arg(value_parser = workers)]
    workers: Option<u64>,
}

fn workers(text: &str) -> std::result::Result<u64, String> {
    let workers = number::positive(text)?;
    let most = limits::BENCHMARK_WORKERS;
    if workers <= most { Ok(workers) } else { Err(format!("there are at most {most} workers")) }
}

impl Benchmark {
    /// Measures, and removes what was written, also when a signal ends it. Answers the exit code.
    pub(super) async fn run(self, settings: &Settings) -> Result<u8> {
        let (load, n, workers) = match self {
            Benchmark::Get { load, .. } => (load, 10_000, 100),
            Benchmark::Put(load) => (load, 30_000, 100),
            Benchmark::Patch(load) => (load, 250, 4),
            Benchmark::Mixed(load) => (load, 10_000, 15),
        };
        let (n, workers) = (load.n.unwrap_or(n), load.workers.unwrap_or(workers));
        let mut signals = Signals::new()?;
        let run = Run::open(settings, workers).await?;
        let measured = self.measure(&run, n);
        let completion = progress::until_a_signal(&mut signals, measured, || run.is_ended.set(true)).await;
        let removed = run.stores[0].delete_prefix(&run.prefix, 0, None).await;
        run.close().await;
        match completion {
            Completion::Finished(outcome) => {
                outcome?;
                removed.map(|_count| exit_code::OK)
            }
            Completion::Interrupted(code) => {
                let removed = output::counted(removed?, "record", "records");
                output::note(&format!("interrupted: {removed} of the benchmark removed"));
                Ok(code)
            }
        }
    }

    async fn measure(self, run: &Run, n: u64) -> Result<()> {
        match self {
            Benchmark::Get { records, .. } => {
                run.measure("puts of the records to get", false, records, async |store, _, number| {
                    run.put(store, number).await
                })
                .await?;
                run.measure("gets", true, n, async |store, _, number| {
                    // A large prime spreads the keys.
                    run.get(store, number.wrapping_mul(7_919) % records).await
                })
                .await
            }
            Benchmark::Put(_) => {
                run.measure("puts", true, n, async |store, _, number| run.put(store, number).await).await
            }
            Benchmark::Patch(_) => run.patch(n).await,
            Benchmark::Mixed(_) => {
                run.measure("puts with a get", true, n, async |store, _, number| {
                    run.put(store, number).await?;
                    run.get(store, number).await
                })
                .await
            }
        }
    }
}

/// One run, with its own keys.
struct Run {
    prefix: String,
    /// One store for each worker.
    stores: Vec<Arc<OpenStore>>,
    /// Whether a signal has asked to end: then no worker begins another operation.
    is_ended: Cell<bool>,
}

impl Run {
    async fn open(settings: &Settings, workers: u64) -> Result<Run> {
        let mut stores = vec![Arc::new(connect::open(settings).await?)];
        for _ in 1..workers {
            // In this process all workers share one store, because it is what gathers their writes.
            let store = match &*stores[0] {
                OpenStore::Local(_) => Arc::clone(&stores[0]),
                OpenStore::Remote(_) => Arc::new(connect::open(settings).await?),
            };
            stores.push(store);
        }
        Ok(Run {
            prefix: format!("kv-benchmark/{}/", uuid::Uuid::new_v4()),
            stores,
            is_ended: Cell::new(false),
        })
    }

    async fn close(mut self) {
        let first = self.stores.swap_remove(0);
        self.stores.clear();
        if let Some(store) = Arc::into_inner(first) {
            store.close().await;
        }
    }

    /// Distributes `count` operations over the workers, and prints their rate when that is what the user wants to know.
    async fn measure(
        &self,
        name: &'static str,
        is_printed: bool,
        count: u64,
        operation: impl AsyncFn(&OpenStore, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let (next, begun) = (Cell::new(0), Instant::now());
        let bar = progress::bar(name);
        bar.set_length(count);
        let times_us = RefCell::new(Histogram::<u64>::new(3).map_err(internal)?);
        let work = async |worker: usize| -> Result<()> {
            while next.get() < count && !self.is_ended.get() {
                let number = next.replace(next.get() + 1);
                let asked = Instant::now();
                operation(&self.stores[worker], worker as u64, number).await?;
                times_us.borrow_mut().record(asked.elapsed().as_micros() as u64).map_err(internal)?;
                bar.inc(1);
            }
            Ok(())
        };
        let done = try_join_all((0..self.stores.len()).map(work)).await;
        bar.finish_and_clear();
        done?;
        if !is_printed || self.is_ended.get() {
            return Ok(());
        }
        report(name, self.stores.len(), begun.elapsed(), &times_us.borrow())
    }

    async fn patch(&self, each: u64) -> Result<()> {
        let key = format!("{}patched", self.prefix);
        let done: Vec<Cell<u64>> = self.stores.iter().map(|_| Cell::new(0)).collect();
        let count = each * self.stores.len() as u64;
        self.measure("patches of one record", true, count, async |store, worker, _| {
            let times = done[worker as usize].replace(done[worker as usize].get() + 1) + 1;
            let patch = JsonText::parse(&format!("{{\"worker_{worker}\":{times}}}"))?;
            store.patch(Patch::merge(&key, patch)).await.map(drop)
        })
        .await?;
        if self.is_ended.get() {
            return Ok(());
        }
        let record = self.stores[0].get(&key).await?;
        let found: Option<BTreeMap<String, u64>> = record.map(|record| record.value_as()).transpose()?;
        let expected: BTreeMap<String, u64> = done
            .iter()
            .enumerate()
            .filter(|(_, times)| times.get() > 0)
            .map(|(worker, times)| (format!("worker_{worker}"), times.get()))
            .collect();
        if found.as_ref() == Some(&expected) {
            Ok(())
        } else {
            Err(internal(format!("patches are missing: {found:?}, not {expected:?}")))
        }
    }

    async fn put(&self, store: &OpenStore, number: u64) -> Result<()> {
        let value = format!(
            "{{\"name\":\"Alice-{number}\",\"age\":42,\"address1\":\"1 The Street\",\"address2\":\"The Town\",\
             \"address3\":\"The County\",\"address4\":\"The Country\",\"postcode\":\"AB1 2CD\"}}"
        );
        store.put(Put::new(format!("{}{number}", self.prefix), JsonText::parse(&value)?)).await.map(drop)
    }

    async fn get(&self, store: &OpenStore, number: u64) -> Result<()> {
        let key = format!("{}{number}", self.prefix);
        store.get(&key).await?.map(drop).ok_or_else(|| {
            Error::new(Code::NotFound, format!("{key} is gone"))
                .hint("something else deletes what is measured")
        })
    }
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, error.to_string())
}

fn report(name: &str, workers: usize, elapsed: Duration, times_us: &Histogram<u64>) -> Result<()> {
    let quantile_ms = |quantile| times_us.value_at_quantile(quantile) as f64 / 1_000.0;
    output::print_line(&format!(
        "{} {name} by {} in {:.2} s: {:.0} per second, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        times_us.len(),
        output::counted(workers, "worker", "workers"),
        elapsed.as_secs_f64(),
        times_us.len() as f64 / elapsed.as_secs_f64(),
        quantile_ms(0.5),
        quantile_ms(0.99),
        quantile_ms(0.999),
    ))
}
