//! What patches cost, counted while they are applied.
//!
//! A patch of a few lines can copy a large member a thousand times, so what it may cost is bounded, and bytes alone do not
//! tell that: an array of a million numbers is a million allocations. Nothing here reads a clock, so that the same patch
//! of the same value is always answered in the same way.

use crate::limits;

/// The work of one patch so far, and how much there may be. A unit is about a nanosecond.
#[derive(Debug)]
pub(crate) struct Work {
    spent: u64,
    max: u64,
}

/// The work of a patch passed its bound.
#[derive(Debug)]
pub(crate) struct WorkExceeded;

impl Work {
    /// No work so far, and no bound.
    pub(crate) fn unbounded() -> Work {
        Work { spent: 0, max: u64::MAX }
    }

    /// What was spent, with the work that passed the bound.
    pub(crate) fn spent(&self) -> u64 {
        self.spent
    }

    /// Bounds what comes from now on by a multiple of what reading has cost.
    pub(crate) fn bound_by_reading(&mut self) {
        let multiple = self.spent.saturating_mul(limits::PATCH_WORK_FACTOR);
        self.max = self.spent + multiple.clamp(limits::PATCH_WORK_MIN, limits::BATCH_WORK);
    }

    /// Reading a text of so many bytes with so many elements and members. It has no bound but the size of the text.
    pub(crate) fn read(&mut self, bytes: usize, elements: usize) {
        self.spent = self.spent.saturating_add(cost(bytes, elements, limits::WORK_OF_ELEMENT));
    }

    /// Copying so many bytes with so many elements and members: each of those is an allocation or more.
    pub(crate) fn copy(&mut self, bytes: usize, elements: usize) -> Result<(), WorkExceeded> {
        self.spend(cost(bytes, elements, limits::WORK_OF_ELEMENT))
    }

    /// Looking at so many bytes with so many elements and members, or shifting these to make room.
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
