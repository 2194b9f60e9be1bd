//! What users of PostgreSQL expect, by the real binary on a real server.

mod documents;
