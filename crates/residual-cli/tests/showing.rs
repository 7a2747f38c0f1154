//! What the command draws: explanations, networks, experiments.

mod place;

use std::fs;

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

    assert!(
        place
            .fails("experiment biass", 2)
            .contains("there is no experiment 'biass'; write one of gradients,")
    );
}
