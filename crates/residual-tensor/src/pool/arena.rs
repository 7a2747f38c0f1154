//! Large regions of memory, from which pieces of any size are cut and into which they merge.
//!
//! A piece is cut from the first gap that holds it, in order of age and address. Compared with
//! the smallest such gap this leaves less unusable between the pieces of a training step, and
//! the search is as short: there are some tens of gaps. Free lists by size, the usual
//! alternative, need no search but keep what one size has left from all others.
//!
//! Not here: locks, and counting what is in use.

use std::{collections::BTreeMap, ptr::NonNull};

use super::memory::Memory;

/// Every piece is so many bytes, or a multiple: a page.
pub(super) const GRAIN: usize = 4 << 10;
/// Each region is as large as all others together, so that a small program takes little, but
/// within these bounds, unless a piece is larger.
const SMALLEST_REGION: usize = 256 << 10;
const LARGEST_REGION: usize = 256 << 20;

/// All regions, oldest first.
pub(super) struct Arena {
    regions: Vec<Region>,
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

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Arena {
    pub(super) const EMPTY: Self = Self { regions: Vec::new() };

    /// A piece of `bytes` bytes, whole grains, and how many of them were never part of a piece
    /// before; `None` if the system has no more memory.
    pub(super) fn cut(&mut self, bytes: usize) -> Option<(Piece, usize)> {
        debug_assert!(bytes > 0 && bytes.is_multiple_of(GRAIN));
        if let Some(piece) = self.regions.iter_mut().find_map(|region| region.reuse(bytes)) {
            return Some((piece, 0));
        }
        let has_room = |region: &Region| region.room() >= bytes;
        if !self.regions.iter().any(has_room) {
            let memory = self.more(bytes)?;
            self.regions.push(Region { memory, reached: 0, gaps: BTreeMap::new() });
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
    }

    /// Gives the regions of which nothing is in use back to the system; says how many bytes of
    /// them had been part of a piece.
    pub(super) fn trim(&mut self) -> usize {
        let unused = self.regions.extract_if(.., |region| region.last_gap() == region.reached);
        unused.map(|region| region.reached).sum()
    }

    /// Memory for another region that holds `bytes` bytes.
    fn more(&self, bytes: usize) -> Option<Memory> {
        let held: usize = self.regions.iter().map(|region| region.memory.bytes()).sum();
        let wanted = held.clamp(SMALLEST_REGION, LARGEST_REGION).max(bytes);
        Memory::zeroed(wanted).or_else(|| Memory::zeroed(bytes))
    }
}

/// Memory from the system: pieces and gaps up to where pieces have reached so far, and zeros.
struct Region {
    memory: Memory,
    reached: usize,
    /// Where gaps begin, and how long they are. No two touch.
    gaps: BTreeMap<usize, usize>,
}

impl Region {
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

    /// The bytes behind the last piece.
    fn room(&self) -> usize {
        self.memory.bytes() - self.reached + self.last_gap()
    }

    /// How much further a piece behind the last one would reach; it is longer than the last gap.
    fn growth(&self, bytes: usize) -> usize {
        bytes - self.last_gap()
    }

    /// A piece behind the last one, and how many bytes of it were not reached before. There is
    /// room for it, and it is longer than any gap.
    fn extend(&mut self, bytes: usize) -> (Piece, usize) {
        let growth = self.growth(bytes);
        let offset = self.reached + growth - bytes;
        self.gaps.remove(&offset);
        self.reached += growth;
        (self.piece(offset, bytes), growth)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts pieces of so many grains each.
    fn cut<const N: usize>(arena: &mut Arena, grains: [usize; N]) -> [Piece; N] {
        grains.map(|grains| arena.cut(grains * GRAIN).unwrap().0)
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
        let (piece, never_used) = arena.cut(5 * GRAIN).unwrap();
        assert_eq!((piece.pointer, never_used), (start, 2 * GRAIN));
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
        assert_eq!(arena.trim(), 11 * SMALLEST_REGION);
        assert_eq!(sizes(&arena), [1, 2].map(|n| n * SMALLEST_REGION));
        arena.merge(a);
        arena.merge(c);
        assert_eq!(arena.trim(), GRAIN + SMALLEST_REGION);
        assert!(arena.regions.is_empty());
    }

    #[test]
    fn more_than_there_is_is_refused_and_the_arena_stays_whole() {
        let mut arena = Arena::EMPTY;
        let [piece] = cut(&mut arena, [1]);
        assert!(arena.cut(isize::MAX as usize / GRAIN * GRAIN).is_none());
        arena.merge(piece);
        assert_eq!(arena.trim(), GRAIN);
    }
}
