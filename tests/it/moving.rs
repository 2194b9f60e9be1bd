//! Moving data between stores, by the real binary.

mod cuts;
mod kills;
mod lines;
mod original;
mod round_trips;

use crate::support::{Kv, Site};
use kv::store::EngineKind;

/// A directory of commands, and a store on each of the engines that are there, by the word that names it.
struct Stores {
    kv: Kv,
    sites: Vec<Site>,
}

impl Stores {
    fn on(engines: &[EngineKind]) -> Stores {
        Stores { kv: Kv::new(), sites: engines.iter().filter_map(|&engine| Site::on(engine)).collect() }
    }

    /// The word for each store.
    fn words(&self) -> Vec<String> {
        self.sites
            .iter()
            .map(|site| {
                site.address
                    .file()
                    .map_or_else(|| site.address.connection(), |file| file.display().to_string())
            })
            .collect()
    }

    /// The options that name each store.
    fn options(&self) -> Vec<String> {
        let kinds = self.sites.iter().map(|site| site.address.kind().as_str());
        kinds.zip(self.words()).map(|(kind, word)| format!("--type {kind} --connection '{word}'")).collect()
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        // Their daemons go before their databases do.
        for options in self.options() {
            let _ = self.kv.shell(&format!("kv {options} daemon stop"));
        }
    }
}

/// Lines of so many records, under keys with a prefix.
fn records(kv: &Kv, file: &str, prefix: &str, count: usize, bytes: usize) {
    let text = "x".repeat(bytes);
    let lines: String = (0..count)
        .map(|number| {
            format!("{{\"key\":\"{prefix}{number:08}\",\"value\":{{\"n\":{number},\"text\":\"{text}\"}}}}\n")
        })
        .collect();
    std::fs::write(kv.directory.path().join(file), lines).unwrap();
}
