//! How a 3×3 correlation at stride 1 is cut into tiles, and where a tile's pixels are.

use std::ops::Range;

use residual_tensor::{Buffer, Float, Tensor};

use crate::{
    engine::isa::{Isa, Spread, Transforms},
    ops::conv2d::{
        correlation::{Axis, Correlation, Tap},
        source::Source,
    },
};

/// The edge of a tile of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ops::conv2d) enum TileSize {
    /// F(2×2, 3×3)
    Two,
    /// F(4×4, 3×3)
    Four,
}

impl TileSize {
    /// Outputs per edge, M.
    pub(in crate::ops::conv2d) fn outputs(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Inputs per edge, N = M + 2; N² planes.
    pub(super) fn inputs(self) -> usize {
        self.outputs() + 2
    }

    /// N²
    pub(in crate::ops::conv2d) fn planes(self) -> usize {
        self.inputs() * self.inputs()
    }

    pub(super) fn transforms<T: Float>(self, isa: &'static Isa<T>) -> &'static Transforms<T> {
        match self {
            Self::Two => &isa.winograd2,
            Self::Four => &isa.winograd4,
        }
    }
}

/// Bytes that keep neighbouring planes from starting in the same set of a cache.
pub(super) const PLANE_PADDING: usize = 64;
/// N² at most.
const MOST_PIXELS: usize = 36;

/// The tiles of a correlation, numbered through images, rows and columns.
#[derive(Debug, Clone)]
pub(super) struct Tiling<T: Float> {
    pub(super) isa: &'static Isa<T>,
    pub(super) size: TileSize,
    batch: usize,
    /// Groups of channels that do not see each other.
    pub(super) groups: usize,
    /// Input channels of one group.
    pub(super) inputs: usize,
    /// Output channels of one group.
    pub(super) outputs: usize,
    /// Rows and columns of tiles.
    tiles: [usize; 2],
    /// The input position of the first tile's first input; may lie in the padding.
    origin: [isize; 2],
    input: [usize; 2],
    output: [usize; 2],
    /// A pixel of zeros, of as many channels as a group has on either side, in each group.
    padding: Tensor<T>,
}

/// A tile's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    image: usize,
    /// The first output.
    row: usize,
    column: usize,
}

/// Channels of a block of groups, about: transformed, a chunk of their tiles stays in the second cache.
const BLOCK_CHANNELS: usize = 64;

/// Whether a correlation can be tiled: three neighbouring taps each way, no stride.
pub(in crate::ops::conv2d) fn suits(correlation: &Correlation) -> bool {
    let suits = |axis: &Axis| {
        let neighbours = |taps: &[Tap]| taps.windows(2).all(|pair| pair[1].offset - pair[0].offset == 1);
        axis.taps.len() == 3 && neighbours(&axis.taps) && axis.stride == 1 && axis.step == 1
    };
    correlation.axes.iter().all(suits)
}

impl<T: Float> Tiling<T> {
    pub(super) fn new(correlation: &Correlation, size: TileSize, isa: &'static Isa<T>) -> Self {
        assert!(suits(correlation), "{correlation:?}");
        Self {
            isa,
            size,
            batch: correlation.batch,
            groups: correlation.groups,
            inputs: correlation.inputs,
            outputs: correlation.outputs,
            tiles: correlation.output.map(|length| length.div_ceil(size.outputs())),
            origin: correlation.axes.each_ref().map(Axis::reach_before),
            input: correlation.input,
            output: correlation.output,
            padding: Tensor::zeros([correlation.in_channels().max(correlation.out_channels())]),
        }
    }

    /// Groups that are transformed together, at most.
    pub(super) fn block_groups(&self) -> usize {
        (BLOCK_CHANNELS / self.inputs.max(self.outputs).max(1)).clamp(1, self.groups.max(1))
    }

    /// How many blocks of groups there are.
    pub(super) fn blocks(&self) -> usize {
        self.groups.div_ceil(self.block_groups())
    }

    /// The groups of a block, which are transformed together.
    pub(super) fn block(&self, index: usize) -> Range<usize> {
        let first = index * self.block_groups();
        first..self.groups.min(first + self.block_groups())
    }

    /// How many tiles there are.
    pub(super) fn count(&self) -> usize {
        self.batch * self.tiles[0] * self.tiles[1]
    }

    pub(super) fn place(&self, tile: usize) -> Place {
        let [rows, columns] = self.tiles;
        let edge = self.size.outputs();
        let row = tile / columns % rows * edge;
        Place { image: tile / (rows * columns), row, column: tile % columns * edge }
    }

    /// The output pixel at which a tile begins, and how many of its rows and columns exist.
    pub(super) fn outputs(&self, place: Place) -> (usize, [usize; 2]) {
        let [height, width] = self.output;
        let pixel = (place.image * height + place.row) * width + place.column;
        let edge = self.size.outputs();
        (pixel, [edge.min(height - place.row), edge.min(width - place.column)])
    }

    /// Size of the image on one side, where its first tile begins, and the edge of a tile there.
    fn side(&self, side: Side) -> ([usize; 2], [isize; 2], usize) {
        match side {
            Side::Inputs => (self.input, self.origin, self.size.inputs()),
            Side::Gradients => (self.output, [0; 2], self.size.outputs()),
        }
    }

    /// Channels of a group on one side.
    pub(super) fn channels(&self, side: Side) -> usize {
        match side {
            Side::Inputs => self.inputs,
            Side::Gradients => self.outputs,
        }
    }

    /// The rows of one side, with all their channels, that some tiles see.
    pub(super) fn seen<'a>(&self, side: Side, tiles: &Range<usize>, data: &'a [T]) -> &'a [T] {
        let ([height, width], [origin, _], edge) = self.side(side);
        let channels = self.groups * self.channels(side);
        let line = |place: Place, below: isize| {
            let row = (place.row as isize + origin + below).clamp(0, height as isize);
            (place.image * height + row as usize) * width * channels
        };
        let (first, last) = (self.place(tiles.start), self.place(tiles.end.saturating_sub(1)));
        data.get(line(first, 0)..line(last, edge as isize)).unwrap_or(&[])
    }

    /// Transforms the channels of some groups on one side of `tiles` into N² planes laid out as `pitch`
    /// says, of which `planes` is the first tile's first channel.
    ///
    /// # Safety
    /// `planes` must be valid for all of this, and not be accessed by others meanwhile.
    pub(super) unsafe fn spread(
        &self,
        side: Side,
        tiles: Range<usize>,
        groups: &Range<usize>,
        Source { numbers: data, normalization }: Source<'_, T>,
        planes: *mut T,
        pitch: Pitch,
    ) {
        let transforms = self.size.transforms(self.isa);
        let (size, origin, edge) = self.side(side);
        let transform = match side {
            Side::Inputs => transforms.input,
            Side::Gradients => transforms.gradient,
        };
        let (per_group, all) = (self.channels(side), self.groups * self.channels(side));
        let (first_channel, channels) = (groups.start * per_group, groups.len() * per_group);
        assert_eq!(data.len(), self.batch * size[0] * size[1] * all);
        let padding = &self.padding.as_slice()[..all];
        let normalize = normalization.map(|normalization| normalization.at(first_channel, channels));
        let Pitch { step, group, plane, .. } = pitch;
        for (index, tile) in tiles.enumerate() {
            let place = self.place(tile);
            let first = [place.row as isize + origin[0], place.column as isize + origin[1]];
            let pixels = pixels(data, padding, first_channel, place.image, size, first, edge);
            let planes = planes.wrapping_add(index * pitch.tile);
            let spread = Spread {
                pixels: pixels.as_ptr(),
                padding: padding[first_channel..].as_ptr(),
                normalize,
                channels,
                step,
                planes,
                plane,
                group,
            };
            // SAFETY: each pixel is in the data or the padding; the planes are the caller's promise.
            unsafe { transform(&spread) };
        }
    }
}

/// What is transformed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// N×N inputs per tile, into V.
    Inputs,
    /// M×M gradients of outputs per tile, into Z.
    Gradients,
}

/// The distances in planes of transformed tiles. A group of channels is a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pitch {
    /// Channels of a group.
    pub(super) step: usize,
    /// From one group to the next.
    pub(super) group: usize,
    /// From one tile to the next.
    pub(super) tile: usize,
    /// From one plane to the next.
    pub(super) plane: usize,
}

impl Pitch {
    /// `[tile][channel]`, in whole registers.
    pub(super) fn tiles_first<T: Float>(tiles: usize, channels: usize, isa: &Isa<T>) -> Self {
        let tile = channels.next_multiple_of(isa.lanes);
        Self { step: isa.lanes, group: isa.lanes, tile, plane: tiles * tile + isa.numbers_in(PLANE_PADDING) }
    }

    /// `[group][tile][channel]`, with groups of `step` channels: what is summed over
    /// tiles is contiguous.
    pub(super) fn groups_first<T: Float>(tiles: usize, channels: usize, step: usize, isa: &Isa<T>) -> Self {
        let group = tiles * isa.lanes;
        Self {
            step,
            group,
            tile: isa.lanes,
            plane: channels.div_ceil(step.max(1)) * group + isa.numbers_in(PLANE_PADDING),
        }
    }

    /// Where a channel is in a tile's first register.
    pub(super) fn at(&self, channel: usize) -> usize {
        channel / self.step * self.group + channel % self.step
    }

    /// Memory for all planes.
    pub(super) fn planes<T: Float>(&self, size: TileSize) -> Buffer<T> {
        Buffer::recycled(size.planes() * self.plane)
    }
}

/// Where a channel is in the pixels of an `edge`×`edge` window whose first pixel is at `first`;
/// `padding` is one pixel.
fn pixels<T>(
    data: &[T],
    padding: &[T],
    channel: usize,
    image: usize,
    [height, width]: [usize; 2],
    [first_row, first_column]: [isize; 2],
    edge: usize,
) -> [*const T; MOST_PIXELS] {
    let channels = padding.len();
    let mut pixels = [padding[channel..].as_ptr(); MOST_PIXELS];
    for i in 0..edge {
        let row = first_row + i as isize;
        if !(0..height as isize).contains(&row) {
            continue;
        }
        let line = (image * height + row as usize) * width;
        for j in 0..edge {
            let column = first_column + j as isize;
            if (0..width as isize).contains(&column) {
                let pixel = (line + column as usize) * channels;
                debug_assert!(pixel + channels <= data.len());
                pixels[i * edge + j] = data.as_ptr().wrapping_add(pixel + channel);
            }
        }
    }
    pixels
}
