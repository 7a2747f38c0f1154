//! What pictures show, asked by as many threads as there are pictures:
//! `cargo run --release -p residual-model --example classify -- resnet50.pth cat.jpg dog.jpg`.

use std::thread;

use residual_model::{Classifier, Picture};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("name the file of a model, and pictures")?;
    let pictures: Vec<String> = arguments.collect();

    let model = Classifier::open(file)?;
    thread::scope(|scope| {
        for path in &pictures {
            let model = &model;
            scope.spawn(move || {
                match Picture::open(path).map_err(Into::into).and_then(|p| model.predict(&p)) {
                    Ok(prediction) => {
                        let top = prediction.top(3).into_iter();
                        let top =
                            top.map(|guess| format!("{} {:.1} %", guess.class, 100.0 * guess.probability));
                        println!("{path}: {}", top.collect::<Vec<_>>().join(", "));
                    }
                    Err(error) => eprintln!("{error}"),
                }
            });
        }
    });
    Ok(())
}
