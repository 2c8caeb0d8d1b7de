//! Which labels are chosen in which situation.

use super::*;

type Template<'a> = &'a [(&'a str, &'a str)];

fn labels(of: Template<'_>) -> Labels {
    of.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Workloads of the namespace `n` by name, each with the owner's selector and the label sets of template and pods.
fn cluster(workloads: &[(&str, Template<'_>, &[Template<'_>])]) -> Cluster {
    let workload = |(name, selector, sets): &(&str, Template<'_>, &[Template<'_>])| {
        let workload = Workload {
            selector: labels(selector),
            label_sets: sets.iter().map(|set| labels(set)).collect(),
            ..Workload::default()
        };
        (WorkloadName::new("n", "Deployment", *name), workload)
    };
    Cluster {
        workloads: workloads.iter().map(workload).collect(),
        ..Cluster::default()
    }
}

/// The selector of `w` as `key=value` in order, or the names that clash with it.
fn chosen(workloads: &[(&str, Template<'_>, &[Template<'_>])]) -> Result<Vec<String>, Vec<String>> {
    let cluster = cluster(workloads);
    let selector = Selectors::new(&cluster).of(&WorkloadName::new("n", "Deployment", "w"));
    match selector {
        Ok(selector) => Ok(selector
            .iter()
            .map(|(key, values)| format!("{key}={}", values.first().unwrap()))
            .collect()),
        Err(unselectable) => Err(unselectable
            .clashes
            .into_iter()
            .map(|name| name.name.clone())
            .collect()),
    }
}

fn ok(expected: &[&str]) -> Result<Vec<String>, Vec<String>> {
    Ok(expected.iter().map(|label| (*label).to_owned()).collect())
}

fn clash(expected: &[&str]) -> Result<Vec<String>, Vec<String>> {
    Err(expected.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn the_owners_selector_is_taken_as_it_is_if_it_is_unique() {
    let w: (&str, Template<'_>, &[Template<'_>]) = (
        "w",
        &[("app", "w"), ("tier", "x")],
        &[&[("app", "w"), ("tier", "x"), ("zone", "1")]],
    );
    assert_eq!(chosen(&[w]), ok(&["app=w", "tier=x"]));
    assert_eq!(
        chosen(&[w, ("v", &[("app", "w")], &[&[("app", "w"), ("tier", "y")]])]),
        ok(&["app=w", "tier=x"])
    );
}

#[test]
fn the_fewest_labels_are_added_the_most_telling_first() {
    let template: Template<'_> = &[
        ("app", "a"),
        ("app.kubernetes.io/instance", "w"),
        ("tier", "x"),
    ];
    let rival: Template<'_> = &[
        ("app", "a"),
        ("app.kubernetes.io/instance", "v"),
        ("tier", "y"),
    ];
    let workloads: [(&str, Template<'_>, &[Template<'_>]); 2] = [
        ("w", &[("app", "a")], &[template]),
        ("v", &[("app", "a")], &[rival]),
    ];
    assert_eq!(
        chosen(&workloads),
        ok(&["app=a", "app.kubernetes.io/instance=w"])
    );
}

#[test]
fn two_labels_are_added_where_one_does_not_do() {
    let sets: [Template<'_>; 3] = [
        &[("a", "1"), ("b", "1"), ("c", "1")],
        &[("a", "1"), ("b", "2"), ("c", "1")],
        &[("a", "2"), ("b", "1"), ("c", "1")],
    ];
    let workloads: [(&str, Template<'_>, &[Template<'_>]); 3] = [
        ("w", &[], &[sets[0]]),
        ("v", &[], &[sets[1]]),
        ("u", &[], &[sets[2]]),
    ];
    assert_eq!(chosen(&workloads), ok(&["a=1", "b=1"]));
}

#[test]
fn labels_that_do_not_last_are_not_used_even_of_the_owners_selector() {
    let template: Template<'_> = &[("controller-uid", "u"), ("job-name", "w"), ("team", "x")];
    assert_eq!(
        chosen(&[("w", &[("controller-uid", "u")], &[template])]),
        ok(&["team=x"])
    );
    assert_eq!(
        chosen(&[(
            "w",
            &[("controller-uid", "u")],
            &[&[("controller-uid", "u")]]
        )]),
        clash(&[])
    );
}

#[test]
fn labels_that_some_pod_does_not_bear_are_not_used() {
    let pods: [Template<'_>; 2] = [&[("app", "w"), ("new", "1")], &[("app", "w")]];
    assert_eq!(chosen(&[("w", &[], &pods)]), ok(&["app=w"]));
}

#[test]
fn a_workload_at_zero_and_a_single_pod_of_another_count() {
    let w: (&str, Template<'_>, &[Template<'_>]) =
        ("w", &[("app", "w")], &[&[("app", "w"), ("tier", "x")]]);
    assert_eq!(
        chosen(&[w, ("zero", &[("app", "w")], &[])]),
        ok(&["app=w", "tier=x"])
    );
    let stray: (&str, Template<'_>, &[Template<'_>]) = (
        "stray",
        &[],
        &[&[("app", "other")], &[("app", "w"), ("tier", "x")]],
    );
    assert_eq!(chosen(&[w, stray]), clash(&["stray"]));
}

#[test]
fn without_any_label_nothing_is_selected() {
    assert_eq!(chosen(&[("w", &[], &[&[]])]), clash(&[]));
    assert_eq!(chosen(&[("other", &[], &[&[("a", "b")]])]), clash(&[]));
}

#[test]
fn a_search_that_is_cut_off_still_tells_apart() {
    let keys: Vec<String> = (0..40).map(|number| format!("k{number:02}")).collect();
    let with = |odd: usize| -> Labels {
        keys.iter()
            .enumerate()
            .map(|(n, key)| (key.clone(), if n == odd { "2" } else { "1" }.to_owned()))
            .collect()
    };
    let mut cluster = cluster(&[]);
    for odd in 0..21 {
        let labels = if odd == 20 {
            with(usize::MAX)
        } else {
            with(odd)
        };
        let name = WorkloadName::new("n", "Deployment", format!("w{odd}"));
        cluster.workloads.insert(
            name,
            Workload {
                label_sets: [labels].into(),
                ..Workload::default()
            },
        );
    }
    let selector = Selectors::new(&cluster)
        .of(&WorkloadName::new("n", "Deployment", "w20"))
        .unwrap();
    assert_eq!(selector.keys().len(), 20);
}

/// One label does where two more telling ones would too; and of several single ones the most telling.
#[test]
fn fewer_labels_come_before_more_telling_ones() {
    let w: Template<'_> = &[("app", "x"), ("tier", "y"), ("zone", "z")];
    let first: Template<'_> = &[("app", "x"), ("tier", "b"), ("zone", "c")];
    let second: Template<'_> = &[("app", "a"), ("tier", "y"), ("zone", "d")];
    let among = |others: &[Template<'_>]| {
        let names = ["u", "v"];
        let others = names.iter().zip(others);
        let sets: Vec<[Template<'_>; 1]> = others.clone().map(|(_, labels)| [*labels]).collect();
        let own = [w];
        let rest = others
            .zip(&sets)
            .map(|((name, _), set)| (*name, &[][..], &set[..]));
        let all: Vec<(&str, Template<'_>, &[Template<'_>])> =
            std::iter::once(("w", &[][..], &own[..]))
                .chain(rest)
                .collect();
        chosen(&all)
    };
    assert_eq!(among(&[first, second]), ok(&["zone=z"]));
    assert_eq!(among(&[first]), ok(&["tier=y"]));
    assert_eq!(among(&[second]), ok(&["app=x"]));
}
