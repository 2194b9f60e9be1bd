//! Which connection strings lead where.
