//! A state directory without room: the agent says so, loses nothing, and catches up.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use netpol_common::words::{Outcome, View};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::lab::{Lab, Server, one_shots};

/// A small file system, until dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let (none, size) = (MsFlags::empty(), Some("size=4m"));
        mount(Some("tmpfs"), &path, Some("tmpfs"), none, size).unwrap();
        Self(path)
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = umount2(Path::new(&self.0), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_delays_edges_and_loses_none() {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    let disk = SmallDisk::mount(lab.state());
    let agent = lab.start(&[]);
    let filler = disk.fill();
    {
        let _server = Server::start(&lab, "server", 8000..8600);
        one_shots(&lab, "client", "server", 8000..8600);
        agent.wait_for("is full");
        one_shots(&lab, "client", "server", 8000..8600);
    }
    fs::remove_file(filler).unwrap();
    let log = agent.stop();
    assert!(log.contains("works again"), "{log}");
    let flows = lab.flows();
    let both = [View::Client, View::Server];
    let expected = (8000..8600).flat_map(|port| both.map(|view| (port, view)));
    let expected: Vec<_> = expected.map(|(port, view)| (port, view, 2)).collect();
    let mut found: Vec<_> = flows
        .into_iter()
        .map(|((_, _, port, view, outcome), count)| {
            assert_eq!(outcome, Outcome::Established);
            (port, view, count)
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
