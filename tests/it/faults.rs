//! What goes wrong beneath a store: no space, files that vanish or are damaged, rights that are missing.

mod damage;
mod full;
mod places;
mod read_only;
mod refused;
mod replaced;
mod restored;
mod sync;
mod written_over;
