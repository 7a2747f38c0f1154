//! Who takes part: this project on all threads and on one, and its peers, each in the setting
//! that is best for it. Peers in Python are one script's business (`xtask/peers/peers.py`); those
//! in Rust are programs of their own that are built when they are asked for.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use cargo_metadata::MetadataCommand;
use indexmap::IndexMap;
use tempfile::TempDir;

use super::{
    contender::{BEFORE, Launch, OURS, SINGLE},
    work::{Task, Work},
};
use crate::{Failure, cargo};

/// A framework to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    TorchNchw,
    TorchChannelsLast,
    TorchCompile,
    OnnxRuntime,
    OpenVino,
    Rten,
    Burn,
}

use Peer::*;

impl Peer {
    const ALL: [Self; 7] = [TorchNchw, TorchChannelsLast, TorchCompile, OnnxRuntime, OpenVino, Rten, Burn];

    fn name(self) -> &'static str {
        match self {
            TorchNchw => "torch-nchw",
            TorchChannelsLast => "torch",
            TorchCompile => "torch-compile",
            OnnxRuntime => "onnxruntime",
            OpenVino => "openvino",
            Rten => "rten",
            Burn => "burn",
        }
    }

    /// The packages that it needs, if it is one in Python.
    fn packages(self) -> &'static [&'static str] {
        match self {
            TorchNchw | TorchChannelsLast | TorchCompile => &["torch", "torchvision"],
            // The files that they read are written by PyTorch.
            OnnxRuntime => &["onnxruntime", "torch", "torchvision", "onnx"],
            OpenVino => &["openvino", "torch", "torchvision", "onnx"],
            Rten | Burn => &[],
        }
    }

    /// Whether it is a program in Rust, and so has a folder of its name.
    fn is_rust(self) -> bool {
        self.packages().is_empty()
    }

    fn reads_onnx(self) -> bool {
        matches!(self, OnnxRuntime | OpenVino | Rten)
    }

    fn can(self, work: &Work) -> bool {
        match self {
            TorchNchw => work.task == Task::Train,
            TorchChannelsLast | TorchCompile => true,
            OnnxRuntime | OpenVino | Rten => work.task == Task::Infer,
            Burn => work.task == Task::Train && work.cifar_depth().is_some(),
        }
    }
}

/// One peer, or a group of them.
#[derive(Clone)]
pub(super) struct Selection(Vec<Peer>);

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_selected = |peer: &Peer| match text {
            "all" => true,
            "python" => !peer.is_rust(),
            name => peer.name() == name,
        };
        let selected: Vec<Peer> = Peer::ALL.into_iter().filter(is_selected).collect();
        if selected.is_empty() {
            let names: Vec<&str> = Peer::ALL.map(Peer::name).to_vec();
            return Err(format!("the peers are {}; or python, or all of them", names.join(", ")));
        }
        Ok(Self(selected))
    }
}

/// What is there to be started.
pub(super) struct Peers {
    root: PathBuf,
    python: PathBuf,
    target: PathBuf,
    threads: usize,
    /// An earlier build of this project's command.
    before: Option<PathBuf>,
    peers: Vec<Peer>,
    /// Networks as ONNX files, and what contenders say to standard error.
    folder: TempDir,
}

impl Peers {
    /// Builds this project and the peers in Rust, and looks for those in Python. A peer that is
    /// not there is left out with a message.
    pub(super) fn prepare(
        root: &Path,
        selections: &[Selection],
        before: Option<PathBuf>,
        python: PathBuf,
        threads: usize,
    ) -> Result<Self, Failure> {
        if let Some(program) = before.as_ref().filter(|program| !program.is_file()) {
            return Err(format!("--before: there is no program {}", program.display()).into());
        }
        let manifest = root.join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
        let mut this = Self {
            root: root.to_owned(),
            python,
            target: metadata.target_directory.into_std_path_buf(),
            threads,
            before,
            peers: Vec::new(),
            folder: tempfile::tempdir()?,
        };
        this.build(&root.join("crates/residual-cli"), &this.target)?;
        let is_selected = |peer: &Peer| selections.iter().any(|Selection(peers)| peers.contains(peer));
        let selected: Vec<Peer> = Peer::ALL.into_iter().filter(is_selected).collect();
        let packages = if selected.iter().all(|peer| peer.is_rust()) { None } else { this.packages() };
        for peer in selected {
            let ready = if peer.is_rust() {
                this.build(&this.sources().join(peer.name()), &this.built(peer))
            } else {
                missing(peer, packages.as_ref()).map_or(Ok(()), |why| Err(why.into()))
            };
            match ready {
                Ok(()) => this.peers.push(peer),
                Err(failure) => anstream::eprintln!("{} is left out: {failure}", peer.name()),
            }
        }
        Ok(this)
    }

    /// The present build of the `residual` command.
    pub(super) fn residual(&self) -> PathBuf {
        executable(&self.target, "residual")
    }

    fn sources(&self) -> PathBuf {
        self.root.join("xtask/peers")
    }

    /// Where a peer in Rust is built: each on its own, so that none waits for another one's build.
    fn built(&self, peer: Peer) -> PathBuf {
        self.target.join("peers").join(peer.name())
    }

    fn script(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.sources().join("peers.py"));
        command
    }

    /// The Python packages that are installed, with their versions.
    fn packages(&self) -> Option<IndexMap<String, String>> {
        let output = self.script().arg("list").stderr(Stdio::inherit()).output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Builds the package in `folder`.
    fn build(&self, folder: &Path, target: &Path) -> Result<(), Failure> {
        let shown = folder.strip_prefix(&self.root).unwrap_or(folder).display();
        anstream::eprintln!("building {shown}");
        let target = target.to_str().ok_or("the target folder's name is not Unicode")?;
        let mut lines = Vec::new();
        let arguments = ["build", "--release", "--quiet"];
        let built = cargo::run(folder, &arguments, &[("CARGO_TARGET_DIR", target)], |line| {
            lines.push(line.to_owned());
        })?;
        if built { Ok(()) } else { Err(format!("{shown} does not build\n{}", lines.join("\n")).into()) }
    }

    /// Everyone who takes part in a work, this project first.
    pub(super) fn launches(&self, work: &Work) -> Result<Vec<Launch>, Failure> {
        let now = self.residual();
        let mut launches = vec![self.ours(OURS, &now, work, self.threads)];
        if self.threads > 1 {
            launches.push(self.ours(SINGLE, &now, work, 1));
        }
        launches.extend(self.before.iter().map(|program| self.ours(BEFORE, program, work, self.threads)));
        for &peer in self.peers.iter().filter(|peer| peer.can(work)) {
            match self.peer(peer, work) {
                Ok(launch) => launches.push(launch),
                Err(failure) => anstream::eprintln!("  {} is left out: {failure}", peer.name()),
            }
        }
        Ok(launches)
    }

    /// This project's command, as `program` has it.
    fn ours(&self, name: &str, program: &Path, work: &Work, threads: usize) -> Launch {
        let [batch, threads_told] = [work.batch, threads].map(|number| number.to_string());
        let arguments = ["bench", &work.model, "--serve", "--mode", work.task.name()];
        let numbers = ["--batch", &batch, "--threads", &threads_told];
        let arguments = [&arguments[..], &numbers].concat();
        self.launch(name, threads, program.to_owned(), &arguments)
    }

    fn peer(&self, peer: Peer, work: &Work) -> Result<Launch, Failure> {
        let onnx = if peer.reads_onnx() { Some(self.onnx(work)?) } else { None };
        let onnx = onnx.as_deref();
        let [batch, threads] = [work.batch, self.threads].map(|number| number.to_string());
        let program = |name: &str| executable(&self.built(peer), name);
        let launch =
            |program: PathBuf, arguments: &[&str]| self.launch(peer.name(), self.threads, program, arguments);
        Ok(match peer {
            Rten => {
                let [n, c, h, w] = work.input.map(|size| size.to_string());
                let mut launch = launch(program("peer-rten"), &[onnx.unwrap_or_default(), &n, &c, &h, &w]);
                launch.variables.push(("RTEN_NUM_THREADS", threads));
                launch
            }
            Burn => {
                let depth = work.cifar_depth().ok_or("it has only the paper's networks for CIFAR")?;
                let mut launch = launch(program("peer-burn"), &[depth, &batch]);
                launch.variables.push(("RAYON_NUM_THREADS", threads));
                launch
            }
            _ => {
                let script = self.sources().join("peers.py");
                let script = script.to_str().ok_or("the workspace's name is not Unicode")?;
                let mut arguments = vec![script, "serve", peer.name(), work.task.name(), &work.model];
                arguments.extend([&*batch, &threads]);
                arguments.extend(onnx);
                launch(self.python.clone(), &arguments)
            }
        })
    }

    fn launch(&self, name: &str, threads: usize, program: PathBuf, arguments: &[&str]) -> Launch {
        Launch {
            log: self.folder.path().join(format!("{name}.log")),
            name: name.to_owned(),
            threads,
            program,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            variables: Vec::new(),
        }
    }

    /// The path of the work's network as an ONNX file, which PyTorch writes the first time.
    fn onnx(&self, work: &Work) -> Result<String, Failure> {
        let path = self.folder.path().join(format!("{}-{}.onnx", work.model, work.batch));
        let text = path.to_str().ok_or("the temporary folder's name is not Unicode")?.to_owned();
        if !path.exists() {
            let batch = work.batch.to_string();
            let output = self.script().args(["export", &work.model, &batch, &text]).output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("no ONNX file: {}", said.lines().last().unwrap_or_default()).into());
            }
        }
        Ok(text)
    }
}

/// Where cargo puts a program.
fn executable(target: &Path, name: &str) -> PathBuf {
    target.join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// Why a peer in Python cannot take part.
fn missing(peer: Peer, packages: Option<&IndexMap<String, String>>) -> Option<String> {
    let Some(packages) = packages else { return Some("there is no Python; name it with --python".into()) };
    let missing = peer.packages().iter().find(|package| !packages.contains_key(**package))?;
    Some(format!("{missing} is not installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_selected_by_name_or_group() {
        let selected = |text: &str| text.parse::<Selection>().map(|selection| selection.0);
        assert_eq!(selected("all").unwrap().len(), 7);
        assert_eq!(selected("rten").unwrap(), [Rten]);
        assert!(!selected("python").unwrap().iter().any(|peer| peer.is_rust()));
        assert!(selected("tensorflow").unwrap_err().contains("openvino"));
    }

    #[test]
    fn what_a_peer_lacks_is_said() {
        let packages = |names: &[&str]| {
            names.iter().map(|name| (name.to_string(), "1".to_owned())).collect::<IndexMap<_, _>>()
        };
        assert_eq!(missing(TorchCompile, Some(&packages(&["torch", "torchvision"]))), None);
        let lacks = missing(OpenVino, Some(&packages(&["openvino"])));
        assert_eq!(lacks.as_deref(), Some("torch is not installed"));
        assert!(missing(OpenVino, None).unwrap().contains("--python"));
    }
}
