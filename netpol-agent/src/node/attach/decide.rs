//! Which mechanism attaches the classifiers, decided from probe results alone.

use std::fmt;

use clap::ValueEnum;
use nix::errno::Errno;

use super::error::AttachError;
use crate::node::probe::{Bpffs, Capability, KernelVersion, ProbeResults, Trial};

/// What the person who runs the agent asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum AttachChoice {
    /// TCX where the kernel has it, clsact below.
    #[default]
    Auto,
    /// TCX or nothing.
    Tcx,
    /// Filters on a clsact qdisc, also where TCX could be had.
    Clsact,
}

/// How a classifier is attached to an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// A BPF link on the interface's TCX hook (Linux 6.6, commit e420bed02507).
    Tcx,
    /// A direct-action `bpf` filter on the interface's clsact qdisc (Linux 4.5, commit 1f211a1b929c).
    Clsact,
}

/// What will be done, and what the person should know about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// How classifiers are attached.
    pub mechanism: Mechanism,
    /// Whether maps and links outlive the process in bpffs.
    pub pinned: bool,
    /// Shortcomings to log once, as sentences.
    pub warnings: Vec<String>,
}

/// The oldest kernel that netpol runs on: coarse clock for BPF and memory-cgroup accounting of maps.
pub const MINIMUM_KERNEL: KernelVersion = KernelVersion::new(5, 11);
/// The first kernel with TCX.
pub const TCX_KERNEL: KernelVersion = KernelVersion::new(6, 6);

/// Chooses the mechanism from what was probed.
///
/// # Errors
///
/// Says what is too old, missing or refused, and what to grant or change.
pub fn decide(probed: &ProbeResults, choice: AttachChoice) -> Result<Plan, AttachError> {
    let kernel = new_enough(&probed.release)?;
    privileged(probed)?;
    let mut warnings = Vec::from_iter(guarded(probed));
    let mechanism = match choice {
        AttachChoice::Clsact => Mechanism::Clsact,
        AttachChoice::Tcx => tcx(kernel, probed).map(|()| Mechanism::Tcx)?,
        AttachChoice::Auto => match tcx(kernel, probed) {
            Ok(()) => Mechanism::Tcx,
            Err(_) if kernel < TCX_KERNEL => Mechanism::Clsact,
            Err(error) => {
                warnings.push(format!("{error}; using clsact"));
                Mechanism::Clsact
            }
        },
    };
    let pinned = pinned(&probed.bpffs, &mut warnings);
    Ok(Plan {
        mechanism,
        pinned,
        warnings,
    })
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "TCX",
            Self::Clsact => "clsact",
        })
    }
}

fn new_enough(release: &str) -> Result<KernelVersion, AttachError> {
    let Some(kernel) = KernelVersion::of_release(release) else {
        return Err(AttachError::UnknownKernel {
            release: release.to_owned(),
        });
    };
    if kernel < MINIMUM_KERNEL {
        return Err(AttachError::KernelTooOld { found: kernel });
    }
    Ok(kernel)
}

fn privileged(probed: &ProbeResults) -> Result<(), AttachError> {
    let needed = [Capability::Bpf, Capability::NetAdmin];
    let missing: Vec<_> = needed
        .into_iter()
        .filter(|capability| !allows(probed, *capability))
        .collect();
    match probed.load {
        Trial::Fails(Errno::ENOSYS) => Err(AttachError::NoBpf),
        _ if !missing.is_empty() => Err(AttachError::MissingCapabilities {
            missing,
            user: probed.effective_user,
        }),
        Trial::Fails(errno) => Err(AttachError::BpfRefused { errno }),
        Trial::Works => Ok(()),
    }
}

/// Without CAP_PERFMON the kernel also verifies what a processor may speculate, and puts guards into the program.
fn guarded(probed: &ProbeResults) -> Option<String> {
    (!allows(probed, Capability::Perfmon)).then(|| {
        "running without CAP_PERFMON: the kernel guards the program against speculation, which makes it slower (measured \
         once: by about 11 ns for a TCP data packet, 90 to 210 ns for others); grant CAP_PERFMON to be rid of the guards"
            .to_owned()
    })
}

/// CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON, as in the kernel; netlink asks for CAP_NET_ADMIN itself.
fn allows(probed: &ProbeResults, capability: Capability) -> bool {
    let held = &probed.capabilities;
    held.has(capability) || capability != Capability::NetAdmin && held.has(Capability::SysAdmin)
}

fn tcx(kernel: KernelVersion, probed: &ProbeResults) -> Result<(), AttachError> {
    match probed.tcx {
        _ if kernel < TCX_KERNEL => Err(AttachError::NoTcx { found: kernel }),
        Trial::Works => Ok(()),
        Trial::Fails(errno) => Err(AttachError::TcxRefused { errno }),
    }
}

fn pinned(bpffs: &Bpffs, warnings: &mut Vec<String>) -> bool {
    let because = match bpffs {
        Bpffs::Ready => return true,
        Bpffs::NotWanted => "pinning is switched off".to_owned(),
        Bpffs::NotMounted { path } => {
            let path = path.display();
            format!("{path} is not a BPF file system (mount one: mount -t bpf bpf {path})")
        }
        Bpffs::NotWritable { path, errno } => {
            format!("{} cannot be written to ({})", path.display(), errno.desc())
        }
    };
    warnings.push(format!(
        "running unpinned: {because}; counts and links end with this process, and a restart leaves a gap"
    ));
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::probe::Capabilities;
    use proptest::prelude::*;

    const ALL: [Capability; 4] = [
        Capability::NetAdmin,
        Capability::SysAdmin,
        Capability::Perfmon,
        Capability::Bpf,
    ];

    fn probed(release: &str) -> ProbeResults {
        ProbeResults {
            release: release.to_owned(),
            effective_user: 0,
            capabilities: Capabilities::of(&ALL),
            load: Trial::Works,
            tcx: Trial::Works,
            bpffs: Bpffs::Ready,
        }
    }

    fn plan(mechanism: Mechanism) -> Plan {
        Plan {
            mechanism,
            pinned: true,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn auto_picks_tcx_from_6_6_on() {
        for (release, mechanism) in [
            ("5.11.0", Mechanism::Clsact),
            ("5.15.0-122-generic", Mechanism::Clsact),
            ("6.1.0-28-amd64", Mechanism::Clsact),
            ("6.5.13", Mechanism::Clsact),
            ("6.6.0", Mechanism::Tcx),
            ("6.10.3-cloud", Mechanism::Tcx),
            ("10.0.0", Mechanism::Tcx),
        ] {
            let decided = decide(&probed(release), AttachChoice::Auto).unwrap();
            assert_eq!(decided, plan(mechanism), "{release}");
        }
    }

    #[test]
    fn an_old_kernel_is_refused_whatever_is_asked_for() {
        for choice in AttachChoice::value_variants() {
            for release in ["5.10.0-28-amd64", "4.18.0-553.el8.x86_64", "2.6.32"] {
                let error = decide(&probed(release), *choice).unwrap_err();
                assert!(matches!(error, AttachError::KernelTooOld { .. }), "{error}");
            }
        }
        let error = decide(&probed("5.10.219"), AttachChoice::Auto).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Linux 5.10 is too old: netpol needs Linux 5.11 or newer on the node"
        );
    }

    #[test]
    fn an_unreadable_release_is_an_error() {
        for release in ["", "linux", "6", "6.", ".6", "x.6.1"] {
            let error = decide(&probed(release), AttachChoice::Auto).unwrap_err();
            assert!(
                matches!(error, AttachError::UnknownKernel { .. }),
                "{release:?}"
            );
        }
    }

    #[test]
    fn a_choice_forces_the_mechanism_or_fails() {
        let new = probed("6.18.1");
        assert_eq!(
            decide(&new, AttachChoice::Clsact).unwrap(),
            plan(Mechanism::Clsact)
        );
        assert_eq!(
            decide(&new, AttachChoice::Tcx).unwrap(),
            plan(Mechanism::Tcx)
        );
        let old = probed("6.5.0");
        assert_eq!(
            decide(&old, AttachChoice::Clsact).unwrap(),
            plan(Mechanism::Clsact)
        );
        let error = decide(&old, AttachChoice::Tcx).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Linux 6.5 has no TCX, which came with 6.6: use --attach auto or --attach clsact"
        );
    }

    #[test]
    fn a_new_kernel_that_refuses_tcx_falls_back_and_says_so() {
        let mut odd = probed("6.8.0");
        odd.tcx = Trial::Fails(Errno::EINVAL);
        let decided = decide(&odd, AttachChoice::Auto).unwrap();
        assert_eq!(decided.mechanism, Mechanism::Clsact);
        assert!(decided.warnings[0].ends_with("using clsact"), "{decided:?}");
        let error = decide(&odd, AttachChoice::Tcx).unwrap_err();
        assert!(matches!(
            error,
            AttachError::TcxRefused {
                errno: Errno::EINVAL
            }
        ));
        assert_eq!(
            decide(&odd, AttachChoice::Clsact).unwrap(),
            plan(Mechanism::Clsact)
        );
    }

    #[test]
    fn missing_capabilities_are_named_and_sys_admin_stands_in_for_bpf() {
        use Capability::{Bpf, NetAdmin, Perfmon, SysAdmin};
        for (held, missing) in [
            (&[][..], &[Bpf, NetAdmin][..]),
            (&[Bpf, Perfmon], &[NetAdmin]),
            (&[NetAdmin, Perfmon], &[Bpf]),
            (&[Bpf, NetAdmin], &[]),
            (&[SysAdmin], &[NetAdmin]),
            (&[SysAdmin, NetAdmin], &[]),
            (&[Bpf, NetAdmin, Perfmon], &[]),
        ] {
            let mut results = probed("6.18.1");
            results.capabilities = Capabilities::of(held);
            let expected = (!missing.is_empty()).then(|| missing.to_vec());
            let got = match decide(&results, AttachChoice::Auto) {
                Ok(_) => None,
                Err(AttachError::MissingCapabilities { missing, .. }) => Some(missing),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(got, expected, "{held:?}");
        }
    }

    #[test]
    fn without_perfmon_it_runs_and_says_that_it_is_slower() {
        use Capability::{Bpf, NetAdmin, Perfmon, SysAdmin};
        for (held, slower) in [
            (&[Bpf, NetAdmin][..], true),
            (&[Bpf, NetAdmin, Perfmon], false),
            (&[SysAdmin, NetAdmin], false),
        ] {
            let mut results = probed("6.18.1");
            results.capabilities = Capabilities::of(held);
            let decided = decide(&results, AttachChoice::Auto).unwrap();
            let says = |warning: &String| {
                warning.contains("without CAP_PERFMON") && warning.contains("slower")
            };
            assert_eq!(decided.warnings.iter().any(says), slower, "{decided:?}");
        }
    }

    #[test]
    fn what_to_grant_is_in_the_message() {
        let mut results = probed("6.18.1");
        results.capabilities = Capabilities::default();
        results.effective_user = 1000;
        results.load = Trial::Fails(Errno::EPERM);
        assert_eq!(
            decide(&results, AttachChoice::Auto)
                .unwrap_err()
                .to_string(),
            "user 1000 may not observe packets: grant CAP_BPF, CAP_NET_ADMIN, or run as root"
        );
    }

    #[test]
    fn a_refused_trial_with_all_capabilities_points_at_other_causes() {
        for (errno, part) in [
            (Errno::EPERM, "seccomp"),
            (Errno::EACCES, "seccomp"),
            (Errno::ENOMEM, "cannot load"),
        ] {
            let mut results = probed("6.18.1");
            results.load = Trial::Fails(errno);
            let error = decide(&results, AttachChoice::Auto).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        let mut results = probed("6.18.1");
        results.capabilities = Capabilities::default();
        results.load = Trial::Fails(Errno::ENOSYS);
        let error = decide(&results, AttachChoice::Auto).unwrap_err();
        assert!(matches!(error, AttachError::NoBpf), "{error}");
    }

    #[test]
    fn without_bpffs_it_runs_unpinned_and_says_why() {
        let path = std::path::PathBuf::from("/b");
        for (bpffs, part) in [
            (Bpffs::NotWanted, "pinning is switched off"),
            (
                Bpffs::NotMounted { path: path.clone() },
                "mount -t bpf bpf /b",
            ),
            (
                Bpffs::NotWritable {
                    path,
                    errno: Errno::EROFS,
                },
                "/b cannot be written to (Read-only file system)",
            ),
        ] {
            let mut results = probed("6.18.1");
            results.bpffs = bpffs;
            let decided = decide(&results, AttachChoice::Auto).unwrap();
            assert!(!decided.pinned);
            assert_eq!(decided.warnings.len(), 1);
            assert!(decided.warnings[0].contains(part), "{decided:?}");
        }
    }

    fn trial() -> impl Strategy<Value = Trial> {
        prop_oneof![
            Just(Trial::Works),
            (1..134_i32).prop_map(|errno| Trial::Fails(Errno::from_raw(errno))),
        ]
    }

    fn results() -> impl Strategy<Value = ProbeResults> {
        let release =
            (0..20_u32, 0..30_u32).prop_map(|(major, minor)| format!("{major}.{minor}.1"));
        let held = prop::sample::subsequence(ALL.to_vec(), 0..=4);
        (release, held, trial(), trial(), 0..2000_u32).prop_map(
            |(release, held, load, tcx, user)| ProbeResults {
                release,
                effective_user: user,
                capabilities: Capabilities::of(&held),
                load,
                tcx,
                bpffs: Bpffs::Ready,
            },
        )
    }

    proptest! {
        #[test]
        fn every_combination_is_decided_by_the_rules(results in results()) {
            let kernel = KernelVersion::of_release(&results.release).unwrap();
            let sys_admin = results.capabilities.has(Capability::SysAdmin);
            let may = results.capabilities.has(Capability::NetAdmin)
                && (sys_admin || results.capabilities.has(Capability::Bpf))
                && results.load == Trial::Works
                && kernel >= MINIMUM_KERNEL;
            let tcx = kernel >= TCX_KERNEL && results.tcx == Trial::Works;
            for choice in AttachChoice::value_variants() {
                let expected = match (may, choice) {
                    (false, _) => None,
                    (true, AttachChoice::Clsact) => Some(Mechanism::Clsact),
                    (true, AttachChoice::Auto) if !tcx => Some(Mechanism::Clsact),
                    (true, AttachChoice::Tcx) if !tcx => None,
                    (true, _) => Some(Mechanism::Tcx),
                };
                let decided = decide(&results, *choice).ok().map(|plan| plan.mechanism);
                prop_assert_eq!(decided, expected);
            }
        }
    }
}
