//! The limits of counters.

/// The most characters of a number that is incremented, of what is added, and of the sum in plain notation. Sums of such numbers
/// take microseconds, and no exponent can make one large.
pub const NUMBER_CHARACTERS: usize = 1_000;
