//! A small picture that shapes are painted on. A shape is a signed distance: negative inside.
//! How much of a pixel it covers follows from the distance of the pixel's middle, which gives
//! smooth edges without drawing at a higher resolution.

use residual_tensor::Generator;

use super::between;

/// Pixels on each side.
pub(super) const SIDE: usize = 48;

/// Where the camera stands: from pixels to the face's coordinates (x to the right, y down, half
/// a head's height is 1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    /// Pixels in half a head's height.
    pub(super) scale: f32,
    /// Tangent of the angle by which the head is tilted.
    pub(super) tilt: f32,
    /// Pixels by which the head is off the middle.
    pub(super) shift: [f32; 2],
    /// How much nearer one side is than the other.
    pub(super) perspective: [f32; 2],
}

pub(super) struct Canvas {
    pixels: Vec<f32>,
    /// Each pixel's middle in the face's coordinates.
    points: Vec<[f32; 2]>,
    /// A pixel's width in the face's coordinates.
    pixel: f32,
}

/// A part of the face: where its middle is, and how far it reaches to each side. Nothing beyond
/// is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) at: [f32; 2],
    pub(super) reach: [f32; 2],
}

impl Canvas {
    pub(super) fn new(pose: &Pose) -> Self {
        let cos = 1.0 / (1.0 + pose.tilt * pose.tilt).sqrt();
        let sin = pose.tilt * cos;
        let middle = SIDE as f32 / 2.0;
        let point = |i: usize| {
            let x = ((i % SIDE) as f32 + 0.5 - middle - pose.shift[0]) / pose.scale;
            let y = ((i / SIDE) as f32 + 0.5 - middle - pose.shift[1]) / pose.scale;
            let depth = 1.0 + pose.perspective[0] * x + pose.perspective[1] * y;
            [(cos * x + sin * y) / depth, (cos * y - sin * x) / depth]
        };
        let points = (0..SIDE * SIDE).map(point).collect();
        Self { pixels: vec![0.0; SIDE * SIDE], points, pixel: 1.0 / pose.scale }
    }

    /// Replaces each pixel by a function of itself and its place in the picture, −1 to 1.
    pub(super) fn relight(&mut self, light: impl Fn(f32, f32, f32) -> f32) {
        let place = |i: usize| (2 * i + 1) as f32 / SIDE as f32 - 1.0;
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            *pixel = light(*pixel, place(i % SIDE), place(i / SIDE));
        }
    }

    /// Paints a shape in one shade. `distance` gets coordinates relative to the part's middle.
    pub(super) fn paint(&mut self, part: Part, shade: f32, opacity: f32, distance: impl Fn(f32, f32) -> f32) {
        self.paint_shaded(part, |x, y| (shade, opacity, distance(x, y)));
    }

    /// Paints a shape whose shade and opacity vary: `shape` gives both, and the distance.
    pub(super) fn paint_shaded(&mut self, part: Part, shape: impl Fn(f32, f32) -> (f32, f32, f32)) {
        let [reach_x, reach_y] = part.reach.map(|reach| reach + self.pixel);
        for (pixel, point) in self.pixels.iter_mut().zip(&self.points) {
            let (x, y) = (point[0] - part.at[0], point[1] - part.at[1]);
            if x.abs() < reach_x && y.abs() < reach_y {
                let (shade, opacity, distance) = shape(x, y);
                let cover = opacity * (0.5 - distance / self.pixel).clamp(0.0, 1.0);
                *pixel += cover * (shade - *pixel);
            }
        }
    }

    /// Mixes each pixel with its neighbours to the sides, then above and below.
    pub(super) fn blur(&mut self, share: f32) {
        for [stride, across] in [[1, SIDE], [SIDE, 1]] {
            for line in 0..SIDE {
                let at = |i: usize| line * across + i * stride;
                let mut before = self.pixels[at(0)];
                for i in 0..SIDE {
                    let here = self.pixels[at(i)];
                    let after = self.pixels[at((i + 1).min(SIDE - 1))];
                    self.pixels[at(i)] = here + share * (before + after - 2.0 * here);
                    before = here;
                }
            }
        }
    }

    /// Adds noise of about this deviation.
    pub(super) fn add_noise(&mut self, deviation: f32, generator: &mut Generator) {
        // Two uniform numbers: a triangle, whose variance is a sixth of its half-width squared.
        let half = deviation * 6f32.sqrt() / 2.0;
        for pixel in &mut self.pixels {
            *pixel += between(generator, -half, half) + between(generator, -half, half);
        }
    }

    /// The picture in bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.pixels.into_iter().map(|shade| (shade * 255.0 + 0.5).clamp(0.0, 255.0) as u8).collect()
    }
}

/// About the distance from an ellipse around the origin; exact for a circle.
pub(super) fn ellipse(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    let (u, v) = (x / half_width, y / half_height);
    let k = (u * u + v * v).sqrt();
    let slope = ((u / half_width) * (u / half_width) + (v / half_height) * (v / half_height)).sqrt();
    if slope < 1e-6 { -half_width.min(half_height) } else { k * (k - 1.0) / slope }
}

/// The distance from a line between two points with round ends.
pub(super) fn stroke(x: f32, y: f32, from: [f32; 2], to: [f32; 2], half_thickness: f32) -> f32 {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let (px, py) = (x - from[0], y - from[1]);
    let along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    let (ox, oy) = (px - along * dx, py - along * dy);
    (ox * ox + oy * oy).sqrt() - half_thickness
}
