//! The cost of patches, counted while they are applied.
//!
//! A patch of a few lines can copy a large member a thousand times, so its cost is bounded. Bytes alone do not measure
//! it: an array of a million numbers is a million allocations. Nothing here reads a clock, so the same patch of the
//! same value always has the same outcome.

use crate::limits;

/// The work of one patch so far, and its bound. A unit is about a nanosecond.
#[derive(Debug)]
pub(crate) struct Work {
    spent: u64,
    max: u64,
}

/// The error for a patch whose work exceeds its bound.
#[derive(Debug)]
pub(crate) struct WorkExceeded;

impl Work {
    /// No work so far, and no bound.
    pub(crate) fn unbounded() -> Work {
        Work { spent: 0, max: u64::MAX }
    }

    /// The work so far, including the step that exceeded the bound.
    pub(crate) fn spent(&self) -> u64 {
        self.spent
    }

    /// Bounds the work from now on by a multiple of what reading has cost.
    pub(crate) fn bound_by_reading(&mut self) {
        let multiple = self.spent.saturating_mul(limits::PATCH_WORK_FACTOR);
        self.max = self.spent + multiple.clamp(limits::PATCH_WORK_MIN, limits::BATCH_WORK);
    }

    /// Counts reading a text with so many bytes, elements and members. Only the size of the text bounds it.
    pub(crate) fn read(&mut self, bytes: usize, elements: usize) {
        self.spent = self.spent.saturating_add(cost(bytes, elements, limits::WORK_OF_ELEMENT));
    }

    /// Counts copying so many bytes, elements and members: each of the latter takes at least one allocation.
    pub(crate) fn copy(&mut self, bytes: usize, elements: usize) -> Result<(), WorkExceeded> {
        self.spend(cost(bytes, elements, limits::WORK_OF_ELEMENT))
    }

    /// Counts passing over so many bytes, elements and members, or shifting them to make room.
    pub(crate) fn pass(&mut self, bytes: usize, elements: usize) -> Result<(), WorkExceeded> {
        self.spend(cost(bytes, elements, limits::WORK_OF_PASSED_ELEMENT))
    }

    fn spend(&mut self, units: u64) -> Result<(), WorkExceeded> {
        self.spent = self.spent.saturating_add(units);
        if self.spent > self.max { Err(WorkExceeded) } else { Ok(()) }
    }
}

fn cost(bytes: usize, elements: usize, work_of_element: u64) -> u64 {
    (elements as u64).saturating_mul(work_of_element).saturating_add(bytes as u64)
}
