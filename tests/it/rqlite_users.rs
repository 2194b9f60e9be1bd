//! What users of rqlite expect, by the real binary on real nodes.

mod documents;
