//! Large regions of memory, from which pieces of any size are cut and into which they merge.
//!
//! A piece is cut from the first gap that holds it, in order of age and address. Compared with
//! the smallest such gap this leaves less unusable between the pieces of a training step. Free
//! lists by size, the usual alternative, need no search but keep what one size has left from all
//! others.
//!
//! Memory that lies in gaps can go back to the system: all of it ([`trim`](Arena::trim)), or what
//! has not been used for a while ([`age`](Arena::age)).
//!
//! Not here: locks, and which thread has which arena.

use std::{collections::BTreeMap, ops::Range, ptr::NonNull};

use super::{Statistics, system::Memory};

/// Every piece is so many bytes, or a multiple: a page of most systems.
pub(crate) const GRAIN: usize = 4 << 10;
/// Each region is as large as all others of its arena together, so that a small program takes
/// little, but within these bounds, unless a piece is larger.
const SMALLEST_REGION: usize = 256 << 10;
const LARGEST_REGION: usize = 256 << 20;

/// All regions, oldest first.
pub(super) struct Arena {
    regions: Vec<Region>,
    in_use: usize,
    /// Bytes of pieces that were merged since memory was last looked through by [`age`](Self::age).
    freed: usize,
}

/// A part of a region, exclusively its holder's until merged. Its content is initialised.
pub(crate) struct Piece {
    pointer: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a piece is exclusively owned memory without any tie to a thread.
unsafe impl Send for Piece {}
// SAFETY: a shared piece only lends its address.
unsafe impl Sync for Piece {}

impl Piece {
    pub(super) fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }
}

impl Arena {
    pub(super) const EMPTY: Self = Self { regions: Vec::new(), in_use: 0, freed: 0 };

    /// A piece of `bytes` bytes, whole grains; `None` if the system has no more memory.
    pub(super) fn cut(&mut self, bytes: usize) -> Option<Piece> {
        debug_assert!(bytes > 0 && bytes.is_multiple_of(GRAIN));
        let piece = match self.regions.iter_mut().find_map(|region| region.reuse(bytes)) {
            Some(piece) => piece,
            None => self.extend(bytes)?,
        };
        self.in_use += bytes;
        Some(piece)
    }

    /// A piece of memory that was not part of one before, at least at its end.
    fn extend(&mut self, bytes: usize) -> Option<Piece> {
        let has_room = |region: &Region| region.room() >= bytes;
        if !self.regions.iter().any(has_room) {
            self.regions.push(Region::new(self.more(bytes)?));
        }
        let roomy = self.regions.iter_mut().filter(|region| has_room(region));
        roomy.min_by_key(|region| region.growth(bytes)).map(|region| region.extend(bytes))
    }

    /// Takes a piece back, which this arena has cut.
    pub(super) fn merge(&mut self, piece: Piece) {
        let mut regions = self.regions.iter_mut();
        let found = regions.find_map(|region| region.offset(&piece).map(|offset| (region, offset)));
        let (region, offset) = found.expect("the arena that the piece was cut from");
        region.merge(offset, piece.bytes);
        self.in_use -= piece.bytes;
        self.freed = self.freed.saturating_add(piece.bytes);
    }

    /// Bytes that were merged since the last [`age`](Self::age).
    pub(super) fn freed(&self) -> usize {
        self.freed
    }

    /// What is in use and what is kept.
    pub(super) fn statistics(&self) -> Statistics {
        Statistics { in_use: self.in_use, retained: self.regions.iter().map(Region::retained).sum() }
    }

    /// Gives everything that is not in use back to the system.
    pub(super) fn trim(&mut self) {
        self.regions.retain(|region| !region.is_unused());
        self.regions.iter_mut().for_each(|region| region.discard(|_| true));
    }

    /// Gives back what was last used before the previous call; says how many bytes that are not
    /// in use are left.
    pub(super) fn age(&mut self) -> usize {
        self.freed = 0;
        self.regions.retain_mut(|region| {
            region.discard(|used| used == Used::Before);
            let was_idle = region.age();
            !(was_idle && region.is_unused())
        });
        self.statistics().retained
    }

    /// Memory for another region that holds `bytes` bytes.
    fn more(&self, bytes: usize) -> Option<Memory> {
        let held: usize = self.regions.iter().map(|region| region.memory.bytes()).sum();
        let wanted = held.clamp(SMALLEST_REGION, LARGEST_REGION).max(bytes);
        Memory::zeroed(wanted).or_else(|| Memory::zeroed(bytes))
    }
}

/// When a grain of a gap was last part of a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Used {
    /// Not since it came from the system, or went back: it takes up no memory.
    Never,
    /// Before the latest call of [`Arena::age`].
    Before,
    /// Since then.
    Since,
}

/// Memory from the system: pieces and gaps up to where pieces have reached so far, and zeros.
struct Region {
    memory: Memory,
    reached: usize,
    /// Where gaps begin, and how long they are. No two touch.
    gaps: BTreeMap<usize, usize>,
    /// For each grain, when it was used. Means nothing where there is a piece now.
    used: Vec<Used>,
}

impl Region {
    fn new(memory: Memory) -> Self {
        let used = vec![Used::Never; memory.bytes().div_ceil(GRAIN)];
        Self { memory, reached: 0, gaps: BTreeMap::new(), used }
    }

    /// A piece of the first gap that holds it.
    fn reuse(&mut self, bytes: usize) -> Option<Piece> {
        let (&offset, &gap) = self.gaps.iter().find(|&(_, &gap)| gap >= bytes)?;
        self.gaps.remove(&offset);
        if gap > bytes {
            self.gaps.insert(offset + bytes, gap - bytes);
        }
        Some(self.piece(offset, bytes))
    }

    /// How long the gap is with which the reached part ends.
    fn last_gap(&self) -> usize {
        let last = self.gaps.last_key_value();
        last.filter(|&(offset, gap)| offset + gap == self.reached).map_or(0, |(_, &gap)| gap)
    }

    fn is_unused(&self) -> bool {
        self.last_gap() == self.reached
    }

    /// The bytes behind the last piece.
    fn room(&self) -> usize {
        self.memory.bytes() - self.reached + self.last_gap()
    }

    /// How much further a piece behind the last one would reach; it is longer than the last gap.
    fn growth(&self, bytes: usize) -> usize {
        bytes - self.last_gap()
    }

    /// A piece behind the last one. There is room for it, and it is longer than any gap.
    fn extend(&mut self, bytes: usize) -> Piece {
        let growth = self.growth(bytes);
        let offset = self.reached + growth - bytes;
        self.gaps.remove(&offset);
        self.reached += growth;
        self.piece(offset, bytes)
    }

    fn piece(&self, offset: usize, bytes: usize) -> Piece {
        assert!(offset + bytes <= self.memory.bytes());
        // SAFETY: that is inside of the region's memory.
        Piece { pointer: unsafe { self.memory.pointer().add(offset) }, bytes }
    }

    /// Where the piece begins, if it belongs to this region.
    fn offset(&self, piece: &Piece) -> Option<usize> {
        let offset = piece.pointer.addr().get().checked_sub(self.memory.pointer().addr().get())?;
        (offset < self.memory.bytes()).then_some(offset)
    }

    /// Makes a gap, and one with its neighbours.
    fn merge(&mut self, mut offset: usize, mut bytes: usize) {
        self.used[grains(offset, bytes)].fill(Used::Since);
        if let Some(following) = self.gaps.remove(&(offset + bytes)) {
            bytes += following;
        }
        if let Some((&start, &gap)) = self.gaps.range(..offset).next_back()
            && start + gap == offset
        {
            (offset, bytes) = (start, gap + bytes);
        }
        self.gaps.insert(offset, bytes);
    }

    /// Gives grains in gaps back to the system, those that were `used` like that.
    fn discard(&mut self, is_meant: impl Fn(Used) -> bool) {
        for (&offset, &bytes) in &self.gaps {
            let mut start = offset / GRAIN;
            for run in self.used[grains(offset, bytes)].chunk_by_mut(|a, b| a == b) {
                let range = start * GRAIN..(start + run.len()) * GRAIN;
                start += run.len();
                // SAFETY: no piece is where a gap is, and nothing expects content in a gap.
                if run[0] != Used::Never && is_meant(run[0]) && unsafe { self.memory.discard(range) } {
                    run.fill(Used::Never);
                }
            }
        }
    }

    /// From now on all use was before. Says whether it was already.
    fn age(&mut self) -> bool {
        let mut was_idle = true;
        for (&offset, &bytes) in &self.gaps {
            for used in self.used[grains(offset, bytes)].iter_mut().filter(|used| **used == Used::Since) {
                *used = Used::Before;
                was_idle = false;
            }
        }
        was_idle
    }

    /// The bytes of gaps that take up memory.
    fn retained(&self) -> usize {
        let in_gap = |(&offset, &bytes): (&usize, &usize)| {
            self.used[grains(offset, bytes)].iter().filter(|&&used| used != Used::Never).count()
        };
        self.gaps.iter().map(in_gap).sum::<usize>() * GRAIN
    }
}

/// The grains of so many bytes from an offset, both whole grains.
fn grains(offset: usize, bytes: usize) -> Range<usize> {
    offset / GRAIN..(offset + bytes) / GRAIN
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;
    use crate::memory::ALIGNMENT;

    /// Cuts pieces of so many grains each.
    fn cut<const N: usize>(arena: &mut Arena, grains: [usize; N]) -> [Piece; N] {
        grains.map(|grains| arena.cut(grains * GRAIN).unwrap())
    }

    /// The same, side by side.
    fn cut_from_one_region<const N: usize>(arena: &mut Arena, grains: [usize; N]) -> [Piece; N] {
        let [whole] = cut(arena, [grains.iter().sum()]);
        arena.merge(whole);
        cut(arena, grains)
    }

    fn retained(arena: &Arena) -> usize {
        arena.statistics().retained / GRAIN
    }

    #[test]
    fn gaps_merge_and_the_first_that_fits_is_used() {
        let mut arena = Arena::EMPTY;
        let [a, b, c, d, _e] = cut(&mut arena, [2, 3, 2, 4, 1]);
        let start = a.pointer.addr().get();
        let at = |piece: &Piece| (piece.pointer.addr().get() - start) / GRAIN;
        for piece in [a, c, b] {
            arena.merge(piece); // the last one joins the others to seven grains
        }
        let [four] = cut(&mut arena, [4]);
        arena.merge(d); // behind the three grains that are left
        let [seven, one] = cut(&mut arena, [7, 1]);
        assert_eq!([at(&four), at(&seven), at(&one)], [0, 4, 12]);
    }

    #[test]
    fn a_last_gap_that_is_too_short_grows() {
        let mut arena = Arena::EMPTY;
        let [_first, last] = cut(&mut arena, [1, 3]);
        let start = last.pointer;
        arena.merge(last);
        assert_eq!(arena.cut(5 * GRAIN).unwrap().pointer, start);
    }

    #[test]
    fn regions_double_hold_what_is_asked_for_and_go_when_unused() {
        let mut arena = Arena::EMPTY;
        let sizes = |arena: &Arena| arena.regions.iter().map(|r| r.memory.bytes()).collect::<Vec<_>>();
        let grains = SMALLEST_REGION / GRAIN;
        let [a, b, c, d] = cut(&mut arena, [1, grains, grains, 10 * grains]);
        assert_eq!(sizes(&arena), [1, 1, 2, 10].map(|n| n * SMALLEST_REGION));
        arena.merge(b);
        arena.merge(d);
        assert_eq!(retained(&arena), 11 * grains);
        arena.trim();
        assert_eq!(sizes(&arena), [1, 2].map(|n| n * SMALLEST_REGION));
        arena.merge(a);
        arena.merge(c);
        arena.trim();
        assert!(arena.regions.is_empty());
    }

    #[test]
    fn more_than_there_is_is_refused_and_the_arena_stays_whole() {
        let mut arena = Arena::EMPTY;
        let [piece] = cut(&mut arena, [1]);
        assert!(arena.cut(isize::MAX as usize / GRAIN * GRAIN).is_none());
        arena.merge(piece);
        assert_eq!(arena.statistics(), Statistics { in_use: 0, retained: GRAIN });
    }

    /// The content of a piece.
    fn content(piece: &mut Piece) -> &mut [u8] {
        // SAFETY: a piece is initialised memory of that length, and nobody else's.
        unsafe { std::slice::from_raw_parts_mut(piece.pointer.as_ptr(), piece.bytes) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pieces_are_disjoint_and_counted_and_merge(
            steps in vec((0..8u8, 1..600usize, any::<Index>()), 1..120),
        ) {
            let mut arena = Arena::EMPTY;
            let mut live: Vec<(Piece, u8)> = Vec::new();
            for (step, (what, grains, which)) in steps.into_iter().enumerate() {
                match what {
                    0 => arena.trim(),
                    1 => _ = arena.age(),
                    2..4 if !live.is_empty() => {
                        let (mut piece, written) = live.swap_remove(which.index(live.len()));
                        prop_assert!(content(&mut piece).iter().all(|&byte| byte == written), "written by another");
                        arena.merge(piece);
                    }
                    _ => {
                        // Most are small, as most tensors are, and few grow the arena by more than it has.
                        let bytes = grains.pow(2).div_ceil(600) * GRAIN;
                        let mut piece = arena.cut(bytes).unwrap();
                        prop_assert_eq!(piece.bytes, bytes);
                        prop_assert!(piece.pointer.addr().get().is_multiple_of(ALIGNMENT));
                        content(&mut piece).fill(step as u8);
                        live.push((piece, step as u8));
                    }
                }
                let in_use = live.iter().map(|(piece, _)| piece.bytes).sum::<usize>();
                prop_assert_eq!(arena.statistics().in_use, in_use);
            }
            live.drain(..).for_each(|(piece, _)| arena.merge(piece));
            prop_assert!(arena.regions.iter().all(|region| region.gaps.len() <= 1), "a region has not merged");
            arena.trim();
            prop_assert_eq!(arena.statistics(), Statistics::default());
            prop_assert!(arena.regions.is_empty());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn trimmed_gaps_between_pieces_go_and_come_back_as_zeros() {
        let mut arena = Arena::EMPTY;
        let [mut a, mut b, mut c] = cut_from_one_region(&mut arena, [40, 200, 1]);
        for piece in [&mut a, &mut b, &mut c] {
            content(piece).fill(7);
        }
        arena.merge(b);
        assert_eq!(retained(&arena), 200);
        arena.trim();
        assert_eq!(retained(&arena), 0);
        let [mut again] = cut(&mut arena, [200]);
        assert!(content(&mut again).iter().all(|&byte| byte == 0), "discarded pages read as zeros");
        assert!(content(&mut a).iter().chain(content(&mut c).iter()).all(|&byte| byte == 7));
        arena.merge(again);
        assert_eq!(retained(&arena), 200, "it may have been written to");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_what_stays_unused_ages_even_if_its_neighbour_is_used() {
        let mut arena = Arena::EMPTY;
        let [large, _wall] = cut_from_one_region(&mut arena, [500, 1]);
        arena.merge(large);
        assert_eq!(arena.freed(), 1001 * GRAIN);
        assert_eq!(arena.age() / GRAIN, 500, "it was used just now");
        let [small] = cut(&mut arena, [100]);
        arena.merge(small); // and is one gap with the rest again
        assert_eq!(arena.age() / GRAIN, 100);
        assert_eq!(arena.age() / GRAIN, 0);
        assert_eq!(arena.freed(), 0);
    }

    #[test]
    fn a_region_without_pieces_goes_after_two_looks() {
        let mut arena = Arena::EMPTY;
        let [piece] = cut(&mut arena, [500]);
        arena.merge(piece);
        arena.age();
        assert_eq!(arena.regions.len(), 1);
        assert_eq!(arena.age(), 0);
        assert!(arena.regions.is_empty());
    }
}
