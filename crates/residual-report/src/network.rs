//! A network as a drawing in the manner of the paper's figure 3 (He et al. 2015): a box for each convolution,
//! pooling and classifier, shortcuts as arcs beside them, solid where they pass their input on as it is and
//! dashed where they change its shape. Read from the graph, so that every network can be drawn.

use std::fmt::Write;

use residual_nn::{Graph, Node, Pattern, Trace};
use residual_tensor::{Float, Shape};

/// From one box to the next, and the height of a box.
const ROW: usize = 34;
const BOX: usize = 22;
/// Room for the shapes at the left of the boxes, the width of a box, and room for arcs at the right.
const SHAPES: usize = 104;
const WIDTH: usize = 190;
const ARCS: usize = 170;
const COLUMN: usize = SHAPES + WIDTH + ARCS;
const TOP: usize = 96;
/// More rows than this go on in the next column, where no shortcut is cut.
const ROWS: usize = 42;
/// In networks of more boxes, long runs of equal blocks are drawn in part.
const MOST_BOXES: usize = 84;
/// Blocks that stay of such a run: two at its beginning and one at its end.
const KEPT: usize = 3;

/// Fills and outlines of boxes, by the size of what they give.
const COLOURS: [[&str; 2]; 6] = [
    ["#ede9fe", "#7c3aed"],
    ["#dcfce7", "#16a34a"],
    ["#fce7f3", "#db2777"],
    ["#dbeafe", "#2563eb"],
    ["#fef3c7", "#d97706"],
    ["#e0f2fe", "#0284c7"],
];

/// A box, or the mark of blocks that are left out.
struct Row {
    label: String,
    /// What it gives, in short; nothing for a mark.
    shape: String,
    colour: Option<usize>,
}

/// A shortcut: behind which row it leaves the main path, behind which it comes back.
struct Arc {
    from: usize,
    to: usize,
    /// What is done on it; nothing for the identity.
    label: String,
}

/// Draws a network with the shapes that `trace` has worked out for it.
pub fn network_svg<T: Float>(name: &str, graph: &Graph<T>, trace: &Trace) -> String {
    let (rows, arcs) = plan(graph, trace);
    let places = places(&rows, &arcs);
    let columns = places.last().map_or(1, |place| place.0 + 1);
    let longest = places.iter().map(|place| place.1 + 1).max().unwrap_or(1);
    let (width, height) = (columns * COLUMN + 24, TOP + longest * ROW + 16);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"12.5\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"24\" y=\"26\" font-size=\"17\" font-weight=\"600\" fill=\"#1f2937\">{}</text>\n\
         <text x=\"24\" y=\"45\" font-size=\"12\" fill=\"#6b7280\">solid: identity · dashed: changes the shape</text>\n\
         <text x=\"24\" y=\"60\" font-size=\"12\" fill=\"#6b7280\">batch normalization and ReLU are not drawn</text>\n",
        escaped(name)
    );
    let x = |row: usize| 24 + places[row].0 * COLUMN + SHAPES;
    let y = |row: usize| TOP + places[row].1 * ROW;
    for row in 1..rows.len() {
        draw_edge(&mut svg, [x(row - 1), y(row - 1)], [x(row), y(row)], &rows[row - 1].shape);
    }
    for (row, drawn) in rows.iter().enumerate() {
        draw_row(&mut svg, [x(row), y(row)], drawn);
    }
    for arc in &arcs {
        // A block at the top of a column takes its input from the edge that arrives there.
        let is_here = places[arc.from].0 == places[arc.to].0;
        let start = if is_here { y(arc.from) + BOX + 3 } else { TOP - 9 };
        draw_arc(&mut svg, x(arc.to), [start, y(arc.to) + BOX + 3], &arc.label);
    }
    svg + "</svg>\n"
}

/// Boxes from the input to the output along first inputs, which are those of the main path, and the
/// shortcuts between them.
fn plan<T: Float>(graph: &Graph<T>, trace: &Trace) -> (Vec<Row>, Vec<Arc>) {
    let mut chain = vec![graph.output()];
    while let Some(&before) = graph.node(chain[chain.len() - 1]).inputs.first() {
        chain.push(before);
    }
    chain.reverse();
    let is_left_out = left_out(graph, trace, &chain);

    let mut rows: Vec<Row> = Vec::new();
    let mut arcs = Vec::new();
    // The row behind which each node of the main path is.
    let mut behind: Vec<Option<usize>> = vec![None; graph.nodes().len()];
    let mut sizes: Vec<Vec<usize>> = Vec::new();
    let mut skipped = Vec::new();
    for &node in &chain {
        let shape = &trace.shapes[node.index()];
        if is_left_out[node.index()] {
            let block = graph
                .scopes()
                .iter()
                .find(|scope| is_block(scope.kind) && scope.nodes.contains(&node.index()));
            let block = block.map(|scope| scope.path.clone()).unwrap_or_default();
            if skipped.is_empty() {
                let shape = rows.last().map(|row: &Row| row.shape.clone()).unwrap_or_default();
                rows.push(Row { label: String::new(), shape, colour: None });
            }
            if skipped.last() != Some(&block) {
                skipped.push(block);
                let label = format!("… {} more blocks like these …", skipped.len());
                rows.last_mut().into_iter().for_each(|row| row.label.clone_from(&label));
            }
        } else {
            skipped.clear();
            if let Some(label) = label(graph, node, shape) {
                let size = shape.iter().skip(2).copied().collect::<Vec<_>>();
                if sizes.last() != Some(&size) {
                    sizes.push(size);
                }
                let is_input = node.index() == 0;
                let colour = (!is_input).then_some((sizes.len() + COLOURS.len() - 1) % COLOURS.len());
                rows.push(Row { label, shape: short(shape), colour });
            }
            match graph.node(node).operation.as_deref().map(|operation| operation.name()) {
                Some("add") => arcs.extend(arc(graph, trace, node, &behind, rows.len() - 1)),
                Some("mul") => rows.last_mut().into_iter().for_each(|row| row.label += " · gated"),
                _ => {}
            }
        }
        behind[node.index()] = Some(rows.len().saturating_sub(1));
    }
    (rows, arcs)
}

/// What stands in the box of a node; nothing for what has none.
fn label<T: Float>(graph: &Graph<T>, node: Node, shape: &Shape) -> Option<String> {
    let Some(operation) = &graph.node(node).operation else { return Some("input".to_owned()) };
    Some(match (graph.pattern(node), operation.name()) {
        (Pattern::Conv2d(convolution), _) => {
            let geometry = convolution.geometry();
            let [height, width] = geometry.kernel;
            let stride = geometry.stride.iter().max().copied().unwrap_or(1);
            let stride = if stride > 1 { format!(", /{stride}") } else { String::new() };
            let groups =
                if geometry.groups > 1 { format!(", {} groups", geometry.groups) } else { String::new() };
            format!("{height}×{width} conv, {}{stride}{groups}", shape[1])
        }
        (Pattern::Linear(_), _) => format!("fc, {}", shape.last().copied().unwrap_or(0)),
        (Pattern::BatchNorm2d(_) | Pattern::Add | Pattern::Relu, _) | (_, "mul" | "sigmoid") => return None,
        (_, "global_avg_pool") => "avg pool".to_owned(),
        (_, "subsample_pad") => "zero channels, ".to_owned() + &operation.detail().replace("stride ", "/"),
        (_, name) => {
            let name = name.replace('_', " ").replace("2d", "");
            [name.as_str(), &operation.detail()].join(" ").trim_end().replace(", stride ", ", /")
        }
    })
}

/// The shortcut that ends at an addition, if its beginning is on the main path and drawn.
fn arc<T: Float>(
    graph: &Graph<T>,
    trace: &Trace,
    add: Node,
    behind: &[Option<usize>],
    to: usize,
) -> Option<Arc> {
    let mut node = *graph.node(add).inputs.get(1)?;
    let mut labels = Vec::new();
    while behind[node.index()].is_none() {
        labels.extend(label(graph, node, &trace.shapes[node.index()]));
        node = *graph.node(node).inputs.first()?;
    }
    labels.reverse();
    Some(Arc { from: behind[node.index()]?, to, label: labels.join(" + ") })
}

fn is_block(kind: &str) -> bool {
    kind.ends_with("block")
}

/// Which nodes are not drawn: the inner blocks of long runs of equal ones, in networks of many boxes.
fn left_out<T: Float>(graph: &Graph<T>, trace: &Trace, chain: &[Node]) -> Vec<bool> {
    let mut is_left_out = vec![false; graph.nodes().len()];
    let labelled = |node: Node| label(graph, node, &trace.shapes[node.index()]);
    if chain.iter().filter(|&&node| labelled(node).is_some()).count() <= MOST_BOXES {
        return is_left_out;
    }
    let blocks: Vec<_> = graph.scopes().iter().filter(|scope| is_block(scope.kind)).collect();
    let look = |scope: &&residual_nn::graph::Scope| {
        let nodes = graph.iter().filter(|node| scope.nodes.contains(&node.index()));
        let labels: Vec<_> = nodes.map(labelled).collect();
        (labels, trace.shapes[scope.input.index()].clone(), trace.shapes[scope.output.index()].clone())
    };
    let looks: Vec<_> = blocks.iter().map(look).collect();
    let mut first = 0;
    while first < blocks.len() {
        let run = looks[first..].iter().take_while(|other| **other == looks[first]).count();
        if run > KEPT + 1 {
            for scope in &blocks[first + KEPT - 1..first + run - 1] {
                is_left_out[scope.nodes.clone()].fill(true);
            }
        }
        first += run;
    }
    is_left_out
}

/// Column and row of each box: down, and on in the next column where no shortcut is cut.
fn places(rows: &[Row], arcs: &[Arc]) -> Vec<(usize, usize)> {
    let is_free = |row: usize| !arcs.iter().any(|arc| arc.from + 1 < row && row <= arc.to);
    let (mut column, mut place) = (0, 0);
    let mut places = Vec::with_capacity(rows.len());
    for row in 0..rows.len() {
        // A column also ends before a group of boxes that would not fit.
        let group = (row + 1..rows.len()).find(|&next| is_free(next)).unwrap_or(rows.len()) - row;
        if place > 0 && is_free(row) && place + group > ROWS {
            (column, place) = (column + 1, 0);
        }
        places.push((column, place));
        place += 1;
    }
    places
}

/// A shape without the batch.
fn short(shape: &Shape) -> String {
    shape.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>().join("×")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn draw_row(svg: &mut String, [x, y]: [usize; 2], row: &Row) {
    let (middle, baseline) = (x + WIDTH / 2, y + BOX / 2 + 4);
    if let Some(colour) = row.colour {
        let [fill, outline] = COLOURS[colour];
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{BOX}\" rx=\"5\" fill=\"{fill}\" stroke=\"{outline}\"/>"
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{baseline}\" text-anchor=\"middle\" fill=\"#1f2937\">{}</text>",
        escaped(&row.label)
    );
}

/// From the bottom of a box to the top of the next, with the shape of what goes along.
fn draw_edge(svg: &mut String, [x, y]: [usize; 2], [next_x, next_y]: [usize; 2], shape: &str) {
    let (from, bottom, to) = (x + WIDTH / 2, y + BOX, next_x + WIDTH / 2);
    let path = if x == next_x {
        format!("M{from} {bottom}V{next_y}")
    } else {
        // Around the end of the column to the top of the next.
        let (between, above) = (next_x - SHAPES + 6, next_y - 14);
        format!("M{from} {bottom}v8H{between}V{above}H{to}V{next_y}")
    };
    let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"#6b7280\" stroke-width=\"1.3\"/>");
    let _ = writeln!(svg, "<path d=\"M{} {}l-4 -6h8z\" fill=\"#6b7280\"/>", to, next_y);
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-size=\"11\" fill=\"#6b7280\">{}</text>",
        x - 8,
        bottom + 9,
        escaped(shape)
    );
    let _ = writeln!(
        svg,
        "<path d=\"M{} {}H{}\" fill=\"none\" stroke=\"#d1d5db\"/>",
        x - 5,
        bottom + 6,
        from - 4
    );
}

/// Around the right side of the boxes, from one height to another.
fn draw_arc(svg: &mut String, x: usize, [start, end]: [usize; 2], label: &str) {
    let (middle, right) = (x + WIDTH / 2, x + WIDTH + 40);
    let dashes = if label.is_empty() { "" } else { " stroke-dasharray=\"5 4\"" };
    let bend = (end - start).min(48) / 2;
    let _ = writeln!(
        svg,
        "<path class=\"shortcut\" d=\"M{middle} {start}H{}Q{right} {start} {right} {}V{}Q{right} {end} {} {end}H{}\" \
         fill=\"none\" stroke=\"#111827\" stroke-width=\"1.4\"{dashes}/>",
        right - 24,
        start + bend,
        end - bend,
        right - 24,
        middle + 6
    );
    let _ = writeln!(svg, "<path d=\"M{} {end}l6 -4v8z\" fill=\"#111827\"/>", middle + 1);
    for (line, words) in label.split(" + ").filter(|words| !words.is_empty()).enumerate() {
        let (x, y) = (right + 5, (start + end) / 2 + 4 + 14 * line);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"11\" fill=\"#6b7280\">{}</text>",
            escaped(words)
        );
    }
}

#[cfg(test)]
mod tests {
    use residual_nn::Module;
    use residual_zoo::NetworkConfig;

    use super::*;

    fn drawn(name: &str) -> String {
        let config = NetworkConfig::named(name).unwrap();
        let net = config.build_blank::<f32>().unwrap();
        let [height, width] = config.native_size();
        let trace = net.trace(&Shape::new([1, 3, height, width]).unwrap()).unwrap();
        network_svg(name, &net.graph(), &trace)
    }

    /// Solid and dashed shortcuts.
    fn shortcuts(svg: &str) -> [usize; 2] {
        let arcs = || svg.lines().filter(|line| line.contains("class=\"shortcut\""));
        let dashed = arcs().filter(|line| line.contains("stroke-dasharray")).count();
        [arcs().count() - dashed, dashed]
    }

    #[test]
    fn resnet34_is_the_paper_s_figure() {
        let svg = drawn("resnet34");
        // 33 convolutions and the classifier, two poolings; projections are not boxes.
        assert_eq!(svg.matches("rx=\"5\"").count(), 36);
        assert_eq!(shortcuts(&svg), [13, 3]);
        for text in
            ["7×7 conv, 64, /2", "3×3 conv, 512, /2", "64×56×56", "512×7×7", "fc, 1000", "1×1 conv, 128, /2"]
        {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(shortcuts(&drawn("plain34")), [0, 0]);
    }

    #[test]
    fn every_kind_of_network_can_be_drawn() {
        for (name, expected) in [
            ("resnet50", [12, 4]),
            ("cifar_resnet20", [7, 2]),
            ("cifar_preresnet110", [0, 0]),
            ("seresnet50", [12, 4]),
            ("resnet50d", [12, 4]),
            ("cifar_resnet20_c", [0, 9]),
        ] {
            let svg = drawn(name);
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{name}");
            if expected != [0, 0] {
                assert_eq!(shortcuts(&svg), expected, "{name}");
            }
        }
        assert!(drawn("seresnet50").contains("1×1 conv, 256 · gated"));
    }

    #[test]
    fn what_is_left_out_is_said() {
        let svg = drawn("cifar_resnet1202");
        // 200 blocks in each stage, the first of which differs in the later ones.
        assert!(
            svg.contains("… 197 more blocks like these …") && svg.contains("… 196 more blocks like these …")
        );
        assert!(svg.matches("rx=\"5\"").count() < MOST_BOXES);
    }

    #[test]
    fn no_shortcut_is_cut_by_a_column() {
        let rows: Vec<Row> =
            (0..2 * ROWS).map(|_| Row { label: String::new(), shape: String::new(), colour: None }).collect();
        let arcs: Vec<Arc> = (0..2 * ROWS / 3 - 1)
            .map(|block| Arc { from: 3 * block, to: 3 * block + 3, label: String::new() })
            .collect();
        let places = places(&rows, &arcs);
        assert!(places.iter().any(|place| place.0 > 0));
        // An arc may begin at the last box of a column, but its boxes are in one.
        assert!(arcs.iter().all(|arc| places[arc.from + 1].0 == places[arc.to].0));
    }
}
