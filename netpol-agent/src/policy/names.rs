//! Names of policy objects: `<workload>-<kind>`, made valid and unique.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;
use sha2::{Digest, Sha256};

/// The longest name of an object (RFC 1123 subdomain, as the API server checks it).
const LONGEST: usize = 253;
/// The longest value of a label.
const LONGEST_LABEL_VALUE: usize = 63;
/// How many hexadecimal digits of the hash tell two names apart.
const HASH_DIGITS: usize = 8;

/// The names of the policies of these workloads. Of two workloads of a namespace with the same name, the first in
/// canonical order keeps it.
#[must_use]
pub fn policy_names<'a>(
    workloads: impl IntoIterator<Item = &'a WorkloadName>,
) -> BTreeMap<&'a WorkloadName, String> {
    let workloads: BTreeSet<&WorkloadName> = workloads.into_iter().collect();
    let mut taken: BTreeSet<(&str, String)> = BTreeSet::new();
    let mut names = BTreeMap::new();
    for workload in workloads {
        let plain = plain(workload);
        let free = is_subdomain(&plain) && !taken.contains(&(&*workload.namespace, plain.clone()));
        let name = if free {
            plain
        } else {
            hashed(workload, &plain, LONGEST)
        };
        taken.insert((&workload.namespace, name.clone()));
        names.insert(workload, name);
    }
    names
}

/// A name with a hash, for a policy whose own name another object has.
#[must_use]
pub fn other_name(workload: &WorkloadName) -> String {
    hashed(workload, &plain(workload), LONGEST)
}

/// A label value that tells a workload apart within its namespace.
pub(super) fn label_value(workload: &WorkloadName) -> String {
    let plain = plain(workload);
    match is_subdomain(&plain) && plain.len() <= LONGEST_LABEL_VALUE {
        true => plain,
        false => hashed(workload, &plain, LONGEST_LABEL_VALUE),
    }
}

/// The name that a workload's policy has if nothing speaks against it.
fn plain(workload: &WorkloadName) -> String {
    format!("{}-{}", workload.name, workload.kind).to_lowercase()
}

/// A valid name with a hash of kind and name at its end.
fn hashed(workload: &WorkloadName, plain: &str, longest: usize) -> String {
    let digest = Sha256::digest(format!("{}/{}", workload.kind, workload.name));
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = &hash[..HASH_DIGITS];
    let room = longest - HASH_DIGITS - 1;
    let kept: String = plain
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .take(room)
        .collect();
    match kept.trim_matches('-') {
        "" => format!("policy-{hash}"),
        kept => format!("{kept}-{hash}"),
    }
}

/// Whether a text is an RFC 1123 subdomain.
fn is_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        label.chars().all(|c| is_plain(c) || c == '-')
            && label.starts_with(is_plain)
            && label.ends_with(is_plain)
    };
    text.len() <= LONGEST && text.split('.').all(is_label)
}

/// A lower-case letter or a digit.
fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(workloads: &[(&str, &str)]) -> Vec<String> {
        let workloads: Vec<WorkloadName> = workloads
            .iter()
            .map(|(kind, name)| WorkloadName::new("shop", *kind, *name))
            .collect();
        let names = policy_names(&workloads);
        workloads
            .iter()
            .map(|workload| names[workload].clone())
            .collect()
    }

    #[test]
    fn a_name_is_workload_and_kind_in_lower_case() {
        assert_eq!(
            names(&[("StatefulSet", "db"), ("CronJob", "a.b")]),
            ["db-statefulset", "a.b-cronjob"]
        );
    }

    #[test]
    fn a_name_that_is_taken_gets_a_hash() {
        let names = names(&[("Worker", "web"), ("WORKER", "web")]);
        assert_eq!(names[1], "web-worker");
        assert!(names[0].starts_with("web-worker-") && names[0].len() == "web-worker-".len() + 8);
    }

    #[test]
    fn an_invalid_or_long_name_is_mended_and_gets_a_hash() {
        let long = "x".repeat(250);
        for (kind, name) in [
            ("Deployment", &*long),
            ("Run", "nightly-*"),
            ("Job", "-"),
            ("Job", "ü"),
        ] {
            let name = &names(&[(kind, name)])[0];
            assert!(is_subdomain(name), "{name}");
            assert!(name.len() <= LONGEST);
        }
        assert_ne!(names(&[("Run", "a*")]), names(&[("Run", "a+")]));
    }

    #[test]
    fn subdomains_are_told_from_what_is_none() {
        for good in ["a", "0", "a-b", "a.b", "a-0.b"] {
            assert!(is_subdomain(good), "{good}");
        }
        let long = "a".repeat(254);
        for bad in [
            "", "-a", "a-", "a..b", ".a", "a.", "a_b", "A", "a.-b", &long,
        ] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_mended_keeps_as_much_as_fits() {
        let of = |kind: &str, name: &str| {
            let name = names(&[(kind, name)]).remove(0);
            let (start, hash) = name.split_at(name.len() - HASH_DIGITS);
            assert!(hash.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
            start.to_owned()
        };
        assert_eq!(of("Run", "nightly-*"), "nightly---run-");
        assert_eq!(of("Job", "-"), "job-");
        assert_eq!(of("Job", "ü_Ü"), "job-");
        let long = "x".repeat(250);
        assert_eq!(of("Deployment", &long), format!("{}-", "x".repeat(244)));
        let other = other_name(&WorkloadName::new("shop", "Job", "x"));
        assert_eq!((&other[..6], other.len()), ("x-job-", 14));
    }

    #[test]
    fn a_label_value_has_a_hash_where_the_name_is_too_long_or_no_name() {
        let of = |name: &str| label_value(&WorkloadName::new("shop", "Job", name));
        let fits = "x".repeat(59);
        assert_eq!(of(&fits), format!("{fits}-job"));
        let long = of(&"x".repeat(60));
        assert_eq!(
            (long.len(), &long[..55]),
            (63, &*format!("{}-", "x".repeat(54)))
        );
        assert!(of("a*").starts_with("a--job-"), "{}", of("a*"));
        assert_eq!(of("a.b"), "a.b-job");
    }

    #[test]
    fn the_same_name_in_two_namespaces_is_not_taken() {
        let workloads = [
            WorkloadName::new("a", "Job", "x"),
            WorkloadName::new("b", "Job", "x"),
        ];
        let names = policy_names(&workloads);
        assert!(names.values().all(|name| name == "x-job"));
    }
}
