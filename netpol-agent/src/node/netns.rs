//! Numbers of network namespaces: what the calling thread's namespace calls another one.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{NetlinkError, Requests};

/// Asks for numbers in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Numbers {
    requests: Requests,
}

impl Numbers {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`].
    pub fn open() -> Result<Self, NetlinkError> {
        let requests = Requests::open(NETLINK_ROUTE)?;
        Ok(Self { requests })
    }

    /// The number of the namespace of an open `/proc/<pid>/ns/net`, or of a file that a namespace is mounted on.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; refused if it is no namespace.
    pub fn of_file(&self, namespace: BorrowedFd<'_>) -> Result<Option<i32>, NetlinkError> {
        self.ask(NsidAttribute::Fd(namespace.as_raw_fd().cast_unsigned()))
    }

    /// The same for a path; none also where there is no such file.
    pub(super) fn of_path(&self, path: &Path) -> Option<i32> {
        let file = File::open(path).ok()?;
        self.of_file(file.as_fd()).ok()?
    }

    /// The number of the namespace of a process, which the caller's process namespace must know by that number.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; refused if there is no such process.
    pub fn of_process(&self, process: u32) -> Result<Option<i32>, NetlinkError> {
        self.ask(NsidAttribute::Pid(process))
    }

    /// `RTM_GETNSID`; none where nothing here refers to that namespace, so that no interface leads there.
    fn ask(&self, wanted: NsidAttribute) -> Result<Option<i32>, NetlinkError> {
        let mut request = NsidMessage::default();
        request.attributes.push(wanted);
        let answer = self
            .requests
            .ask(&RouteNetlinkMessage::GetNsId(request), 0)?;
        let numbers = answer.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNsId(message) => Some(&message.attributes),
            _ => None,
        });
        let mut ids = numbers.flatten().filter_map(|attribute| match attribute {
            NsidAttribute::Id(id) if *id >= 0 => Some(*id),
            _ => None,
        });
        Ok(ids.next())
    }
}
