//! How many keys of a list are asked for at once: learned from what the client drops.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most keys of a page: the server answers for no more subjects at all.
pub(crate) const PAGE_MAX: usize = 1024;
/// The fewest keys of a page, whatever the client drops.
pub(crate) const PAGE_MIN: usize = 8;
/// The fewest keys of a page after one that fell silent, which a slow server does too.
const SILENT_PAGE_MIN: usize = 64;

/// How many keys a page may have so that the client keeps all of it: learned, since a client does
/// not tell its capacity.
#[derive(Debug)]
pub(crate) struct PageSize(AtomicUsize);

impl PageSize {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(PAGE_MAX))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A page of `size` keys came short.
    pub(crate) fn shrink(&self, size: usize, short: Short) {
        let least = match short {
            Short::Dropped => PAGE_MIN,
            Short::Silent => SILENT_PAGE_MIN,
        };
        let smaller = (size / 2).max(least);
        let before = self.0.fetch_min(smaller, Ordering::Relaxed);
        if before > smaller {
            tracing::warn!(
                before,
                now = smaller,
                "the NATS client keeps too few messages; set its subscription_capacity to 65536"
            );
        }
    }
}

/// Why a page counts as short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// A message names one before it that did not come.
    Dropped,
    /// Some came, then none, and no end.
    Silent,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that drops messages must end at pages it keeps; a slow moment must not end there.
    #[test]
    fn a_page_shrinks_by_halves_down_to_what_its_reason_allows() {
        let learned = PageSize::new();
        assert_eq!(learned.get(), PAGE_MAX);
        learned.shrink(PAGE_MAX, Short::Silent);
        assert_eq!(learned.get(), PAGE_MAX / 2);
        for _ in 0..20 {
            learned.shrink(learned.get(), Short::Silent);
        }
        assert_eq!(learned.get(), SILENT_PAGE_MIN);
        for _ in 0..20 {
            learned.shrink(learned.get(), Short::Dropped);
        }
        assert_eq!(learned.get(), PAGE_MIN);
        learned.shrink(PAGE_MAX, Short::Silent);
        assert_eq!(learned.get(), PAGE_MIN, "it never grows");
    }
}
