//! The part of a listing that the user wants, where the store does not cut it out itself.

/// How many items are passed over, and how many are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Window {
    /// So many are still passed over.
    pub(in crate::cli) offset: u64,
    /// So many are still wanted; none = all.
    pub(in crate::cli) limit: Option<u64>,
    /// Whether an item came behind the last one that is wanted: then nothing more has to be read.
    pub(in crate::cli) has_more: bool,
}

impl Window {
    pub(in crate::cli) fn new(offset: u64, limit: Option<u64>) -> Window {
        Window { offset, limit, has_more: false }
    }

    /// The items to ask for: one more than wanted tells whether there is more; none = all.
    pub(in crate::cli) fn asked(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_add(self.offset).saturating_add(1))
    }

    /// The wanted ones of the items that follow.
    pub(in crate::cli) fn cut<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        let passed = items.len().min(usize::try_from(self.offset).unwrap_or(usize::MAX));
        items.drain(..passed);
        self.offset -= passed as u64;
        if let Some(limit) = &mut self.limit {
            let wanted = items.len().min(usize::try_from(*limit).unwrap_or(usize::MAX));
            self.has_more |= wanted < items.len();
            items.truncate(wanted);
            *limit -= wanted as u64;
        }
        items
    }

    /// How many of so many items are wanted.
    pub(in crate::cli) fn count(&self, items: u64) -> u64 {
        items.saturating_sub(self.offset).min(self.limit.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_cut_out_of_pages_and_tells_whether_there_is_more() {
        for (offset, limit, expected, has_more) in [
            (0, None, vec![1, 2, 3, 4, 5], false),
            (2, None, vec![3, 4, 5], false),
            (1, Some(2), vec![2, 3], true),
            (3, Some(2), vec![4, 5], false),
            (0, Some(0), vec![], true),
            (9, Some(1), vec![], false),
        ] {
            let mut window = Window::new(offset, limit);
            assert_eq!(window.count(5), expected.len() as u64);
            let mut found = Vec::new();
            for page in [vec![1, 2], vec![3], vec![4, 5]] {
                if !window.has_more {
                    found.extend(window.cut(page));
                }
            }
            assert_eq!((found, window.has_more), (expected, has_more), "{offset} {limit:?}");
        }
    }
}
