//! The uid of a pod in the path of a cgroup, as the kubelet and container runtimes spell it.

/// The pods whose uid `path` names, the innermost first. A node that is itself a pod's container nests them.
///
/// The kubelet's drivers write `…/kubepods/burstable/pod<uid>/…` (cgroupfs) and
/// `…/kubepods-burstable-pod<uid>.slice/…` with `_` for `-` (systemd). In a cgroup namespace of one's own the part
/// with `kubepods` may be cut off, so a component alone must do; that it is a pod's uid is for the API to confirm.
pub(in crate::node) fn pod_uids(path: &str) -> impl Iterator<Item = String> {
    path.rsplit('/').filter_map(pod_uid)
}

fn pod_uid(component: &str) -> Option<String> {
    let uid = match component.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => component.strip_prefix("pod")?.to_owned(),
    };
    let plausible = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!uid.is_empty() && uid.bytes().all(plausible)).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "2f7a1c1e-8f7c-4a55-9f2d-0d5c3b0f6a11";

    #[test]
    fn every_spelling_names_the_pod() {
        for path in [
            "/kubepods/burstable/pod2f7a1c1e-8f7c-4a55-9f2d-0d5c3b0f6a11/4e5b",
            "/kubepods/pod2f7a1c1e-8f7c-4a55-9f2d-0d5c3b0f6a11",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2f7a1c1e_8f7c_4a55_9f2d_0d5c3b0f6a11.slice/cri-containerd-4e5b.scope",
            "/kubepods.slice/kubepods-pod2f7a1c1e_8f7c_4a55_9f2d_0d5c3b0f6a11.slice/crio-4e5b.scope",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod2f7a1c1e_8f7c_4a55_9f2d_0d5c3b0f6a11.slice/cri-containerd-4e5b.scope",
            "/../../kubepods-burstable-pod2f7a1c1e_8f7c_4a55_9f2d_0d5c3b0f6a11.slice/cri-containerd-4e5b.scope",
            "/../pod2f7a1c1e-8f7c-4a55-9f2d-0d5c3b0f6a11/4e5b",
        ] {
            assert_eq!(pod_uids(path).collect::<Vec<_>>(), [UID], "{path}");
        }
    }

    #[test]
    fn the_innermost_of_nested_pods_comes_first() {
        let path = "/kubepods/podouter/4e5b/kubelet/kubepods/burstable/podinner/77aa";
        assert_eq!(pod_uids(path).collect::<Vec<_>>(), ["inner", "outer"]);
    }

    #[test]
    fn other_paths_name_no_pod() {
        for path in [
            "/",
            "",
            "/system.slice/kubelet.service",
            "/kubepods/burstable",
            "/kubepods.slice/kubepods-burstable.slice",
            "/kubepods/pod",
            "/user.slice/podman-4.scope",
            "/machine.slice/libpod-4e5b.scope",
            "/kubepods/pod a b",
        ] {
            assert_eq!(pod_uids(path).next(), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read(path in ".{0,200}") {
            for uid in pod_uids(&path) {
                prop_assert!(!uid.contains('/'));
            }
        }
    }
}
