//! Measures where the face finder sees the faces of FER2013, which says how much around a face the network is
//! used to: `cargo run --release -p residual-emotions --example framing -- FER2013/train`.

use rayon::prelude::*;
use residual_data::{Interpolation, Picture, PictureFiles};
use residual_emotions::FaceFinder;

/// The pictures are enlarged by so much, with as large a margin of their edges on each side.
const ENLARGED: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder of pictures?")?;
    // Every fifth is plenty.
    let paths: Vec<_> = PictureFiles::below(folder)?.readable.into_iter().step_by(5).collect();
    let finder = FaceFinder::new();
    let measured: Vec<_> = paths
        .par_iter()
        .filter_map(|path| {
            let picture = Picture::open(path).ok()?;
            let side = picture.width() as isize;
            let around =
                picture.crop(-side / 4, -side / 4, side as usize * 3 / 2, side as usize * 3 / 2).ok()?;
            let large = around.width() * ENLARGED;
            let large = around.resize(large, large, Interpolation::Bilinear).ok()?;
            let face = *finder.find(&large).first()?;
            let scale = ENLARGED as f64 * side as f64;
            // In sides of the picture, from its own corner.
            let [top, left] = [face.top, face.left].map(|at| at as f64 / scale - 0.25);
            let size = face.side as f64 / scale;
            Some([size, left + size / 2.0, top + size / 2.0])
        })
        .collect();
    println!("a face is found in {} of {} pictures", measured.len(), paths.len());
    for (what, index) in [("side", 0), ("middle, from the left", 1), ("middle, from above", 2)] {
        let mut values: Vec<f64> = measured.iter().map(|of| of[index]).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[(share * (values.len() - 1) as f64) as usize];
        println!("{what}: median {:.3}, quartiles {:.3} and {:.3}", at(0.5), at(0.25), at(0.75));
    }
    Ok(())
}
