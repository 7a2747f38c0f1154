//! How long pictures take to be resized, beside `fast_image_resize`: in turns, on one thread, so that a drifting
//! machine cancels out of the ratios. What it computes is nearly the same: its weights have 16 bits, Pillow's and
//! ours 22.
#![forbid(unsafe_code)]

use std::{error::Error, time::Instant};

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use residual_data::{ImageShape, Interpolation, Picture};

/// `[channels, height, width]` before, height and width after.
const CASES: [([usize; 3], [usize; 2]); 5] = [
    ([3, 375, 500], [256, 341]),
    ([3, 375, 500], [224, 224]),
    ([3, 1200, 1600], [256, 341]),
    ([3, 100, 100], [224, 224]),
    ([1, 375, 500], [256, 341]),
];
/// The fastest of so many turns counts.
const TURNS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:28} {:9} {:>8} {:>8} {:>6}", "picture", "", "ours ms", "fir ms", "ratio");
    for ([channels, height, width], [rows, columns]) in CASES {
        let shape = ImageShape::new(channels, height, width);
        let pixels: Vec<u8> = (0..shape.elements()).map(|i| ((i * i * 31 + i * 17) % 251) as u8).collect();
        let picture = Picture::new(shape, pixels.clone())?;
        let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
        let source = ImageRef::new(width as u32, height as u32, &pixels, kind)?;
        let mut resizer = Resizer::new();
        for (name, ours, theirs) in [
            ("bilinear", Interpolation::Bilinear, FilterType::Bilinear),
            ("bicubic", Interpolation::Bicubic, FilterType::CatmullRom),
        ] {
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(theirs));
            let mut best = [f64::INFINITY; 2];
            for _ in 0..TURNS {
                let start = Instant::now();
                let resized = picture.resize(rows, columns, ours)?;
                best[0] = best[0].min(start.elapsed().as_secs_f64() * 1e3);
                let start = Instant::now();
                let mut image = Image::new(columns as u32, rows as u32, kind);
                resizer.resize(&source, &mut image, &options)?;
                best[1] = best[1].min(start.elapsed().as_secs_f64() * 1e3);
                let levels = resized.pixels().iter().zip(image.buffer()).map(|(a, b)| a.abs_diff(*b));
                let far = levels.map(f64::from).sum::<f64>() / resized.pixels().len() as f64;
                assert!(far < 1.0, "they differ by {far} levels");
            }
            let case = format!("{channels}×{height}×{width} to {rows}×{columns}");
            println!("{case:28} {name:9} {:8.3} {:8.3} {:6.2}", best[0], best[1], best[0] / best[1]);
        }
    }
    Ok(())
}
