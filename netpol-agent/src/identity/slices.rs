//! What the versions of an endpoint slice have in common, kept once: of its endpoints, up to a thousand, mostly one changes.

use std::collections::BTreeSet;

use super::Shared;
use super::history::History;
use super::objects::{EndpointSlice, SliceEndpoint};

/// Lets a version of a slice share the endpoints that it has in common with another one.
pub(super) fn share_endpoints(slice: &mut EndpointSlice, other: &EndpointSlice) {
    let known: BTreeSet<&Shared<SliceEndpoint>> = other.endpoints.iter().collect();
    for endpoint in &mut slice.endpoints {
        if let Some(known) = known.get(endpoint) {
            *endpoint = Shared::clone(known);
        }
    }
}

/// Lets each version of a slice share the endpoints that it has in common with the one before it.
pub(super) fn share_over_time(slices: &mut History<EndpointSlice>) {
    let mut before: Option<&mut EndpointSlice> = None;
    for slice in slices.all_mut() {
        if let Some(before) = before {
            share_endpoints(slice, before);
        }
        before = Some(slice);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use netpol_common::names::ObjectName;

    use super::*;

    fn slice(usable: [bool; 3]) -> EndpointSlice {
        let endpoint = |(at, usable)| SliceEndpoint {
            addresses: vec![[10, 0, 0, at].into()],
            pod: Some(ObjectName::new("shop", format!("web-{at}"))),
            usable,
        };
        EndpointSlice {
            name: ObjectName::new("shop", "web-x"),
            service: Some("web".to_owned()),
            endpoints: (1..)
                .zip(usable)
                .map(|each| endpoint(each).into())
                .collect(),
            ports: Vec::new(),
        }
    }

    fn shared(one: &EndpointSlice, other: &EndpointSlice) -> [bool; 3] {
        let same = |at: usize| std::ptr::eq(&*one.endpoints[at], &*other.endpoints[at]);
        [0, 1, 2].map(same)
    }

    #[test]
    fn versions_share_what_did_not_change() {
        let first = slice([true, true, true]);
        let changed = slice([true, false, true]);
        let mut second = changed.clone();
        share_endpoints(&mut second, &first);
        assert_eq!(second, changed);
        assert_eq!(shared(&first, &second), [true, false, true]);
    }

    #[test]
    fn versions_that_were_kept_as_text_share_again() {
        let mut history = History::new(slice([true, true, true]), None);
        for second in [1, 2] {
            let at = Timestamp::from_second(second).expect("a time");
            history.replace(slice([true, second == 2, false]), at);
        }
        let text = serde_json::to_string(&history).expect("JSON");
        let mut read: History<EndpointSlice> = serde_json::from_str(&text).expect("a history");
        share_over_time(&mut read);
        assert!(history.all().eq(read.all()));
        let versions: Vec<&EndpointSlice> = read.all().collect();
        assert_eq!(shared(versions[0], versions[1]), [true, false, false]);
        assert_eq!(shared(versions[1], versions[2]), [true, false, true]);
    }
}
