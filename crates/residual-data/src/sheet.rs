//! A contact sheet: what a data set looks like, a row per class.

use crate::{DataError, Dataset, ImageShape, Picture, Preprocess, Result};

/// White between the pictures, in pixels.
const GAP: usize = 2;
/// Larger pictures are shrunk to this side.
const LARGEST_TILE: usize = 128;

/// The first pictures of each class side by side, a row per class in the order of the labels,
/// for at most `rows` classes and `columns` pictures of each.
///
/// # Errors
/// Whatever reading the pictures returns; [`DataError::Empty`] if there are none to show.
pub fn contact_sheet(dataset: &dyn Dataset, rows: usize, columns: usize) -> Result<Picture> {
    let rows = rows.min(dataset.classes().len());
    if rows * columns == 0 || dataset.is_empty() {
        return Err(DataError::Empty { name: dataset.name().into() });
    }
    let first = dataset.get(0)?.image.shape();
    let side = first.height.max(first.width).min(LARGEST_TILE);
    let tiles = Preprocess::new(ImageShape::new(3, side, side));
    let pitch = side + GAP;
    let shape = ImageShape::new(3, rows * pitch + GAP, columns * pitch + GAP);
    shape.check()?;
    let mut pixels = vec![255; shape.elements()];
    let mut filled = vec![0; rows];
    for index in 0..dataset.len() {
        let row = dataset.label(index)?;
        if row >= rows || filled[row] == columns {
            continue;
        }
        let tile = tiles.resize(dataset.get(index)?.image)?.centre_crop(side, side)?;
        let corner = (row * pitch + GAP) * shape.width + filled[row] * pitch + GAP;
        for (y, line) in tile.pixels().chunks_exact(3 * side).enumerate() {
            pixels[3 * (corner + y * shape.width)..][..3 * side].copy_from_slice(line);
        }
        filled[row] += 1;
        if filled.iter().all(|&count| count == columns) {
            break;
        }
    }
    Picture::new(shape, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InMemory;

    #[test]
    fn each_class_has_its_row() {
        let shape = ImageShape::new(1, 2, 2);
        let pixels = [10, 20, 30, 40].iter().flat_map(|&grey| [grey; 4]).collect();
        let data = InMemory::new("four", &["a", "b"], shape, pixels, vec![1, 0, 1, 1]).unwrap();
        let sheet = contact_sheet(&data, 9, 2).unwrap();
        assert_eq!(sheet.shape(), ImageShape::new(3, 10, 10));
        let at = |row: usize, column: usize| sheet.pixels()[3 * ((row * 4 + 2) * 10 + column * 4 + 2)];
        assert_eq!([at(0, 0), at(0, 1), at(1, 0), at(1, 1)], [20, 255, 10, 30]);
        assert!(contact_sheet(&data, 2, 0).is_err());
    }
}
