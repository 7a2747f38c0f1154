//! `residual train --tui`: a run on the whole terminal, with curves that grow.

use std::{
    io::{self, IsTerminal},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols::Marker,
    text::Line,
    widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, LegendPosition, Paragraph},
};
use residual_train::{EpochRecord, Observer, Start, Step};

use crate::{
    error::{Error, Result},
    output::{duration, percent, thousands},
    progress::TrainingProgress,
};

/// Shows a run on the whole terminal. Ctrl-C or q stops it after the step that it is at, as Ctrl-C does
/// without a dashboard.
pub(crate) struct Dashboard {
    screen: Option<DefaultTerminal>,
    run: Run,
    stop: Arc<AtomicBool>,
    drawn: Instant,
}

/// # Errors
/// [`Error::Usage`] if there is no terminal to draw on.
pub(crate) fn needs_terminal() -> Result<()> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Error::Usage("--tui needs a terminal; leave it out where there is none".into()))
}

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(100);

impl Dashboard {
    /// A dashboard of the run in a folder, which raises `stop` when it is to end.
    pub(crate) fn new(folder: &Path, stop: Arc<AtomicBool>) -> Self {
        let run = Run { folder: folder.display().to_string(), ..Run::default() };
        Self { screen: None, run, stop, drawn: Instant::now() }
    }

    fn draw(&mut self) {
        self.listen();
        self.drawn = Instant::now();
        self.run.is_stopping = self.stop.load(Ordering::Relaxed);
        if let Some(screen) = &mut self.screen {
            // A terminal that cannot be drawn to is no reason to lose a training.
            let _ = screen.draw(|frame| self.run.draw(frame));
        }
    }

    /// Takes in the keys that were pressed: a terminal whose keys are read sends no signal for Ctrl-C.
    fn listen(&mut self) {
        while self.screen.is_some() && event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(Event::Key(KeyEvent { code, modifiers, kind, .. })) = event::read() else { continue };
            let is_interrupt = code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
            if kind == KeyEventKind::Press && (is_interrupt || code == KeyCode::Char('q')) {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }

    fn close(&mut self) {
        if self.screen.take().is_some() {
            ratatui::restore();
        }
    }
}

impl Observer for Dashboard {
    fn start(&mut self, start: &Start<'_>) {
        // What is to be read later as well stands above the screen.
        TrainingProgress::default().start(start);
        self.run.title =
            format!("{} · {} parameters · {}", start.model, thousands(start.parameters), start.data[0]);
        self.run.epochs = start.run.epochs();
        self.run.history = start.history.to_vec();
        self.screen = ratatui::try_init().ok();
        self.draw();
    }

    fn step(&mut self, step: &Step) {
        (self.run.step, self.run.validation) = (Some(*step), None);
        if self.drawn.elapsed() >= PAUSE {
            self.draw();
        }
    }

    fn validation(&mut self, done: usize, images: usize) {
        self.run.validation = Some((done, images));
        if self.drawn.elapsed() >= PAUSE {
            self.draw();
        }
    }

    fn epoch(&mut self, record: &EpochRecord, _is_best: bool) {
        self.run.history.push(record.clone());
        self.draw();
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is shown of a run.
#[derive(Default)]
struct Run {
    title: String,
    folder: String,
    epochs: u64,
    step: Option<Step>,
    /// Pictures that are validated, and how many there are.
    validation: Option<(usize, usize)>,
    history: Vec<EpochRecord>,
    is_stopping: bool,
}

const TRAINING: Color = Color::DarkGray;
const VALIDATION: Color = Color::Cyan;

impl Run {
    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, charts, run, epoch, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Min(8),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let title = Line::from(self.title.as_str()).style(Style::new().add_modifier(Modifier::BOLD));
        let head_block = Block::bordered().title(self.folder.as_str());
        frame.render_widget(Paragraph::new(title).block(head_block), head);

        let [loss, accuracy] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
        let highest = self.history.iter().map(|epoch| epoch.train_loss.max(epoch.val_loss));
        let highest = highest.chain(self.step.map(|step| step.loss)).fold(0.1, f64::max);
        let losses = Curves {
            title: "loss",
            of: [|epoch| epoch.train_loss, |epoch| epoch.val_loss],
            now: |step| step.loss,
            highest,
            label: |loss| format!("{loss:.2}"),
            legend: LegendPosition::TopRight,
        };
        self.chart(frame, loss, losses);
        let accuracies = Curves {
            title: "accuracy",
            of: [|epoch| epoch.train_accuracy, |epoch| epoch.val_accuracy],
            now: |step| step.accuracy,
            highest: 1.0,
            label: |share| format!("{:.0} %", 100.0 * share),
            legend: LegendPosition::BottomRight,
        };
        self.chart(frame, accuracy, accuracies);
        self.gauges(frame, run, epoch);

        let foot_line = match (EpochRecord::best(&self.history), self.is_stopping) {
            (_, true) => "stopping after this step; the run can be resumed".to_owned(),
            (Some(best), false) => format!(
                "best: {} of the validation pictures, after epoch {} · q or Ctrl-C stops; the run can be resumed",
                percent(best.val_accuracy),
                best.epoch
            ),
            (None, false) => "q or Ctrl-C stops; the run can be resumed".to_owned(),
        };
        frame.render_widget(Line::from(foot_line), foot);
    }

    /// How far the run is, and how far the epoch.
    fn gauges(&self, frame: &mut Frame<'_>, of_run: Rect, of_epoch: Rect) {
        let Some(step) = self.step else { return };
        let share = step.step as f64 / step.steps.max(1) as f64;
        let epochs = (step.epoch - 1) as f64 + share;
        let gauge = |share: f64, color, label: String| {
            Gauge::default().ratio(share.clamp(0.0, 1.0)).label(label).gauge_style(color).use_unicode(true)
        };
        let left = duration(step.seconds_left);
        let label =
            format!("epoch {}/{} · {left} left · rate {:.2e}", step.epoch, self.epochs, step.learning_rate);
        frame.render_widget(gauge(epochs / self.epochs.max(1) as f64, Color::Blue, label), of_run);
        let (share, label) = match self.validation {
            Some((done, images)) => {
                (done as f64 / images.max(1) as f64, format!("validating {done}/{images}"))
            }
            None => (
                share,
                format!(
                    "step {}/{} · loss {:.4} · accuracy {} · {:.0} images/s",
                    step.step,
                    step.steps,
                    step.loss,
                    percent(step.accuracy),
                    step.images_per_second
                ),
            ),
        };
        frame.render_widget(gauge(share, Color::Cyan, label), of_epoch);
    }

    fn chart(&self, frame: &mut Frame<'_>, area: Rect, curves: Curves) {
        let Curves { title, of, now, highest, label, legend } = curves;
        let points = |of: fn(&EpochRecord) -> f64| {
            self.history.iter().map(move |epoch| (epoch.epoch as f64, of(epoch)))
        };
        let running = self.step.filter(|step| self.history.last().is_none_or(|last| last.epoch < step.epoch));
        let running = running
            .map(|step| ((step.epoch - 1) as f64 + step.step as f64 / step.steps.max(1) as f64, now(&step)));
        let training: Vec<_> = points(of[0]).chain(running).collect();
        let validation: Vec<_> = points(of[1]).collect();
        let line = |name: &'static str, data, color: Color| {
            let graph = Dataset::default().name(name).marker(Marker::Braille).graph_type(GraphType::Line);
            graph.style(color).data(data)
        };
        let axis = |highest: f64, labels: [String; 3]| Axis::default().bounds([0.0, highest]).labels(labels);
        let epochs = self.epochs.max(1);
        let chart = Chart::new(vec![
            line("training", &training, TRAINING),
            line("validation", &validation, VALIDATION),
        ])
        .block(Block::bordered().title(title))
        .x_axis(axis(epochs as f64, ["0".into(), String::new(), format!("{epochs} epochs")]))
        .y_axis(axis(highest, [0.0, highest / 2.0, highest].map(label)))
        .legend_position(Some(legend))
        .hidden_legend_constraints((Constraint::Percentage(60), Constraint::Percentage(60)));
        frame.render_widget(chart, area);
    }
}

/// Training and validation over the epochs, as [`Run::chart`] draws them.
struct Curves {
    title: &'static str,
    /// Of an epoch that has ended: training, validation.
    of: [fn(&EpochRecord) -> f64; 2],
    /// Of the epoch that runs.
    now: fn(&Step) -> f64,
    /// The upper end of the axis, which begins at 0.
    highest: f64,
    label: fn(f64) -> String,
    legend: LegendPosition,
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;

    fn drawn(run: &Run, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| run.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    fn record(epoch: u64) -> EpochRecord {
        EpochRecord {
            epoch,
            train_loss: 2.0 / epoch as f64,
            train_accuracy: 1.0 - 0.8 / epoch as f64,
            val_loss: 2.1 / epoch as f64,
            val_accuracy: 1.0 - 0.7 / epoch as f64,
            ..EpochRecord::default()
        }
    }

    #[test]
    fn a_run_is_shown_from_its_first_step_to_its_last_on_terminals_of_any_size() {
        let mut run =
            Run { title: "net · faces".into(), folder: "runs/1".into(), epochs: 5, ..Run::default() };
        assert!(drawn(&run, 100, 30).contains("q or Ctrl-C stops"));
        for epoch in 1..=5 {
            let step = Step {
                epoch,
                step: 3,
                steps: 10,
                loss: 1.5,
                accuracy: 0.25,
                learning_rate: 0.05,
                images_per_second: 123.0,
                seconds_left: 61.0,
            };
            (run.step, run.validation) = (Some(step), None);
            let screen = drawn(&run, 100, 30);
            for part in [
                &*format!("epoch {epoch}/5"),
                "runs/1",
                "net · faces",
                "step 3/10",
                "123 images/s",
                "5 epochs",
            ] {
                assert!(screen.contains(part), "{part}:\n{screen}");
            }
            run.validation = Some((7, 20));
            assert!(drawn(&run, 100, 30).contains("validating 7/20"));
            run.validation = None;
            run.history.push(record(epoch));
        }
        let screen = drawn(&run, 100, 30);
        // Both lines, in dots of Braille.
        let dots = screen.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
        assert!(
            dots > 60 && screen.contains("best: 86.0 % of the validation pictures, after epoch 5"),
            "{screen}"
        );
        for (width, height) in [(1, 1), (20, 5), (300, 90)] {
            drawn(&run, width, height);
        }
        run.is_stopping = true;
        assert!(drawn(&run, 100, 30).contains("stopping after this step"));
    }
}
