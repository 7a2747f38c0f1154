//! What the command draws: explanations, networks, experiments.

mod place;

use std::{fs, path::Path};

use place::{Place, trained};
use residual_data::Picture;

#[test]
fn an_explanation_is_a_picture_for_any_class_and_stage() {
    let place = trained();
    let explain = "explain run/best.safetensors run/sample.png";
    let told = place.json(&format!("{explain} --class happy --stage layer1 --out where.png"));
    assert_eq!((&told["class"], &told["stage"]), (&"happy".into(), &"layer1".into()));
    let rows = told["map"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0].as_array().unwrap().len()), (16, 16));
    let drawn = Picture::open(place.path("where.png")).unwrap();
    assert!(drawn.width() > 2 * drawn.height() && drawn.channels() == 3);

    let told = place.succeeds(explain);
    assert!(told.contains("at layer2 (8×8 positions)") && told.contains("explanation.png"), "{told}");
    assert!(
        place
            .fails(&format!("{explain} --class glad"), 1)
            .contains("there is no class 'glad': the classes are")
    );
    assert!(place.fails(&format!("{explain} --stage layer9"), 1).contains("such as layer1, layer2"));
}

#[test]
fn a_network_is_drawn_beside_its_summary() {
    let place = Place::new();
    let told = place.succeeds("summary cifar_resnet20 --svg net.svg");
    assert!(told.contains("269,722"), "{told}");
    let svg = fs::read_to_string(place.path("net.svg")).unwrap();
    assert!(svg.contains("3×3 conv, 16") && svg.contains("16×32×32") && svg.contains("fc, 10"), "{svg}");
    assert!(place.fails("summary cifar_resnet20 --svg nowhere/net.svg", 1).contains("nowhere/net.svg"));
}

#[test]
fn an_experiment_leaves_a_page_with_its_drawings_and_tables() {
    let place = Place::new();
    let listed = place.succeeds("experiment");
    assert!(listed.contains("gradients") && listed.contains("depth-1000"), "{listed}");

    let told = place.json("experiment bias --out bias");
    assert_eq!(told["experiment"], "bias");
    let statements = told["statements"].as_array().unwrap();
    let claims: Vec<_> = statements.iter().filter(|statement| !statement["holds"].is_null()).collect();
    assert!(claims.len() == 2 && claims.iter().all(|claim| claim["holds"] == true), "{told}");
    let page = fs::read_to_string(place.path("bias/report.html")).unwrap();
    for claim in claims {
        assert!(page.contains(claim["text"].as_str().unwrap()), "{claim}");
    }
    assert!(page.contains("residual experiment bias --quick --data faces --seed 0"));
    let table = fs::read_to_string(place.path("bias/bias.csv")).unwrap();
    assert_eq!(table.lines().count(), 6);
    assert!(fs::read_to_string(place.path("bias/bias.svg")).unwrap().starts_with("<svg"));

    // What else is in the folder stays there.
    fs::create_dir(place.path("bias/trainings")).unwrap();
    fs::write(place.path("bias/trainings/mine.txt"), "").unwrap();
    place.succeeds("experiment bias --full --out bias");
    assert!(place.path("bias/trainings/mine.txt").exists());
    let few = place.fails("experiment gradients --data faces:train=14,test=0", 1);
    assert!(few.contains("does not suit an experiment: 0 pictures"), "{few}");

    assert!(
        place
            .fails("experiment biass", 2)
            .contains("there is no experiment 'biass'; write one of gradients,")
    );
}

#[test]
fn a_photo_needs_no_checkpoint() {
    let place = Place::new();
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../residual-emotions/tests/data/astronaut.jpg");
    fs::copy(photo, place.path("astronaut.jpg")).unwrap();
    let told = place.succeeds("predict astronaut.jpg");
    assert!(told.contains("astronaut.jpg: face of ") && told.contains("happy"), "{told}");
    let told = place.json("predict astronaut.jpg --top 7");
    assert_eq!(
        (&told["model"], &told["pictures"][0]["classes"][0]["class"]),
        (&"emotions".into(), &"happy".into())
    );
    assert_eq!(told["card"]["samples"], 3589);
    assert!(told["pictures"][0]["face"]["side"].as_u64().unwrap() > 50, "{told}");

    // The same network by its name, and without looking for faces.
    let whole = place.json("predict emotions astronaut.jpg --faces=no --tta none");
    assert!(whole["pictures"][0].get("face").is_none(), "{whole}");
    // Its card is about other views.
    assert!(whole.get("card").is_none(), "{whole}");
    let rows = place.succeeds("predict astronaut.jpg --csv --top 1");
    let rows: Vec<_> = rows.lines().collect();
    assert_eq!((rows.len(), rows[0]), (2, "path,left,top,side,rank,class,probability"));
    assert!(rows[1].starts_with("astronaut.jpg,") && rows[1].contains(",1,happy,0."), "{rows:?}");

    // No face: the whole picture, and it says so.
    Picture::open(place.path("astronaut.jpg"))
        .unwrap()
        .crop(0, 0, 60, 60)
        .unwrap()
        .save_png(place.path("wall.png"))
        .unwrap();
    assert!(place.succeeds("predict wall.png").contains("no face found, the whole picture"));
    let both = place.succeeds("predict astronaut.jpg wall.png");
    assert!(both.contains("face of") && both.contains("no face found"), "{both}");

    assert!(place.succeeds("explain astronaut.jpg").contains("happy"));
    place.succeeds("convert emotions emotions.onnx");
    place.succeeds("convert emotions copy.safetensors --half");
    assert!(fs::metadata(place.path("copy.safetensors")).unwrap().len() < 1_500_000);
    let copy = place.json("predict copy.safetensors astronaut.jpg --faces --tta ten-crop:2 --top 7");
    assert_eq!(copy["pictures"], told["pictures"]);

    // A folder of that name holds pictures, and is no network.
    fs::create_dir(place.path("emotions")).unwrap();
    fs::copy(place.path("wall.png"), place.path("emotions/wall.png")).unwrap();
    assert!(place.succeeds("predict emotions").contains("no face found"));
    fs::remove_dir_all(place.path("emotions")).unwrap();

    assert!(place.fails("predict emotions", 2).contains("which pictures?"));
    assert!(place.fails("predict missing.png", 1).contains("1 of 1 pictures could not be read"));
    assert!(place.fails("explain astronaut.jpg wall.png", 2).contains("one picture"));
    assert!(place.fails("convert emotions small.onnx --half", 2).contains("--half"));
}

#[test]
fn runs_are_put_beside_each_other() {
    let place = trained();
    place.succeeds("train --data faces:70 --batch 14 --input 12x12 --epochs 1 --model cifar_resnet8 --lr 0.05 --out other");
    let told = place.succeeds("compare run other --svg runs.svg");
    for part in ["cifar_resnet8", "Settings that differ", "optimizer.learning_rate", "0.05", "runs.svg"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let svg = fs::read_to_string(place.path("runs.svg")).unwrap();
    assert!(svg.contains("run, validation") && svg.contains("other, training"), "{svg}");
    let compared = place.json("compare other run");
    assert_eq!((&compared["runs"][0]["run"], &compared["runs"][0]["epochs"]), (&"other".into(), &1.into()));
    assert!(place.fails("compare nowhere", 1).contains("config.toml"));
    // A run in its first epoch has no figures yet, and a folder that is no run is left out.
    fs::create_dir_all(place.path("begun")).unwrap();
    fs::copy(place.path("run/config.toml"), place.path("begun/config.toml")).unwrap();
    let compared = place.json("compare run begun nowhere");
    assert_eq!(compared["runs"].as_array().unwrap().len(), 2);
    assert!(place.fails("compare nowhere elsewhere", 2).contains("none of these folders holds a run"));
    assert_eq!((&compared["runs"][1]["epochs"], &compared["runs"][1]["seconds"]), (&0.into(), &0.0.into()));
}

#[test]
fn a_dashboard_needs_a_terminal_and_rates_are_drawn() {
    let place = trained();
    assert!(place.fails("train --tui --out dashboard", 2).contains("--tui needs a terminal"));
    assert!(!place.path("dashboard").exists());
    let told = place
        .succeeds("train --data faces:70 --batch 14 --input 12x12 --model tiny.toml --lr-find=rates.svg");
    assert!(told.contains("rates.svg"), "{told}");
    assert!(fs::read_to_string(place.path("rates.svg")).unwrap().contains("falls most steeply"));
}
