//! Processes of pods, nodes and the external host.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::netns;
use crate::command;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a process is to run.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The name of the network namespace.
    pub(super) namespace: String,
    /// The control group, if any.
    pub(super) cgroup: Option<PathBuf>,
}

/// A server of a pod.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// nginx on a TCP port.
    Nginx(u16),
    /// Redis on a TCP port.
    Redis(u16),
    /// dnsmasq on UDP and TCP port 53, which knows the names of the cluster.
    Dns,
    /// The lab's own servers: arguments of `xtask lab-peer serve`.
    Own(&'static [&'static str]),
}

impl Place {
    /// The command that runs `program` there. `xtask` is the path of the xtask binary.
    pub(super) fn command(&self, xtask: &Path, program: &Path) -> Command {
        let mut command = Command::new(xtask);
        command
            .arg("lab-exec")
            .arg("--netns")
            .arg(netns::path(&self.namespace));
        if let Some(cgroup) = &self.cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        command.arg("--").arg(program);
        command
    }
}

/// What `xtask lab-exec` does: moves itself into the namespace and the control group and becomes the command.
///
/// # Errors
///
/// If it cannot; on success it does not return.
pub fn exec(namespace: &Path, cgroup: Option<&Path>, words: &[String]) -> Result<()> {
    netns::enter(namespace)?;
    if let Some(cgroup) = cgroup {
        fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
            .with_context(|| format!("enter the control group {}", cgroup.display()))?;
    }
    let Some((program, arguments)) = words.split_first() else {
        bail!("no command to run");
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("run {program}"))
}

impl Server {
    /// Starts the server and waits until all its ports listen. Its files go to `directory`.
    pub(super) fn start(self, xtask: &Path, place: &Place, directory: &Path) -> Result<Child> {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let mut command = self.command(xtask, place, directory)?;
        let log = File::create(directory.join("log")).context("make the server's log")?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the server's log")?)
            .stderr(log);
        let mut child = command
            .spawn()
            .with_context(|| format!("start {}", command::line(&command)))?;
        self.wait(&mut child, directory)?;
        Ok(child)
    }

    fn command(self, xtask: &Path, place: &Place, directory: &Path) -> Result<Command> {
        let command = match self {
            Self::Nginx(port) => {
                let configuration = directory.join("nginx.conf");
                fs::write(&configuration, nginx(port, directory)).context("configure nginx")?;
                let mut command = place.command(xtask, Path::new("/usr/sbin/nginx"));
                command.arg("-c").arg(configuration).arg("-e").arg("stderr");
                command
            }
            Self::Redis(port) => {
                let mut command = place.command(xtask, Path::new("/usr/bin/redis-server"));
                command
                    .args([
                        "--port",
                        &port.to_string(),
                        "--bind",
                        "*",
                        "-::*",
                        "--save",
                        "",
                    ])
                    .args(["--protected-mode", "no", "--dir"])
                    .arg(directory);
                command
            }
            Self::Dns => {
                let mut command = place.command(xtask, Path::new("/usr/sbin/dnsmasq"));
                command.args([
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                    "--no-resolv",
                ]);
                command.args(["--no-hosts", "--pid-file=", "--user=root"]);
                command.arg("--address=/cluster.local/10.96.0.1");
                command
            }
            Self::Own(words) => {
                let mut command = place.command(xtask, xtask);
                command.args(["lab-peer", "serve"]).args(words);
                command
            }
        };
        Ok(command)
    }

    fn wait(self, child: &mut Child, directory: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.listens(child.id(), directory) {
            if let Some(status) = child.try_wait().context("look after a server")? {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                bail!("{self:?} ended ({status}): {}", log.trim());
            }
            if Instant::now() > deadline {
                bail!(
                    "{self:?} does not listen; see {}",
                    directory.join("log").display()
                );
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether it listens, found without a packet.
    fn listens(self, pid: u32, directory: &Path) -> bool {
        match self {
            Self::Nginx(port) | Self::Redis(port) => has_listener(pid, port),
            Self::Dns => has_listener(pid, 53),
            Self::Own(_) => fs::read_to_string(directory.join("log"))
                .is_ok_and(|log| log.starts_with(super::peer::serve::READY)),
        }
    }
}

/// Whether the namespace of the process has a listening TCP socket on that port in both families or the dual one.
fn has_listener(pid: u32, port: u16) -> bool {
    // Columns: slot, local address, remote address, state; 0A is LISTEN.
    let local = format!(":{port:04X}");
    let listens = |table: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().take(4).collect();
            fields.len() == 4 && fields[1].ends_with(&local) && fields[3] == "0A"
        })
    };
    listens("tcp6")
}

fn nginx(port: u16, directory: &Path) -> String {
    let here = directory.display();
    format!(
        "daemon off;
worker_processes 1;
user root;
pid {here}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {here}/body;
  proxy_temp_path {here}/proxy;
  fastcgi_temp_path {here}/fastcgi;
  uwsgi_temp_path {here}/uwsgi;
  scgi_temp_path {here}/scgi;
  server {{
    listen {port};
    listen [::]:{port};
    return 200 \"hello\\n\";
  }}
}}
"
    )
}
