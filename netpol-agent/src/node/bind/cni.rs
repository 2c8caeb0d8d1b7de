//! The results that libcni keeps: which pod a CNI plugin attached, by which interfaces, with which addresses.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tracing::debug;

use super::facts::{CniPod, CniResult};
use crate::node::netns::Numbers;

/// The largest file that is read; results are of a few kilobytes.
const LARGEST: u64 = 1 << 20;
/// The most files that are read per directory: one per interface and pod, and what crashed runtimes left behind.
const MOST_FILES: usize = 4_096;

/// A result, and the files its network namespace may be mounted on.
#[derive(Debug, Default, Eq, PartialEq)]
struct Cached {
    result: CniResult,
    sandboxes: Vec<PathBuf>,
}

/// The wrapper that libcni 0.8 and later keep (kind `cniCacheV1`). Before, the file was the bare result.
#[derive(Deserialize)]
struct Wrapper {
    #[serde(default, rename = "cniArgs")]
    arguments: Option<Vec<(String, String)>>,
    #[serde(default)]
    netns: Option<String>,
    result: RawResult,
}

/// The part of a CNI result (specification 0.3 to 1.1) that says what the plugin made.
#[derive(Default, Deserialize)]
struct RawResult {
    #[serde(default)]
    interfaces: Option<Vec<RawInterface>>,
    #[serde(default)]
    ips: Option<Vec<RawIp>>,
}

#[derive(Deserialize)]
struct RawInterface {
    name: String,
    #[serde(default)]
    sandbox: Option<String>,
}

#[derive(Deserialize)]
struct RawIp {
    address: String,
}

/// The results in `dirs`. Directories that do not exist, and files that do not decode, are no error: most runtimes
/// use one directory of several, and files may be half-written.
pub(super) fn results(dirs: &[PathBuf], numbers: &Numbers) -> Vec<CniResult> {
    let cached = dirs.iter().flat_map(|dir| read_dir(dir));
    cached
        .map(|cached| {
            let mut found = cached
                .sandboxes
                .iter()
                .filter_map(|path| numbers.of_path(path));
            CniResult {
                netnsid: found.next(),
                ..cached.result
            }
        })
        .collect()
}

fn read_dir(dir: &Path) -> Vec<Cached> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths.truncate(MOST_FILES);
    let cached = paths.iter().filter_map(|path| {
        let cached = read_file(path).map(|bytes| parse(&bytes));
        if !matches!(cached, Ok(Some(_))) {
            debug!(path = %path.display(), "not a result of a CNI plugin");
        }
        cached.ok().flatten()
    });
    cached.collect()
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Option<Cached> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let wrapped = value.get("result").is_some();
    let wrapper = if wrapped {
        serde_json::from_value(value).ok()?
    } else {
        Wrapper {
            arguments: None,
            netns: None,
            result: serde_json::from_value(value).ok()?,
        }
    };
    Some(wrapper.into())
}

impl From<Wrapper> for Cached {
    fn from(wrapper: Wrapper) -> Self {
        let interfaces = wrapper.result.interfaces.unwrap_or_default();
        let is_inside = |interface: &RawInterface| sandbox(interface).is_some();
        let inside = interfaces.iter().filter_map(sandbox);
        let sandboxes = wrapper
            .netns
            .iter()
            .map(PathBuf::from)
            .chain(inside)
            .collect();
        let outside = interfaces.iter().filter(|interface| !is_inside(interface));
        let ips = wrapper.result.ips.unwrap_or_default();
        Self {
            result: CniResult {
                pod: wrapper.arguments.as_deref().and_then(pod),
                host_interfaces: outside.map(|interface| interface.name.clone()).collect(),
                netnsid: None,
                addresses: ips.iter().filter_map(address).collect(),
            },
            sandboxes,
        }
    }
}

fn sandbox(interface: &RawInterface) -> Option<PathBuf> {
    let sandbox = interface.sandbox.as_deref().filter(|path| !path.is_empty());
    sandbox.map(PathBuf::from)
}

fn address(ip: &RawIp) -> Option<IpAddr> {
    let address = ip.address.split('/').next()?;
    address.parse().ok()
}

fn pod(arguments: &[(String, String)]) -> Option<CniPod> {
    let argument = |key: &str| {
        let found = arguments.iter().find(|(name, _)| name == key);
        found
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    };
    Some(CniPod {
        namespace: argument("K8S_POD_NAMESPACE")?,
        name: argument("K8S_POD_NAME")?,
        uid: argument("K8S_POD_UID"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WRAPPED: &str = r#"{
        "kind": "cniCacheV1", "containerId": "4e5b", "config": "e30=", "ifName": "eth0", "networkName": "pods",
        "netns": "/var/run/netns/cni-1",
        "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "web-0"],
                    ["K8S_POD_INFRA_CONTAINER_ID", "4e5b"], ["K8S_POD_UID", "u-1"]],
        "result": {
            "cniVersion": "1.0.0", "dns": {},
            "interfaces": [{"mac": "02:00:00:00:00:01", "name": "veth1"},
                           {"mac": "02:00:00:00:00:02", "name": "eth0", "sandbox": "/var/run/netns/cni-1"}],
            "ips": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1},
                    {"address": "fd00::5/64", "interface": 1}]}}"#;

    fn web() -> CniResult {
        CniResult {
            pod: Some(CniPod {
                namespace: "shop".into(),
                name: "web-0".into(),
                uid: Some("u-1".into()),
            }),
            host_interfaces: vec!["veth1".into()],
            netnsid: None,
            addresses: vec!["10.1.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        }
    }

    #[test]
    fn a_wrapped_result_names_the_pod() {
        let netns = PathBuf::from("/var/run/netns/cni-1");
        let expected = Cached {
            result: web(),
            sandboxes: vec![netns.clone(), netns],
        };
        assert_eq!(parse(WRAPPED.as_bytes()), Some(expected));
    }

    #[test]
    fn a_bare_result_names_interfaces_and_addresses_only() {
        let value: Value = serde_json::from_str(WRAPPED).unwrap();
        let parsed = parse(value["result"].to_string().as_bytes()).unwrap();
        assert_eq!(parsed.result, CniResult { pod: None, ..web() });
        assert_eq!(parsed.sandboxes, [PathBuf::from("/var/run/netns/cni-1")]);
    }

    #[test]
    fn nulls_and_missing_parts_are_read_as_nothing() {
        for text in [
            r#"{"result": {}}"#,
            r#"{"result": {"interfaces": null, "ips": null}, "cniArgs": null}"#,
            r#"{"result": {"ips": [{"address": "nonsense"}]}, "cniArgs": [["K8S_POD_NAME", "web-0"]]}"#,
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Cached::default()), "{text}");
        }
    }

    #[test]
    fn broken_files_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a-broken"), &WRAPPED[..200]).unwrap();
        fs::write(dir.path().join("b-empty"), "").unwrap();
        fs::write(dir.path().join("c-list"), "[1, 2]").unwrap();
        fs::create_dir(dir.path().join("d-directory")).unwrap();
        fs::write(dir.path().join("e-good"), WRAPPED).unwrap();
        let found = read_dir(dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].result, web());
        assert_eq!(read_dir(&dir.path().join("absent")), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_truncation_is_no_result(length in 0..WRAPPED.len()) {
            prop_assert_eq!(parse(&WRAPPED.as_bytes()[..length]), None);
        }
    }
}
