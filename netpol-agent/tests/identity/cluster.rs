//! A small cluster with one of everything that the index must tell apart, as `kubectl get … -o yaml` would print it.

/// Its objects.
pub(crate) const OBJECTS: &str = include_str!("cluster.yaml");

/// Sightings in that cluster and what they stand for.
pub(crate) const TABLE: &[(&str, &str)] = &[
    // Plain pods, by address, by name and as a workload.
    (
        "10.1.0.4 -> 10.1.1.9:8080",
        "shop/Deployment/web -> shop/StatefulSet/db:8080/TCP",
    ),
    (
        "shop/web-6d5f-aaaaa -> shop/db-0:5432 client",
        "shop/Deployment/web -> shop/StatefulSet/db:5432/TCP",
    ),
    (
        "shop/Deployment/web -> shop/CronJob/report:1/UDP",
        "shop/Deployment/web -> shop/CronJob/report:1/UDP",
    ),
    (
        "fd00:1::4 -> fd00:1:1::9:8080",
        "shop/Deployment/web -> shop/StatefulSet/db:8080/TCP",
    ),
    (
        "shop/nobody -> 10.1.1.9:1",
        "? pod shop/nobody is not in the inventory",
    ),
    (
        "shop/Deployment/nobody -> 10.1.1.9:1",
        "? workload shop/Deployment/nobody is not in the inventory",
    ),
    // Never an end of an edge.
    (
        "10.1.0.4 -> 224.0.0.251:5353",
        "? 224.0.0.251 is not the address of one host",
    ),
    (
        "10.1.0.4 -> 255.255.255.255:67",
        "? 255.255.255.255 is not the address of one host",
    ),
    (
        "fd00:1::4 -> ff02::fb:5353",
        "? ff02::fb is not the address of one host",
    ),
    (
        "0.0.0.0 -> 10.1.1.9:1",
        "? 0.0.0.0 is not the address of one host",
    ),
    // A cluster address, of both families, leads to the target port.
    (
        "10.1.0.4 -> 10.96.0.10:80 client",
        "shop/Deployment/web -> shop/StatefulSet/db:5432/TCP",
    ),
    (
        "fd00:1::4 -> fd00:96::10:80 client",
        "shop/Deployment/web -> shop/StatefulSet/db:5432/TCP",
    ),
    (
        "10.1.0.4 -> 10.96.0.10:81 client",
        "? service shop/db had no endpoints for port 81",
    ),
    // One service over two workloads with a named target port that differs; external and load balancer addresses.
    (
        "10.1.1.9 -> 10.96.0.20:80 client",
        "shop/StatefulSet/db -> shop/Deployment/blue:8080/TCP {by shop/colours} | shop/StatefulSet/db -> shop/Deployment/green:9090/TCP {by shop/colours}",
    ),
    (
        "10.1.1.9 -> 198.51.100.7:80 client",
        "shop/StatefulSet/db -> shop/Deployment/blue:8080/TCP {by shop/colours} | shop/StatefulSet/db -> shop/Deployment/green:9090/TCP {by shop/colours}",
    ),
    (
        "10.1.1.9 -> 203.0.113.80:80 client",
        "shop/StatefulSet/db -> shop/Deployment/blue:8080/TCP {by shop/colours} | shop/StatefulSet/db -> shop/Deployment/green:9090/TCP {by shop/colours}",
    ),
    // On the server's interface DNAT is done.
    (
        "10.1.1.9 -> 10.1.0.11:9090 server",
        "shop/StatefulSet/db -> shop/Deployment/green:9090/TCP",
    ),
    // A node port, on the other node and on the own one; seen at the server the client is a node.
    (
        "10.1.0.4 -> 192.168.0.2:30080 client",
        "shop/Deployment/web -> shop/StatefulSet/db:5432/TCP",
    ),
    (
        "10.1.0.4 -> 192.168.0.1:30080 client",
        "shop/Deployment/web -> shop/StatefulSet/db:5432/TCP",
    ),
    (
        "10.1.0.4 -> 192.168.0.2:30081 client",
        "shop/Deployment/web -> node b:30081/TCP",
    ),
    (
        "192.168.0.1 -> 10.1.1.9:5432 server",
        "node a -> shop/StatefulSet/db:5432/TCP {client unseen}",
    ),
    (
        "192.168.0.1 -> 10.1.1.9:8080 server",
        "node a -> shop/StatefulSet/db:8080/TCP",
    ),
    (
        "192.168.0.2 -> 10.1.1.9:8080 server",
        "node b -> shop/StatefulSet/db:8080/TCP {own node}",
    ),
    // A service without endpoints, one without a selector, one that was never exposed to slices.
    (
        "10.1.0.4 -> 10.96.0.30:80 client",
        "? service shop/empty had no endpoints for port 80",
    ),
    (
        "10.1.0.4 -> 10.96.0.40:3306 client",
        "shop/Deployment/web -> 203.0.113.9:33060/TCP",
    ),
    (
        "10.1.0.4 -> 10.96.0.50:80 client",
        "shop/Deployment/web -> shop/StatefulSet/db:8080/TCP",
    ),
    // The API server by its service and by its endpoint; other ports of that node are the node.
    (
        "10.1.0.4 -> 10.96.0.1:443 client",
        "shop/Deployment/web -> kube-apiserver:6443/TCP",
    ),
    (
        "10.1.0.4 -> 192.168.0.1:6443 client",
        "shop/Deployment/web -> kube-apiserver:6443/TCP",
    ),
    (
        "10.1.0.4 -> 192.168.0.1:10250 client",
        "shop/Deployment/web -> node a:10250/TCP",
    ),
    // A pod reaching itself through its service.
    (
        "10.1.1.9 -> 10.96.0.10:80 client",
        "shop/StatefulSet/db -> shop/StatefulSet/db:5432/TCP",
    ),
    // Host-network pods are their nodes, also by name.
    (
        "kube-system/proxy-h57wq -> 10.1.1.9:8080",
        "node a -> shop/StatefulSet/db:8080/TCP",
    ),
    // Recycled addresses: a finished Job's, by time; without a time it is ambiguous.
    (
        "10.1.0.4 -> 10.1.0.30:9 @ 10:00:30",
        "shop/Deployment/web -> shop/CronJob/report:9/TCP",
    ),
    (
        "10.1.0.4 -> 10.1.0.30:9 @ 10:05:00",
        "shop/Deployment/web -> shop/Job/migrate:9/TCP",
    ),
    (
        "10.1.0.4 -> 10.1.0.30:9 @ 10:01:30",
        "? 10.1.0.30 belonged to no known pod, service or node at that time",
    ),
    (
        "10.1.0.4 -> 10.1.0.30:9 @ 09:00:00",
        "? 10.1.0.30 belonged to no known pod, service or node at that time",
    ),
    (
        "10.1.0.4 -> 10.1.0.30:9 @ 10:00:30..10:05:00",
        "? 10.1.0.30 may have belonged to any of several at that time: shop/CronJob/report, shop/Job/migrate",
    ),
    (
        "10.1.0.4 -> 10.1.0.30:9",
        "? 10.1.0.30 may have belonged to any of several at that time: shop/CronJob/report, shop/Job/migrate",
    ),
    // Between creation and start only one pod can have had it, and until the end of the second of the finish.
    (
        "10.1.0.4 -> 10.1.0.30:9 @ 10:01:00.5",
        "shop/Deployment/web -> shop/CronJob/report:9/TCP",
    ),
    (
        "10.1.0.4 -> 10.1.0.30:9 @ 10:03:02",
        "shop/Deployment/web -> shop/Job/migrate:9/TCP",
    ),
    // Owners: a Rollout that is not readable, a pipeline's run, ReplicaSets that are not listed, static and bare pods.
    (
        "10.1.0.40 -> 10.1.0.41:1",
        "shop/Rollout/cart -> shop/TaskRun/build-compile:1/TCP",
    ),
    (
        "10.1.0.42 -> 10.1.0.43:1",
        "shop/Deployment/search -> kube-system/Pod/etcd:1/TCP",
    ),
    (
        "10.1.0.44 -> 10.1.0.45:1",
        "shop/Pod/toolbox -> shop/Pod/burst:1/TCP",
    ),
    (
        "10.1.0.46 -> 10.1.0.4:1",
        "shop/CronJob/nightly -> shop/Deployment/web:1/TCP",
    ),
    // Outside and inside the cluster's ranges.
    (
        "10.1.0.4 -> 10.1.1.200:1",
        "? 10.1.1.200 belonged to no known pod, service or node at that time",
    ),
    (
        "10.1.0.4 -> 203.0.113.5:443/UDP",
        "shop/Deployment/web -> 203.0.113.5:443/UDP",
    ),
    (
        "10.1.0.4 -> 169.254.20.10:53/UDP",
        "shop/Deployment/web -> 169.254.20.10:53/UDP",
    ),
    (
        "10.1.0.4 -> ::ffff:10.1.1.9:8080",
        "shop/Deployment/web -> shop/StatefulSet/db:8080/TCP",
    ),
];
