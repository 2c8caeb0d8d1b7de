//! A PostgreSQL server of the test's own: Debian's package, as an unprivileged user, in a temporary directory, on a unix
//! socket. It is killed when dropped, and when the thread that started it ends.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where Debian's package puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// What a server is told of which nothing else is wanted.
const SETTINGS: &str = "listen_addresses = ''\n";
/// The user that Debian's package makes.
const USER: &str = "postgres";

/// A running server.
pub(crate) struct Server {
    directory: TempDir,
    user: Option<(u32, u32)>,
    child: Child,
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with some of its files written anew: `postgresql.auto.conf` has the last word on settings.
    pub(crate) fn start_with(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let user = unprivileged();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some((uid, gid)) = user {
            chown(&data, Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = program("initdb", user);
        initdb
            .args([
                "--auth=trust",
                "--username=netpol",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .arg("--pgdata")
            .arg(&data);
        let made = initdb.output().unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        put(&data, user, &[("postgresql.auto.conf", SETTINGS)]);
        put(&data, user, files);
        let child = launch(&data, user);
        let mut server = Self {
            directory,
            user,
            child,
        };
        server.wait();
        server
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        let socket = self.data();
        format!("postgresql://netpol@/postgres?host={}", socket.display())
    }

    /// Ends it as a crash would. Nobody is served by one of its own children any more, either: they notice by themselves,
    /// a moment later.
    pub(crate) fn kill(&mut self) {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let begin = Instant::now();
        for child in children.unwrap_or_default().split_ascii_whitespace() {
            // Of a process that has ended and that nobody has waited for there is no command line.
            let command = PathBuf::from(format!("/proc/{child}/cmdline"));
            while fs::read(&command).is_ok_and(|line| !line.is_empty()) {
                assert!(
                    begin.elapsed() < Duration::from_secs(60),
                    "process {child} goes on"
                );
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same, with some of its files written anew.
    pub(crate) fn restart_with(&mut self, files: &[(&str, &str)]) {
        put(&self.data(), self.user, files);
        let begin = Instant::now();
        loop {
            self.child = launch(&self.data(), self.user);
            thread::sleep(Duration::from_millis(300));
            if self.child.try_wait().unwrap().is_none() {
                break;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "it does not start"
            );
        }
        self.wait();
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn wait(&mut self) {
        let begin = Instant::now();
        let (data, user) = (self.data(), self.user);
        let ready = || {
            let mut ready = program("pg_isready", user);
            ready.arg("--quiet").arg("--host").arg(&data);
            ready.status().unwrap().success()
        };
        while !ready() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {ended:?}");
            assert!(begin.elapsed() < Duration::from_secs(60), "it is not ready");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whoever else may read a key is refused by the server.
fn put(data: &Path, user: Option<(u32, u32)>, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = data.join(name);
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        if let Some((uid, gid)) = user {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
    }
}

/// A server on that data, with its socket beside them.
fn launch(data: &Path, user: Option<(u32, u32)>) -> Child {
    let mut server = as_user("setpriv".as_ref(), user);
    server
        .args(["--pdeathsig", "KILL"])
        .arg(path("postgres"))
        .arg("-D")
        .arg(data)
        .arg("-k")
        .arg(data)
        .args(["-c", "max_connections=20", "-c", "shared_buffers=16MB"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    server.spawn().unwrap()
}

fn program(name: &str, user: Option<(u32, u32)>) -> Command {
    as_user(&path(name), user)
}

/// Where a program of the newest version installed is.
fn path(name: &str) -> PathBuf {
    let versions = fs::read_dir(VERSIONS).unwrap_or_else(|_| {
        panic!("{VERSIONS} is missing: cargo xtask setup installs Debian's package postgresql")
    });
    let paths = versions.map(|entry| entry.unwrap().path().join("bin").join(name));
    let path = paths.filter(|path| path.exists()).max();
    path.unwrap_or_else(|| panic!("no {name} below {VERSIONS}"))
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// The package's user, if we are root: PostgreSQL does not run as that.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(USER));
    let mut fields = line
        .expect("Debian's package makes the user")
        .split(':')
        .skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some((number(), number()))
}
