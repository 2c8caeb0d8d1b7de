//! Which node is observed, and in which network namespace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sched::{CloneFlags, setns};

use super::attach::{AttachError, Instance, LONGEST, shorten};

/// A node to observe: `NAME` or `NAME=NETNS`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeSpec {
    /// The node's name in the Kubernetes API; also the observer's.
    pub name: String,
    /// Where its interfaces are: a path, or a name below `/run/netns`. The agent's own namespace if absent.
    pub netns: Option<PathBuf>,
}

/// Why a node cannot be observed where it was said to be.
#[derive(Debug, thiserror::Error)]
pub enum NodeSpecError {
    /// Not `NAME[=NETNS]`.
    #[error("{text:?} is not of the form NAME or NAME=NETNS")]
    Form {
        /// What was given.
        text: String,
    },
    /// The namespace is not there.
    #[error("cannot open the network namespace {path}")]
    Open {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The namespace is not one, or must not be entered.
    #[error(
        "cannot enter {path} as a network namespace: {errno}; it takes CAP_SYS_ADMIN, and a file like /run/netns/NAME \
         or /proc/PID/ns/net"
    )]
    Enter {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        errno: nix::errno::Errno,
    },
}

impl NodeSpec {
    /// The instance under which this node's maps and links are pinned, given the agent's.
    ///
    /// # Errors
    ///
    /// [`AttachError::InvalidInstance`] if the node's name does not fit a file name.
    pub fn instance(&self, agent: &Instance) -> Result<Instance, AttachError> {
        agent.of_node(&self.name)
    }

    /// The node's name as part of a file's name, which may be shorter than the 253 characters that Kubernetes allows.
    #[must_use]
    pub fn file_name(&self) -> String {
        shorten(&self.name, LONGEST)
    }

    /// Runs something in the node's network namespace, on a thread of its own.
    ///
    /// # Errors
    ///
    /// Whatever `run` fails with, or [`NodeSpecError`].
    pub fn inside<T: Send, E: From<NodeSpecError> + Send>(
        &self,
        run: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let enter_and_run = || {
            self.enter()?;
            run()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_run).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves the calling thread, and no other, into the node's network namespace.
    ///
    /// # Errors
    ///
    /// [`NodeSpecError`].
    pub fn enter(&self) -> Result<(), NodeSpecError> {
        let Some(netns) = &self.netns else {
            return Ok(());
        };
        let path = Path::new("/run/netns").join(netns);
        let open = |source| NodeSpecError::Open {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(open)?;
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| NodeSpecError::Enter { path, errno })
    }
}

impl FromStr for NodeSpec {
    type Err = NodeSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, netns) = match text.split_once('=') {
            Some((name, netns)) => (name, Some(netns)),
            None => (text, None),
        };
        if name.is_empty() || netns == Some("") {
            let text = text.to_owned();
            return Err(NodeSpecError::Form { text });
        }
        Ok(Self {
            name: name.to_owned(),
            netns: netns.map(PathBuf::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_name_and_maybe_a_namespace() {
        for (text, name, netns) in [
            ("node-a", "node-a", None),
            ("node-a=lab-a", "node-a", Some("lab-a")),
            ("node-a=/proc/1/ns/net", "node-a", Some("/proc/1/ns/net")),
        ] {
            let spec: NodeSpec = text.parse().unwrap();
            assert_eq!(
                (spec.name.as_str(), spec.netns),
                (name, netns.map(PathBuf::from))
            );
        }
        for text in ["", "=x", "node-a="] {
            assert!(text.parse::<NodeSpec>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_long_name_fits_a_file_name() {
        let spec: NodeSpec = "n".repeat(253).parse().unwrap();
        assert_eq!(spec.file_name().len(), LONGEST);
        let spec: NodeSpec = "node-a".parse().unwrap();
        assert_eq!(spec.file_name(), "node-a");
    }

    #[test]
    fn a_namespace_that_is_not_there_is_named() {
        let spec: NodeSpec = "node-a=no-such-namespace".parse().unwrap();
        let error = spec.enter().unwrap_err().to_string();
        assert!(error.contains("/run/netns/no-such-namespace"), "{error}");
    }
}
