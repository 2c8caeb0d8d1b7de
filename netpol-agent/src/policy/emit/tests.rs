//! What policies of ordinary clusters do not hold: strange names, and more than a format takes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use serde_json::Value;

use super::{File, Format, HEADER, calico, cilium};
use crate::identity::{EdgeId, Peer};
use crate::policy::finding::{Finding, Unenforced};
use crate::policy::model::{
    Basis, Direction, Entity, EntityRule, Policy, PolicyPeer, PortSpec, Rule, Selector, Support,
    Texts,
};
use crate::policy::options::Cni;
use crate::policy::read;

fn selector(key: &str, values: &[&str]) -> Selector {
    Selector::default().with(key, values.iter().copied().collect())
}

fn tcp(port: u16) -> PortSpec {
    PortSpec {
        protocol: Protocol::Tcp,
        port,
        end_port: None,
    }
}

fn rule(peers: Vec<PolicyPeer>, ports: Vec<PortSpec>) -> Rule {
    let edge = EdgeId {
        client: Peer::External(IpAddr::from([198, 51, 100, 1])),
        server: Peer::Node("${n} {{ n }}\nn: [".to_owned()),
        protocol: Protocol::Tcp,
        port: 1,
    };
    let support = Support {
        edge: edge.into(),
        basis: Basis::Established,
        first_seen: None,
        last_seen: None,
        by_service: BTreeSet::new(),
        written_as: None,
        range: None,
    };
    Rule {
        peers,
        ports,
        evidence: vec![support],
    }
}

fn policy(namespace: &str, name: &str, egress: Vec<Rule>) -> Policy {
    Policy {
        workload: WorkloadName::new(namespace, "Deployment", "web"),
        name: name.to_owned(),
        subject: selector("app", &["web"]),
        ingress: Vec::new(),
        egress,
        entities: Vec::new(),
        already: BTreeMap::new(),
        coverage: Some(
            "Coverage: not estimated yet, watched for 1 day of the 7 that an interval needs."
                .to_owned(),
        ),
    }
}

/// Every format as text or files, each with the texts that it consists of.
fn all(policies: &[Policy]) -> Vec<(Format, Vec<String>)> {
    use clap::ValueEnum as _;
    let texts = |format: &Format| {
        let files = format.files(policies, true).into_iter().flatten();
        let files = files.map(|file: File| file.text);
        let texts: Vec<String> = format
            .text(policies, true)
            .into_iter()
            .chain(files)
            .collect();
        (*format, texts)
    };
    Format::value_variants().iter().map(texts).collect()
}

#[test]
fn strange_names_stay_text_everywhere() {
    let strange = "${a} %{b} {{ c }} {% d %} \"e\" \\ # f: g\nh";
    let namespaces = Texts::from_iter([strange]);
    let peer = PolicyPeer::Pods {
        namespaces: Some(namespaces),
        pods: selector("app", &["api"]),
    };
    let policy = policy(
        strange,
        "web-deployment",
        vec![rule(vec![peer], vec![tcp(1)])],
    );
    for (format, texts) in all(&[policy]) {
        for text in texts {
            if format != Format::Json {
                assert!(text.starts_with(HEADER), "{text}");
            }
            if format == Format::Terraform {
                let read: Value = hcl::from_str(&text).expect(&text);
                let resources = read["resource"]["kubernetes_network_policy_v1"].as_object();
                let (name, resource) = resources.and_then(|all| all.iter().next()).unwrap();
                assert!(
                    name.chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
                    "{name}"
                );
                assert_eq!(resource["metadata"]["namespace"], strange);
                continue;
            }
            let read: Value = serde_saphyr::from_str(&text).expect(&text);
            if format == Format::Ansible {
                assert!(
                    text.contains(r##"namespace: !unsafe "${a} %{b} {{ c }}"##),
                    "{text}"
                );
                assert!(
                    text.contains(r##"name: !unsafe "NetworkPolicy ${a}"##),
                    "{text}"
                );
                let definition = &read[0]["tasks"][0]["kubernetes.core.k8s"]["definition"];
                assert_eq!(definition["metadata"]["namespace"], strange);
            }
        }
    }
}

#[test]
fn names_of_resources_differ_and_begin_as_they_must() {
    let name = |namespace: &str, name: &str| {
        let text = super::terraform::resource(&policy(namespace, name, Vec::new()), false);
        let line = text.lines().find(|line| line.starts_with("resource"));
        line.and_then(|line| line.split('"').nth(3))
            .unwrap()
            .to_owned()
    };
    assert_eq!(name("shop", "web-deployment"), "shop_web-deployment");
    assert_eq!(name("shop", "web.v2-deployment"), "shop_web_v2-deployment");
    assert_eq!(name("1a", "x-job"), "_1a_x-job");
    assert_eq!(name("a b", "x"), "a_20_b_x");
}

#[test]
fn long_lists_are_cut_and_mean_the_same() {
    let ports: Vec<PortSpec> = (0..101).map(|number| tcp(2 * number + 1)).collect();
    let blocks = (0..300u16).map(|number| {
        let [high, low] = (2 * number).to_be_bytes();
        PolicyPeer::Block(IpAddr::from([198, 51, high, low]).into())
    });
    let namespaces: Texts = (0..60)
        .map(|number| format!("namespace-{number:050}"))
        .collect();
    let pods = PolicyPeer::Pods {
        namespaces: Some(namespaces.clone()),
        pods: Selector::default().with("app", namespaces),
    };
    let policy = policy(
        "shop",
        "web",
        vec![rule(blocks.chain([pods]).collect(), ports)],
    );

    let cilium = super::cilium::yaml(&policy, true);
    read::cilium::read(&cilium).unwrap();
    let cilium: Value = serde_saphyr::from_str(&cilium).unwrap();
    let lists = cilium["spec"]["egress"][0]["toPorts"].as_array().unwrap();
    let lengths: Vec<usize> = lists
        .iter()
        .map(|list| list["ports"].as_array().unwrap().len())
        .collect();
    assert_eq!(lengths, [40, 40, 21]);

    let text = super::calico::yaml(&policy, true);
    let policies = read::calico::read(&text).unwrap();
    let calico: Value = serde_saphyr::from_str(&text).unwrap();
    for rule in calico["spec"]["egress"].as_array().unwrap() {
        let destination = &rule["destination"];
        assert!(destination["ports"].as_array().unwrap().len() <= 50);
        assert!(
            destination["nets"]
                .as_array()
                .is_none_or(|nets| nets.len() <= 256)
        );
        for field in ["selector", "namespaceSelector"] {
            assert!(
                destination[field]
                    .as_str()
                    .is_none_or(|text| text.len() <= 1024)
            );
        }
    }
    let own = [("app".to_owned(), "web".to_owned())].into();
    let allowed = |other: read::Other<'_>, port| {
        let subject = read::Subject {
            namespace: "shop",
            labels: &own,
        };
        let asked = read::Asked {
            direction: Direction::Egress,
            other,
            protocol: Protocol::Tcp,
            port,
        };
        read::calico::answer(&policies, subject, &asked).allowed
    };
    for number in [0u16, 150, 299] {
        let [high, low] = (2 * number).to_be_bytes();
        let outside = |low| read::Other::Outside {
            address: IpAddr::from([198, 51, high, low]),
            api_server: false,
        };
        assert!(
            allowed(outside(low), 1) && allowed(outside(low), 101) && allowed(outside(low), 201)
        );
        assert!(!allowed(outside(low), 2) && !allowed(outside(low + 1), 1));
    }
    for (number, expected) in [(0, true), (31, true), (59, true), (60, false)] {
        let name = format!("namespace-{number:050}");
        let labels = [("app".to_owned(), name.clone())].into();
        let pod = read::Other::Pod {
            namespace: &name,
            labels: &labels,
            address: IpAddr::from([10, 0, 0, 1]),
        };
        assert_eq!(allowed(pod, 1), expected, "{name}");
    }
}

#[test]
fn cilium_names_nodes_and_the_api_server() {
    let node = IpAddr::from([192, 0, 2, 1]);
    let outside = PolicyPeer::Block("198.51.100.0/24".parse().unwrap());
    let to_node = rule(
        vec![PolicyPeer::Block(node.into()), outside],
        vec![tcp(9100)],
    );
    let more = rule(
        vec![PolicyPeer::Block(node.into())],
        vec![tcp(9100), tcp(80)],
    );
    let entities = EntityRule {
        direction: Direction::Egress,
        entities: [Entity::Host, Entity::RemoteNode].into(),
        addresses: [node].into(),
        ports: vec![tcp(9100)],
        evidence: to_node.evidence.clone(),
    };
    let mut policy = policy("shop", "web", vec![to_node, more]);
    policy.entities = vec![entities];
    policy.subject = selector("kubernetes.io/arch", &["arm64"]);
    let text = cilium::yaml(&policy, false);
    let read: Value = serde_saphyr::from_str(&text).unwrap();
    let egress = &read["spec"]["egress"];
    assert_eq!(egress[0]["toCIDR"], serde_json::json!(["198.51.100.0/24"]));
    assert_eq!(egress[1]["toCIDR"], serde_json::json!(["192.0.2.1/32"]));
    assert_eq!(
        egress[2]["toEntities"],
        serde_json::json!(["host", "remote-node"])
    );
    assert_eq!(egress[3], Value::Null);
    assert_eq!(
        cilium::remarks(&[policy]),
        [
            "Widening: shop/Deployment/web: egress of nodes stands as every node, since Cilium knows them by what they \
             are only: allows all of them on TCP 9100",
            "IgnoredLabel: shop/Deployment/web: its policy selects by the label kubernetes.io/arch, which Cilium ignores unless its \
             option `labels` includes it, and with it all others that are to count",
        ]
    );
}

/// What Calico's form admits is written without a word; one more is told.
#[test]
fn calico_says_what_it_does_not_admit() {
    let told = |peers: Vec<PolicyPeer>| {
        let egress = vec![rule(peers, vec![tcp(80)])];
        calico::remarks(&[policy("shop", "web-deployment", egress)])
    };
    let pods = |number: u32| PolicyPeer::Pods {
        namespaces: None,
        pods: selector("app", &[&format!("p{number}")]),
    };
    assert_eq!(told((0..1024).map(pods).collect()), [""; 0]);
    let rules = told((0..1025).map(pods).collect());
    assert_eq!(rules.len(), 1);
    assert!(
        rules[0].starts_with("TooLong: shop/Deployment/web: egress is 1025 rules in Calico's form"),
        "{rules:?}"
    );
    let block = |number: u32| format!("10.{}.{}.0/24", number / 256, number % 256);
    let without = |left_out: u32| PolicyPeer::BlockExcept {
        block: "10.0.0.0/8".parse().expect("a block"),
        except: (0..left_out)
            .map(|number| block(number).parse().expect("a block"))
            .collect(),
    };
    assert_eq!(told(vec![without(256)]), [""; 0]);
    let nets = told(vec![without(2), without(257)]);
    assert_eq!(nets.len(), 1);
    assert!(nets[0].contains("leaves 257 blocks out of one"), "{nets:?}");
}

/// A selector may have 1,024 bytes. It is cut only if it would have more, and only where it lists values.
#[test]
fn calico_takes_selectors_of_1024_bytes() {
    let written = |pods: Selector| -> Vec<usize> {
        let peer = PolicyPeer::Pods {
            namespaces: None,
            pods,
        };
        let policy = policy("shop", "web", vec![rule(vec![peer], vec![tcp(80)])]);
        let text = calico::yaml(&policy, false);
        let value: Value = serde_saphyr::from_str(&text).expect("a policy");
        let rules = value["spec"]["egress"].as_array().expect("rules").iter();
        let selectors = rules.map(|rule| rule["destination"]["selector"].as_str());
        selectors.map(|text| text.map_or(0, str::len)).collect()
    };
    let words = "projectcalico.org/orchestrator == 'k8s' && app in {'', ''}".len();
    let two = |length: usize| {
        let free = length - words;
        let values = ["a".repeat(free / 2), "b".repeat(free - free / 2)];
        Selector::default().with("app", values.into_iter().collect())
    };
    assert_eq!(written(two(1024)), [1024]);
    assert_eq!(written(two(1025)).len(), 2);
    let one = "projectcalico.org/orchestrator == 'k8s' && app == ''".len() + 2000;
    let value = "a".repeat(2000);
    assert_eq!(written(selector("app", &[&value])), [one]);
}

/// One List is one text, a Kustomization takes a directory; all else can be both.
#[test]
fn formats_are_one_text_or_files() {
    use clap::ValueEnum as _;
    let policies = [policy("shop", "web-deployment", Vec::new())];
    for format in Format::value_variants() {
        let text = format.text(&policies, true).is_some();
        let files = format.files(&policies, true).is_some();
        let expected = match format {
            Format::Json => (true, false),
            Format::Kustomize => (false, true),
            _ => (true, true),
        };
        assert_eq!((text, files), expected, "{format:?}");
    }
}

/// Labels that Cilium ignores are told wherever they select: the policy's own pods, or its peers.
#[test]
fn cilium_says_which_labels_of_peers_it_ignores() {
    let told = |pods: Selector| {
        let peer = PolicyPeer::Pods {
            namespaces: None,
            pods,
        };
        let egress = vec![rule(vec![peer], vec![tcp(80)])];
        cilium::remarks(&[policy("shop", "web-deployment", egress)])
    };
    assert_eq!(told(selector("app", &["api"])), [""; 0]);
    let ignored = told(selector("kubernetes.io/arch", &["arm64"]));
    assert_eq!(ignored.len(), 1, "{ignored:?}");
    assert!(ignored[0].starts_with("IgnoredLabel: shop/Deployment/web: "));
}

/// Of what a plugin does not enforce, Cilium's own form mends what is about nodes, and nothing else.
#[test]
fn cilium_mends_what_is_about_nodes() {
    let finding = |what: Unenforced| Finding::Unenforceable {
        workload: WorkloadName::new("shop", "Deployment", "web"),
        direction: Direction::Egress,
        plugin: Cni::default(),
        what,
    };
    let nodes = Unenforced::Entities([Entity::Host].into(), vec![tcp(80)]);
    assert!(cilium::mends(&finding(nodes)));
    assert!(!cilium::mends(&finding(Unenforced::PortEntries(41))));
    // Which its remarks tell instead.
    let workload = WorkloadName::new("shop", "Deployment", "web");
    let label = "kubernetes.io/arch".to_owned();
    assert!(cilium::mends(&Finding::IgnoredLabel { workload, label }));
    assert!(!cilium::mends(&Finding::NoResolver));
}
