//! How large this processor's caches are, and the shares of them that blocks of work may take.
//!
//! A block that is divided otherwise may be summed in another order, and then the last bits of a result
//! change. Only blocks whose size does not show in any result follow from the caches of the machine
//! ([`Caches::detected`]); all others are the same everywhere ([`Caches::FITTED`]), so that one seed
//! gives the same bits on every machine of an instruction set. Nothing here depends on the number of
//! threads.

use std::sync::OnceLock;

/// The sizes that blocks follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caches {
    /// The distance in bytes at which addresses begin to compete for the same lines of the first
    /// cache: its size divided by the number of its ways.
    pub(crate) l1_way: usize,
    /// Bytes of the second cache that a core has to itself.
    pub(crate) l2: usize,
    /// Bytes of the last cache, which the cores of a processor share.
    pub(crate) last: usize,
}

impl Caches {
    /// Those of the processor that the blocks were measured on. They stand in where the size of a block
    /// shows in a result, and for a processor that does not tell its own.
    pub(crate) const FITTED: Self = Self { l1_way: 4 << 10, l2: 2 << 20, last: 32 << 20 };

    /// Those of this processor.
    pub(crate) fn detected() -> &'static Self {
        static DETECTED: OnceLock<Caches> = OnceLock::new();
        DETECTED.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            let levels = x86::levels();
            #[cfg(not(target_arch = "x86_64"))]
            let levels = [].into_iter();
            Self::of(levels)
        })
    }

    /// What levels of data caches come to, in any order. A level that is missing is taken to be as in
    /// [`FITTED`](Self::FITTED); what a virtual machine says is kept within what processors have.
    fn of(levels: impl Iterator<Item = Level>) -> Self {
        let mut caches = Self::FITTED;
        for Level { number, bytes, ways, threads } in levels {
            match number {
                1 => caches.l1_way = (bytes / ways.max(1)).clamp(1 << 10, 64 << 10),
                // Two threads of one core count as one: they seldom run at their full rate.
                2 => caches.l2 = (bytes / (threads / 2).max(1)).clamp(128 << 10, 8 << 20),
                3 => caches.last = bytes,
                _ => {}
            }
        }
        Self { last: caches.last.max(caches.l2), ..caches }
    }
}

/// A cache for data.
struct Level {
    /// 1 is next to the registers.
    number: u8,
    bytes: usize,
    ways: usize,
    /// How many threads of the processor share it.
    threads: usize,
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use raw_cpuid::{CacheType, CpuId};

    use super::Level;

    /// The caches that the instruction `cpuid` lists.
    pub(super) fn levels() -> impl Iterator<Item = Level> {
        let caches = CpuId::new().get_cache_parameters().into_iter().flatten();
        let for_data =
            caches.filter(|cache| matches!(cache.cache_type(), CacheType::Data | CacheType::Unified));
        for_data.map(|cache| {
            let (line, ways) = (cache.coherency_line_size(), cache.associativity());
            Level {
                number: cache.level(),
                bytes: line * ways * cache.sets() * cache.physical_line_partitions(),
                ways,
                threads: cache.max_cores_for_cache(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(number: u8, kib: usize, ways: usize, threads: usize) -> Level {
        Level { number, bytes: kib << 10, ways, threads }
    }

    #[test]
    fn levels_are_told_apart() {
        let caches = [level(1, 48, 12, 2), level(2, 1280, 20, 2), level(3, 24 << 10, 12, 16)];
        let caches = Caches::of(caches.into_iter());
        assert_eq!(caches, Caches { l1_way: 4 << 10, l2: 1280 << 10, last: 24 << 20 });
        // Four cores of one thread each share a second cache.
        assert_eq!(Caches::of([level(2, 4 << 10, 16, 4)].into_iter()).l2, 2 << 20);
    }

    #[test]
    fn what_is_missing_or_absurd_is_made_good() {
        assert_eq!(Caches::of([].into_iter()), Caches::FITTED);
        let caches = Caches::of([level(1, 0, 0, 0), level(2, 0, 0, 0), level(3, 0, 0, 0)].into_iter());
        assert_eq!(caches, Caches { l1_way: 1 << 10, l2: 128 << 10, last: 128 << 10 });
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn this_processor_tells_its_caches() {
        let numbers: Vec<u8> = x86::levels().map(|level| level.number).collect();
        assert!(numbers.contains(&1) && numbers.contains(&2), "{numbers:?}");
        let Caches { l2, last, .. } = *Caches::detected();
        assert!(l2 >= 128 << 10 && last >= l2);
    }
}
