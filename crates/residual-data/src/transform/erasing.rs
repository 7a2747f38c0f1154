//! Parts of a picture that are taken away.

use residual_tensor::Generator;

use super::crop::{draw_rectangle, rounded};
use crate::Picture;

/// Takes a rectangle out of the picture (Zhong et al. 2017). torchvision's `RandomErasing`: ten
/// tries to find one that is smaller than the picture.
///
/// ```
/// use residual_data::{Picture, ImageShape, RandomErasing};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(1, 16, 16), vec![255; 256])?;
/// let erased = RandomErasing { probability: 1.0, ..RandomErasing::default() };
/// assert!(erased.apply(&picture, &mut Generator::new(0)).pixels().contains(&0));
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomErasing {
    /// Of taking something out.
    pub probability: f64,
    /// The least and the largest part of the picture's area.
    pub scale: [f64; 2],
    /// The least and the largest ratio of height to width.
    pub ratio: [f64; 2],
}

impl Default for RandomErasing {
    /// torchvision's numbers: half of the pictures lose 2 to 33 % of their area.
    fn default() -> Self {
        Self { probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3] }
    }
}

/// Takes a square out of the picture, whose middle is any of its pixels; what would lie outside is cut off
/// (DeVries & Taylor 2017).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutout {
    /// Rows and columns of the square.
    pub side: u16,
}

impl Cutout {
    /// What to take out of a picture of this size.
    pub fn draw(&self, height: usize, width: usize, generator: &mut Generator) -> Rectangle {
        let side = usize::from(self.side);
        let mut span = |length: usize| {
            let middle = generator.below(length.max(1));
            let start = middle.saturating_sub(side / 2);
            (start, (middle + side - side / 2).min(length) - start)
        };
        let ((top, rows), (left, columns)) = (span(height), span(width));
        Rectangle { top, left, height: rows, width: columns }
    }

    /// The picture, in which the square is black.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Picture {
        self.draw(image.height(), image.width(), generator).taken_out_of(image)
    }
}

/// Rows and columns of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rectangle {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// How many rows.
    pub height: usize,
    /// How many columns.
    pub width: usize,
}

impl RandomErasing {
    /// What to take out of a picture of this size, if anything.
    pub fn draw(&self, height: usize, width: usize, generator: &mut Generator) -> Option<Rectangle> {
        const TRIES: usize = 10;
        if !generator.chance(self.probability) {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let whole = height as f64 * width as f64;
            let (area, ratio) = draw_rectangle(whole, self.scale, self.ratio, generator);
            let (rows, columns) = (rounded((area * ratio).sqrt()), rounded((area / ratio).sqrt()));
            (rows < height && columns < width).then(|| {
                let top = generator.below(height - rows + 1);
                let left = generator.below(width - columns + 1);
                Rectangle { top, left, height: rows, width: columns }
            })
        })
    }

    /// The picture, in which the rectangle is black.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Picture {
        let erased = self.draw(image.height(), image.width(), generator);
        erased.map_or_else(|| image.clone(), |erased| erased.taken_out_of(image))
    }
}

impl Rectangle {
    /// The picture, black here.
    fn taken_out_of(&self, image: &Picture) -> Picture {
        image.filled_from(|row, column| {
            (!self.contains(row, column)).then_some([row as isize, column as isize])
        })
    }

    fn contains(&self, row: usize, column: usize) -> bool {
        (self.top..self.top + self.height).contains(&row)
            && (self.left..self.left + self.width).contains(&column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    #[test]
    fn half_of_the_pictures_lose_a_part() {
        let (mut generator, erasing) = (Generator::new(1), RandomErasing::default());
        let drawn: Vec<Rectangle> = (0..2000).filter_map(|_| erasing.draw(100, 80, &mut generator)).collect();
        assert!((900..1100).contains(&drawn.len()), "{}", drawn.len());
        for Rectangle { top, left, height, width } in drawn {
            assert!(top + height <= 100 && left + width <= 80 && height < 100 && width < 80);
            let part = (height * width) as f64 / 8000.0;
            assert!((0.015..0.335).contains(&part), "{part}");
        }
    }

    #[test]
    fn squares_are_cut_off_at_the_edge() {
        let mut generator = Generator::new(1);
        let drawn: Vec<Rectangle> =
            (0..2000).map(|_| Cutout { side: 5 }.draw(9, 7, &mut generator)).collect();
        assert!(drawn.iter().all(|r| r.top + r.height <= 9 && r.left + r.width <= 7));
        // The middle of the square is every pixel equally often: 5 of 9 rows leave it whole.
        let whole = drawn.iter().filter(|r| r.height == 5).count();
        assert!((1000..1220).contains(&whole), "{whole} of 2000");
        assert_eq!(drawn.iter().map(|r| r.height).min(), Some(3));
        let picture = Picture::new(ImageShape::new(1, 1, 1), vec![7]).unwrap();
        assert_eq!(Cutout { side: 4 }.apply(&picture, &mut generator).pixels(), [0]);
    }

    #[test]
    fn what_is_erased_is_black_and_nothing_else() {
        let picture = Picture::new(ImageShape::new(3, 16, 16), vec![255; 768]).unwrap();
        let erasing = RandomErasing { probability: 1.0, ..RandomErasing::default() };
        let Rectangle { height, width, .. } = erasing.draw(16, 16, &mut Generator::new(5)).unwrap();
        let erased = erasing.apply(&picture, &mut Generator::new(5));
        assert_eq!(erased.pixels().iter().filter(|&&value| value == 0).count(), 3 * height * width);
        // Nothing smaller than a picture of one pixel exists.
        let pixel = Picture::new(ImageShape::new(1, 1, 1), vec![7]).unwrap();
        assert_eq!(erasing.apply(&pixel, &mut Generator::new(5)), pixel);
    }
}
