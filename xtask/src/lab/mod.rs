//! The lab: two nodes with pods, services and traffic whose truth is known, made of network namespaces.
//!
//! A lab lives for the process that made it. Everything that it makes in the kernel bears the lab's tag, which is
//! written down first; a guard process takes it all away when the owner lets go or dies.

mod bpffs;
mod cgroup;
pub mod cluster;
pub mod cni;
pub mod guard;
pub mod keeper;
mod netns;
pub mod peer;
pub mod pods;
pub mod process;
mod proxy;
pub mod scenario;
pub mod state;
pub mod topology;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::cluster::Cluster;
use self::cni::Plugin;
use self::guard::Guard;
use self::pods::Running;
use self::process::Place;
use self::state::{ProcessId, State};
use self::topology::{Names, Node};

/// What a lab is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name: the directory below `target/lab`.
    pub name: String,
    /// The CNI plugin of its pods.
    pub plugin: Plugin,
    /// The path of the xtask binary, which is also the lab's guard, launcher and peers.
    pub xtask: PathBuf,
}

/// A lab that is up. It goes when this is dropped, at the latest.
#[derive(Debug)]
pub struct Lab {
    options: Options,
    directory: PathBuf,
    state: State,
    guard: Guard,
    cluster: Cluster,
    running: BTreeMap<u32, Running>,
    next_pod: u32,
}

impl Lab {
    /// Makes the nodes, the network between them and an empty cluster. Labs whose owner and guard are gone are
    /// taken away first.
    ///
    /// # Errors
    ///
    /// If the name is in use, a privilege is missing, or the kernel refuses something.
    pub fn up(options: Options) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab makes network namespaces and needs root; run it as root (sudo)");
        }
        reap()?;
        let directory = state::directory(&options.name)?;
        if directory.join("state.json").exists() {
            bail!(
                "a lab named {0} is up; `cargo xtask lab down --name {0}` ends it",
                options.name
            );
        }
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let mut state = State {
            name: options.name.clone(),
            tag: new_tag()?,
            cni: options.plugin.name().to_owned(),
            owner: ProcessId::own()?,
            guard: None,
            ready: false,
        };
        state.save(&directory)?;
        let guard = Guard::start(&options.xtask, &directory)?;
        state.guard = guard.id();
        state.save(&directory)?;
        let cluster = Cluster::new(
            &state.tag,
            directory.join("inventory.yaml"),
            scenario::cast::NAMESPACES,
            scenario::cast::SERVICES,
            scenario::cast::WORKLOADS,
        )?;
        let mut lab = Self {
            options,
            directory,
            state,
            guard,
            cluster,
            running: BTreeMap::new(),
            next_pod: 1,
        };
        bpffs::make(&lab.directory)?;
        topology::make(&lab.names())?;
        lab.program_services()?;
        lab.state.ready = true;
        lab.state.save(&lab.directory)?;
        Ok(lab)
    }

    /// Takes the lab away.
    ///
    /// # Errors
    ///
    /// If something of it cannot be removed.
    pub fn down(mut self) -> Result<()> {
        self.release()
    }

    /// The lab's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The inventory, kept up to date.
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.directory.join("inventory.yaml")
    }

    /// What `--cni-cache` of a node agent is to be.
    #[must_use]
    pub fn cni_cache(&self) -> PathBuf {
        cni::cache(&self.directory)
    }

    /// Where the lab's own BPF file system is mounted.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        bpffs::path(&self.directory)
    }

    /// What the names of everything that the lab makes begin with.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.state.tag
    }

    /// The path of the network namespace of a node.
    #[must_use]
    pub fn node_namespace(&self, node: Node) -> PathBuf {
        netns::path(&self.names().node(node))
    }

    fn names(&self) -> Names<'_> {
        Names {
            tag: &self.state.tag,
        }
    }

    /// The place of processes on a node outside any pod.
    fn node_place(&self, node: Node) -> Place {
        Place {
            namespace: self.names().node(node),
            cgroup: None,
        }
    }

    fn external_place(&self) -> Place {
        Place {
            namespace: self.names().external(),
            cgroup: None,
        }
    }

    fn program_services(&self) -> Result<()> {
        for node in Node::ALL {
            proxy::program(&self.names().node(node), node, &self.cluster)?;
        }
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        self.guard.release()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // After `down` there is nothing left to do; otherwise the owner is on its way out with an error of its own.
        let _ = self.release();
    }
}

/// Takes away every lab that nobody looks after any more.
///
/// # Errors
///
/// If something of such a lab cannot be removed.
pub fn reap() -> Result<()> {
    for (directory, state) in state::all() {
        if state.is_ok_and(|state| state.orphaned()) {
            guard::take_away(&directory)?;
        }
    }
    Ok(())
}

/// A tag of its own: short, since interface and namespace names are.
fn new_tag() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 3];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    let [a, b, c] = bytes;
    Ok(format!("npl{a:02x}{b:02x}{c:02x}"))
}
