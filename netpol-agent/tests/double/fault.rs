//! What tests make go wrong.

use std::time::Duration;

use super::world::Request;

/// Something that goes wrong with some requests.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Requests of this sort only; see [`Request::sort`].
    pub(crate) sort: Option<&'static str>,
    /// Requests about this only.
    pub(crate) plural: Option<&'static str>,
    /// What goes wrong.
    pub(crate) what: Misbehaviour,
    /// How often still; for ever if absent.
    pub(crate) times: Option<usize>,
}

/// What may go wrong with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Misbehaviour {
    /// It is answered by this status, and nothing else happens.
    Status(u16),
    /// It takes so long, and then happens.
    Slow(Duration),
    /// The connection breaks before anything happens.
    Cut,
    /// It happens, but the connection breaks before the answer.
    CutAfter,
}

impl Fault {
    /// Something that goes wrong with requests of that sort about that plural.
    pub(crate) fn of(sort: &'static str, plural: &'static str, what: Misbehaviour) -> Self {
        Self {
            sort: Some(sort),
            plural: Some(plural),
            what,
            times: None,
        }
    }

    /// The same, so often only.
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn concerns(&self, request: &Request) -> bool {
        self.times != Some(0)
            && self.sort.is_none_or(|sort| sort == request.sort)
            && self.plural.is_none_or(|plural| plural == request.plural)
    }
}

/// What goes wrong with a request, counted.
pub(super) fn next(faults: &mut [Fault], request: &Request) -> Option<Misbehaviour> {
    let fault = faults.iter_mut().find(|fault| fault.concerns(request))?;
    if let Some(times) = &mut fault.times {
        *times -= 1;
    }
    Some(fault.what)
}
