//! The faces in a photo and what they show: `cargo run --release -p residual-emotions --example photo -- PHOTO`.

use residual_emotions::{Card, FaceFinder, classifier};
use residual_model::Picture;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("which photo?")?;
    let photo = Picture::open(path)?;
    let emotions = classifier();
    for face in FaceFinder::new().find(&photo) {
        println!("{face}");
        for guess in emotions.predict(&face.picture(&photo)?)?.top(3) {
            println!("  {:5.1} % {}", 100.0 * guess.probability, guess.class);
        }
    }
    println!("The network was {}", Card::new());
    Ok(())
}
