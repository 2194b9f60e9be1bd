//! Mutations that are applied together, and where they come from.

use kv::limits;
use kv::store::{Code, Error, Mutation};

/// Mutations that are applied together: imports and, where changes are repeated, deletes.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) mutations: Vec<Mutation>,
    /// The line of each of them, when they come from a file.
    pub(super) lines: Vec<u64>,
    /// Whether they are changes, which are repeated in their order.
    pub(super) is_in_order: bool,
    bytes: usize,
}

impl Batch {
    /// Adds a mutation that weighs so many bytes.
    pub(super) fn add(&mut self, mutation: Mutation, line: Option<u64>) {
        self.bytes += weight_bytes(&mutation);
        self.mutations.push(mutation);
        self.lines.extend(line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    /// Whether this mutation has to go into another batch.
    pub(super) fn is_full_for(&self, mutation: &Mutation) -> bool {
        let bytes = self.bytes + weight_bytes(mutation);
        self.mutations.len() >= limits::MUTATIONS_PER_REQUEST
            || (bytes > limits::IMPORT_BATCH_BYTES && !self.mutations.is_empty())
    }

    /// The halves of a batch.
    pub(super) fn halves(mut self) -> (Batch, Batch) {
        let half = self.mutations.len() / 2;
        let mutations = self.mutations.split_off(half);
        let lines = self.lines.split_off(half.min(self.lines.len()));
        let second = Batch { mutations, lines, is_in_order: self.is_in_order, bytes: 0 };
        (self, second)
    }

    /// An error of this batch, with the line or the key that it is about.
    pub(super) fn explain(&self, mut error: Error) -> Error {
        let index = error.details.index.take();
        error.message = match (index, self.lines.first(), self.lines.last()) {
            (Some(index), Some(_), _) => {
                format!("line {}: {}", self.lines.get(index).copied().unwrap_or_default(), error.message)
            }
            (Some(index), None, _) => match self.mutations.get(index) {
                Some(Mutation::Import(import))
                    if import.key.is_empty() || !error.message.contains(&import.key) =>
                {
                    format!("the record {:?}: {}", import.key, error.message)
                }
                _ => error.message,
            },
            (None, Some(first), Some(last)) => format!("lines {first} to {last}: {}", error.message),
            _ => error.message,
        };
        if error.maybe {
            return error.hint("the same command again goes on: what was applied by then is unchanged");
        }
        if error.code == Code::VersionMismatch {
            return error
                .hint("--on-conflict skip leaves that record as it is, --on-conflict overwrite replaces it");
        }
        if index.is_some() && error.code == Code::TooLarge {
            // It is what was given that is too large.
            error.code = Code::BadRequest;
        }
        error
    }
}

fn weight_bytes(mutation: &Mutation) -> usize {
    match mutation {
        Mutation::Import(import) => import.key.len() + import.value.get().len(),
        _ => limits::KEY_BYTES,
    }
}
