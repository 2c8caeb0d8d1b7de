//! What commands look like in use, as their help shows it. A test runs each through the parser.

pub(super) const APPROVE: &str = "\
Examples:
  # One violation, by its id
  kubectl netpol approve 3f9a61c2 -n shop

  # The side of an edge that is in your namespace
  kubectl netpol approve -n pay --edge \"shop/Deployment/web -> pay/Deployment/api 8080/TCP\"

  # All that is open in a namespace, tried without changing anything
  kubectl netpol approve --every -n shop --dry-run";

pub(super) const AUDIT: &str = "\
Examples:
  # From now on, tell what goes beyond what was learned
  kubectl netpol audit shop --wait";

pub(super) const CHECK: &str = "\
Examples:
  # Would the policies in git have denied anything that was seen?
  kubectl netpol check --inventory cluster.yaml --flows flows.jsonl --policies policies/

  # Would those in force in the cluster?
  kubectl netpol check -A -o json";

pub(super) const COMPLETION: &str = "\
Examples:
  # Bash, for this session
  source <(kubectl-netpol completion bash)

  # Fish, for good
  kubectl-netpol completion fish > ~/.config/fish/completions/kubectl-netpol.fish

To have kubectl complete `kubectl netpol` too, give the program a second name beside its first:
  ln -s kubectl-netpol \"$(dirname \"$(command -v kubectl-netpol)\")/kubectl_complete-netpol\"";

pub(super) const CONNECTIVITY: &str = "\
Examples:
  # All that the policies in force allow
  kubectl netpol connectivity

  # All that a folder of policies would allow
  kubectl netpol connectivity --inventory cluster.yaml --policies policies/ -o json";

pub(super) const DIFF: &str = "\
Examples:
  # What would change in a namespace if netpol enforced there
  kubectl netpol diff -n shop

  # What would change if a folder of policies were in force instead
  kubectl netpol diff policies/

  # What changes from one folder to another
  kubectl netpol diff old/ new/ --inventory cluster.yaml";

pub(super) const ENFORCE: &str = "\
Examples:
  # Would I be allowed to, and which workloads would be refused?
  kubectl netpol enforce shop --dry-run

  # Do it, and wait until all of it is in force
  kubectl netpol enforce shop --wait --timeout 30m";

pub(super) const EXPLAIN: &str = "\
Examples:
  # Why may, or may not, web reach the API?
  kubectl netpol explain shop/Deployment/web shop/Deployment/api 8080/TCP

  # And an address outside?
  kubectl netpol explain shop/Deployment/web 203.0.113.9 443/TCP --inventory cluster.yaml";

pub(super) const FLOWS: &str = "\
Examples:
  # What was seen of a namespace
  kubectl netpol flows -n shop

  # What is being seen everywhere
  kubectl netpol flows -A --follow

  # What a packet capture holds
  kubectl netpol flows --inventory cluster.yaml --pcap capture.pcap";

pub(super) const GENERATE: &str = "\
Examples:
  # Policies for a namespace
  kubectl netpol generate -n shop

  # For the whole cluster, as files for git
  kubectl netpol generate -A --out-dir policies/

  # Without a cluster
  kubectl netpol generate --inventory cluster.yaml --flows flows.jsonl";

pub(super) const GRAPH: &str = "\
Examples:
  # Who talks to whom in a namespace
  kubectl netpol graph -n shop

  # A page to search in, that needs no network
  kubectl netpol graph -A -o html > graph.html

  # A drawing of recorded flows
  kubectl netpol graph --inventory cluster.yaml --flows flows.jsonl -o svg > graph.svg";

pub(super) const INSTALL: &str = "\
Examples:
  # Would the API server accept all of it?
  kubectl netpol install --dry-run

  # Install, and wait until everything runs
  kubectl netpol install";

pub(super) const LEARN: &str = "\
Examples:
  # Back to learning: policies that were in force are taken away
  kubectl netpol learn shop --wait";

pub(super) const MAN: &str = "\
Examples:
  kubectl netpol man --out-dir man/";

pub(super) const REJECT: &str = "\
Examples:
  # Two violations that are to stay denied
  kubectl netpol reject 3f9a61c2 77b01e9d -n shop";

pub(super) const ROLLBACK: &str = "\
Examples:
  # Take one workload's policy off
  kubectl netpol rollback Deployment/web -n shop

  # Put it on again
  kubectl netpol rollback Deployment/web -n shop --undo";

pub(super) const STATUS: &str = "\
Examples:
  # How netpol is, and how far learning has come in a namespace
  kubectl netpol status -n shop

  # How much of what recorded flows would have shown is known
  kubectl netpol status --inventory cluster.yaml --flows flows.jsonl";

pub(super) const UNINSTALL: &str = "\
Examples:
  # What would be removed?
  kubectl netpol uninstall --dry-run

  # Remove everything but what people decided
  kubectl netpol uninstall

  # Before deleting the rest in some other way than Helm, which does this itself
  kubectl netpol uninstall --effects-only";

pub(super) const VIOLATIONS: &str = "\
Examples:
  # What waits for a decision in a namespace
  kubectl netpol violations -n shop

  # Everywhere, with what would allow each
  kubectl netpol violations -A -o json";
