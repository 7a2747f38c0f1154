//! Draws a subject with an expression: from the background to the noise, back to front.

use residual_tensor::Generator;

use super::{
    between,
    canvas::{Canvas, Part, Pose, ellipse, stroke},
    expression::Expression,
    subject::{HairStyle, Subject},
};

/// Heights of the neutral parts, counted downwards from the middle of the head.
const EYES: f32 = -0.12;
const BROWS: f32 = -0.40;
const NOSE: f32 = 0.12;
const MOUTH: f32 = 0.52;

/// The bytes of a portrait.
pub(super) fn draw(subject: &Subject, expression: &Expression, generator: &mut Generator) -> Vec<u8> {
    let pose = Pose {
        scale: between(generator, 17.0, 22.0),
        tilt: between(generator, -0.27, 0.27),
        shift: [between(generator, -3.5, 3.5), between(generator, -3.0, 3.0)],
        perspective: [between(generator, -0.12, 0.12), between(generator, -0.12, 0.12)],
    };
    // The head is turned a little: its features move against its outline.
    let turn = [between(generator, -0.13, 0.13), between(generator, -0.07, 0.07)];
    let mut portrait = Portrait { canvas: Canvas::new(&pose), subject, expression, turn };
    portrait.background(generator);
    portrait.head();
    portrait.beard();
    portrait.eyes(generator);
    portrait.brows();
    portrait.nose();
    portrait.mouth();
    portrait.hair(generator);
    portrait.glasses();
    portrait.occlude(generator);
    portrait.develop(generator)
}

struct Portrait<'a> {
    canvas: Canvas,
    subject: &'a Subject,
    expression: &'a Expression,
    turn: [f32; 2],
}

impl Portrait<'_> {
    /// A part that moves with the head's turn.
    fn part(&self, x: f32, y: f32, reach_x: f32, reach_y: f32) -> Part {
        Part { at: [x + self.turn[0], y + self.turn[1]], reach: [reach_x, reach_y] }
    }

    fn background(&mut self, generator: &mut Generator) {
        let shade = between(generator, 0.05, 0.95);
        let slope = [between(generator, -0.25, 0.25), between(generator, -0.25, 0.25)];
        self.canvas.relight(|_, x, y| shade + slope[0] * x + slope[1] * y);
    }

    fn head(&mut self) {
        let s = self.subject;
        if s.hair_style == HairStyle::Long {
            let back = Part { at: [0.0, 0.1], reach: [s.head_width + 0.25, 1.35] };
            self.canvas.paint(back, s.hair * 0.85, 1.0, |x, y| ellipse(x, y, s.head_width + 0.2, 1.25));
        }
        let neck = Part { at: [0.0, 1.3], reach: [0.4, 0.6] };
        self.canvas.paint(neck, s.skin * 0.75, 1.0, |x, _| x.abs() - 0.36);
        for side in [-1.0, 1.0] {
            let ear = Part { at: [side * s.head_width, 0.0], reach: [0.2, 0.25] };
            self.canvas.paint(ear, s.skin * 0.85, 1.0, |x, y| ellipse(x, y, 0.13, 0.2));
        }
        let whole = Part { at: [0.0, 0.0], reach: [s.head_width, 1.0] };
        self.canvas.paint_shaded(whole, |x, y| {
            let outline = head_outline(x, y, s);
            // Darker towards the outline, as round things are.
            let depth = (1.0 + outline / 0.5).clamp(0.0, 1.0);
            (s.skin * (1.0 - 0.22 * depth * depth), 1.0, outline)
        });
    }

    fn beard(&mut self) {
        let s = self.subject;
        if s.beard == 0.0 {
            return;
        }
        let chin = Part { at: [0.0, 0.55], reach: [s.head_width, 0.5] };
        let [turn_x, turn_y] = self.turn;
        self.canvas.paint(chin, s.hair, s.beard, |x, y| {
            // The head below the cheeks, without the region of the mouth.
            let cheeks = 0.05 - y - 0.25 * (x / s.head_width) * (x / s.head_width);
            let mouth = ellipse(x - turn_x, y + 0.55 - MOUTH - turn_y, 0.42, 0.24);
            head_outline(x, y + 0.55, s).max(cheeks).max(-mouth)
        });
    }

    fn eyes(&mut self, generator: &mut Generator) {
        let (s, e) = (self.subject, self.expression);
        let gaze = [between(generator, -0.07, 0.07), between(generator, -0.03, 0.03)];
        let white = between(generator, 0.85, 1.0);
        let outline = s.skin * 0.3;
        for side in [-1.0, 1.0] {
            let part = self.part(side * s.eye_distance, EYES, s.eye_width + 0.06, 0.36);
            let lids = |x: f32, y: f32| {
                let u = x / s.eye_width;
                let bow = (1.0 - u * u).max(0.0);
                (-y - e.upper_lid * bow).max(y - e.lower_lid * bow).max(x.abs() - s.eye_width)
            };
            self.canvas.paint(part, outline, 1.0, |x, y| lids(x, y) - 0.035);
            self.canvas.paint(part, white, 1.0, |x, y| lids(x, y) + 0.015);
            self.canvas.paint(part, s.iris, 1.0, |x, y| {
                ellipse(x - gaze[0], y - gaze[1], 0.095, 0.095).max(lids(x, y) + 0.01)
            });
        }
    }

    fn brows(&mut self) {
        let (s, e) = (self.subject, self.expression);
        // Bald heads keep their brows; fair ones are darkened to be seen on any skin.
        let shade = if s.hair > s.skin { s.hair.max(s.skin + 0.3) } else { s.hair.min(s.skin * 0.35) };
        for side in [-1.0, 1.0] {
            let part = self.part(side * s.eye_distance, BROWS, 0.32, 0.4);
            self.canvas.paint(part, shade, 1.0, |x, y| {
                // From 0 beside the nose to 1 at the outer end.
                let along = (side * x + 0.22) / 0.46;
                let u = along.clamp(0.0, 1.0);
                let height =
                    e.brow_inner + u * (e.brow_outer - e.brow_inner) + 4.0 * u * (1.0 - u) * e.brow_arch;
                let beyond = 0.46 * (along - u);
                let off = y + height;
                (off * off + beyond * beyond).sqrt() - s.brow_thickness * (1.0 - 0.35 * u)
            });
        }
    }

    fn nose(&mut self) {
        let (s, e) = (self.subject, self.expression);
        let shade = s.skin * 0.6;
        let part = self.part(0.0, NOSE, 0.4, 0.4);
        let tip = s.nose_length / 2.0;
        self.canvas.paint(part, shade, 0.9, |x, y| {
            let ridge = stroke(x, y, [0.02, -tip], [s.nose_width, tip], 0.02);
            ridge.min(stroke(x, y, [s.nose_width, tip], [-s.nose_width, tip], 0.028))
        });
        if e.wrinkles > 0.0 {
            self.canvas.paint(part, s.skin * 0.4, e.wrinkles.min(1.0), |x, y| {
                // Across the bridge, and from the nostrils down to the mouth's corners.
                let x = x.abs();
                let bridge = stroke(x, y, [0.0, -0.16], [0.11, -0.22], 0.022);
                let fold = stroke(x, y, [0.19, 0.02], [0.34, 0.3], 0.025);
                bridge.min(fold)
            });
        }
    }

    fn mouth(&mut self) {
        let (s, e) = (self.subject, self.expression);
        let part = self.part(0.0, MOUTH, e.mouth_width + 0.08, 0.48);
        // The edges of the opening: corners on a parabola, lips on a second one around it.
        let edges = |x: f32| {
            let u = (x / e.mouth_width).clamp(-1.0, 1.0);
            let (corner, bow) = (u * u, (1.0 - u * u).sqrt());
            let middle = e.mouth_lift * (0.5 - corner);
            (middle - (e.mouth_open + e.sneer) * bow, middle + e.mouth_open * bow, e.sneer * bow)
        };
        let opening = |x: f32, y: f32| {
            let (top, bottom, lip) = edges(x);
            // The slope of the parabola makes vertical distances too long.
            let slope = 2.0 * e.mouth_lift * x / (e.mouth_width * e.mouth_width);
            let across = 1.0 / (1.0 + slope * slope).sqrt();
            ((top + lip - y).max(y - bottom) * across).max(x.abs() - e.mouth_width)
        };
        self.canvas.paint(part, s.lips, 1.0, |x, y| opening(x, y) - 0.05);
        if e.mouth_open > 0.02 {
            self.canvas.paint(part, 0.06, 1.0, opening);
            let height = 2.0 * e.mouth_open * e.teeth;
            self.canvas.paint(part, 0.95, 1.0, |x, y| {
                let (top, _, lip) = edges(x);
                opening(x, y).max(y - top - lip - height) + 0.02
            });
        } else {
            self.canvas.paint(part, s.lips * 0.4, 1.0, |x, y| opening(x, y) - 0.022);
        }
    }

    fn hair(&mut self, generator: &mut Generator) {
        let s = self.subject;
        let parting = between(generator, -0.5, 0.5);
        let crown = Part { at: [0.0, -0.4], reach: [s.head_width + 0.12, 0.75] };
        let lift = match s.hair_style {
            HairStyle::Bald => return,
            HairStyle::Short | HairStyle::Long => 0.0,
            HairStyle::Fringe => 0.35,
        };
        self.canvas.paint(crown, s.hair, 1.0, |x, y| {
            let y = y - 0.4;
            let u = x / s.head_width;
            let line = y + s.hairline - 0.2 * u * u - 0.5 * u * u * u * u - lift * parting * u;
            ellipse(x, y, s.head_width + 0.06, 1.07).max(line)
        });
    }

    fn glasses(&mut self) {
        let s = self.subject;
        let Some(glasses) = s.glasses else { return };
        for side in [-1.0, 1.0] {
            let part = self.part(side * s.eye_distance, EYES, 0.5, 0.4);
            self.canvas.paint(part, 0.9, glasses.glare, |x, y| {
                ellipse(x, y, glasses.radius, glasses.radius).max((x + y).abs() - 0.08)
            });
            self.canvas.paint(part, glasses.frame, 1.0, |x, y| {
                let rim = ellipse(x, y, glasses.radius, glasses.radius).abs() - 0.022;
                let gap = s.eye_distance - glasses.radius;
                rim.min(stroke(-side * x, y, [glasses.radius, 0.0], [glasses.radius + gap, -0.03], 0.022))
            });
        }
    }

    /// Something in front of the face, now and then: a bar or a hand, on one side.
    fn occlude(&mut self, generator: &mut Generator) {
        if !generator.chance(0.18) {
            return;
        }
        let shade = between(generator, 0.05, 0.95);
        let side = if generator.chance(0.5) { 1.0 } else { -1.0 };
        let lean = between(generator, -0.25, 0.25);
        if generator.chance(0.5) {
            let middle = side * between(generator, 0.45, 0.9);
            let half = between(generator, 0.1, 0.2);
            let everywhere = Part { at: [0.0, 0.0], reach: [3.0, 3.0] };
            self.canvas.paint(everywhere, shade, 1.0, |x, y| (x - middle - lean * y).abs() - half);
            return;
        }
        let skin = self.subject.skin * between(generator, 0.8, 1.0);
        let wrist = Part { at: [side * 0.75, between(generator, 0.35, 0.9)], reach: [0.7, 0.8] };
        for finger in 0..4 {
            let spread = finger as f32 - 1.5;
            let tip = [-side * 0.1 + 0.17 * spread + lean, -0.5 + 0.05 * spread * spread];
            let root = [0.15 * spread, 0.1];
            self.canvas.paint(wrist, skin * 0.6, 1.0, |x, y| stroke(x, y, root, tip, 0.095));
            self.canvas.paint(wrist, skin, 1.0, |x, y| stroke(x, y, root, tip, 0.07));
        }
        self.canvas.paint(wrist, skin, 1.0, |x, y| ellipse(x, y - 0.3, 0.36, 0.34));
    }

    /// Light, focus and grain.
    fn develop(mut self, generator: &mut Generator) -> Vec<u8> {
        let light = [between(generator, -0.35, 0.35), between(generator, -0.35, 0.35)];
        let exposure = between(generator, 0.8, 1.15);
        let haze = between(generator, 0.0, 0.12);
        self.canvas.relight(|shade, x, y| {
            haze + (1.0 - haze) * exposure * shade * (1.0 + light[0] * x + light[1] * y)
        });
        let softness = between(generator, 0.0, 0.17);
        self.canvas.blur(softness);
        let grain = between(generator, 0.0, 0.04);
        self.canvas.add_noise(grain, generator);
        self.canvas.into_bytes()
    }
}

/// The distance from the outline of the head: an ellipse that is narrower at the chin.
fn head_outline(x: f32, y: f32, subject: &Subject) -> f32 {
    let taper = 1.0 - (0.28 - 0.22 * subject.jaw) * y.max(0.0);
    ellipse(x / taper, y, subject.head_width, 1.0) * taper
}
