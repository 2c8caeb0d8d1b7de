//! The agent fed by an API server over real HTTP, instead of an inventory.

use std::fs;
use std::time::Duration;

use netpol_common::words::View;

use crate::double::ApiServer;
use crate::lab::{Agent, Lab, Server, one_shots};

/// What the server's pods were connected to at, as their own interfaces saw it.
fn served(lab: &Lab) -> Vec<(String, String, u16)> {
    let flows = lab.flows().into_keys();
    flows
        .filter(|(_, _, _, view, _)| *view == View::Server)
        .map(|(client, server, port, _, _)| (client, server, port))
        .collect()
}

fn tell(api: &ApiServer, lab: &Lab) {
    api.apply_text(&fs::read_to_string(lab.inventory()).unwrap());
}

/// A new pod, told of by the server, that is connected to.
fn learn(lab: &mut Lab, api: &ApiServer, agent: &Agent, name: &str, address: &str) {
    lab.add_pod(name, address, None);
    tell(api, lab);
    agent.wait_for(&format!("lab/{name}"));
    let _server = Server::start(lab, name, 8000..8001);
    one_shots(lab, "client", name, 8000..8001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_known_from_an_api_server_whatever_it_does() {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    let api = ApiServer::start("").await;
    tell(&api, &lab);
    lab.read_cluster(api.address());
    let agent = lab.start(&[]);
    learn(&mut lab, &api, &agent, "first", "10.77.0.21");
    api.break_watches();
    learn(&mut lab, &api, &agent, "second", "10.77.0.22");
    api.world().failing = Some(503);
    api.break_watches();
    tokio::time::sleep(Duration::from_secs(2)).await;
    api.forget();
    api.world().failing = None;
    learn(&mut lab, &api, &agent, "third", "10.77.0.23");
    agent.stop();
    let expected =
        ["first", "second", "third"].map(|server| ("client".to_owned(), server.to_owned(), 8000));
    assert_eq!(served(&lab), expected);
}
