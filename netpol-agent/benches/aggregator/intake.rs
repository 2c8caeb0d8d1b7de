//! How many edges a second of one processor takes in: the aggregator's server and keeper, without what is made of edges later.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use netpol_agent::aggregator::{Limits, Parts, start};
use netpol_agent::identity::Index;
use netpol_agent::keeper::{self, SharedIndex};
use netpol_agent::lead;
use netpol_agent::store::Store;
use netpol_agent::{watch as api_watch, wire};
use tokio::sync::{Mutex, watch};

use super::agents::{Way, token};
use super::children::{ApiServer, Place, options};
use super::quantile::quantile;
use super::world::{Seen, World, delivery, edge};
use super::{figure, say, setting};

/// Rounds, of which the median counts, and how often every agent delivers all its edges in one.
const ROUNDS: usize = 3;
const TURNS: u64 = 5;
/// Deliveries under way at the same time.
const ABREAST: usize = 16;
/// Edges of one delivery.
const DELIVERY: usize = 200;
/// How long it takes until what was taken in has been folded into pages.
const FOLDED: Duration = Duration::from_secs(12);

/// Is a server and a keeper, until it is killed.
pub(crate) fn serve(place: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let much = (1e12, 1e12);
        let limits = Limits {
            requests: much,
            edges: much,
            ..Limits::default()
        };
        let options = options(place, limits)?;
        let read = Kubeconfig::read_from(options.kubeconfig.context("a kubeconfig")?)?;
        let chosen = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(read, &chosen);
        let client = kube::Client::try_from(config.await?)?;
        let index = SharedIndex::new(Index::default());
        let state = place.join("state");
        std::fs::create_dir_all(&state)?;
        let store = Store::open(&state.join("graph.db"))?;
        let keeping = keeper::Options {
            snapshots: None,
            ..keeper::Options::default()
        };
        let (keeper, _threads) = keeper::start(store, index.clone(), &keeping)?;
        let (ready, whole) = watch::channel(false);
        let watching = api_watch::Options::new(api_watch::Scope::Cluster);
        let feed = api_watch::run(
            client.clone(),
            watching,
            index.inner(),
            Timestamp::now,
            ready,
        );
        let _running = start(Parts {
            client,
            namespace: options.namespace,
            listen: options.listen,
            metrics_listen: options.metrics_listen,
            tls: options.tls,
            limits: options.limits,
            intake: Arc::new(keeper.clone()),
            keeper,
            ready: whole,
            leader: lead::alone(),
        })
        .await?;
        match feed.await {}
    })
}

/// Measures, and prints what came of it.
pub(crate) fn measure() -> Result<()> {
    let nodes = setting("NODES", 5_000)?.clamp(1, 200);
    let world = World::new(nodes, nodes * 100);
    let api = ApiServer::start(world.nodes, world.pods)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut processor, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (by_processor, by_wall) = runtime.block_on(round(&api, &world))?;
        processor.push(by_processor);
        wall.push(by_wall);
    }
    figure("edges_per_s", quantile(&mut processor, 0.5), "edges/s")?;
    figure("edges_per_s_wall", quantile(&mut wall, 0.5), "edges/s")
}

/// Edges by second of processor time and by second, of an aggregator that has not seen any before.
async fn round(api: &ApiServer, world: &World) -> Result<(f64, f64)> {
    let place = Place::new(api)?;
    let mut aggregator = place.start("intake", true)?;
    aggregator.ready().await?;
    let way = Way::to(&place)?;
    let (mut edges, mut wall, mut processor) = (0, 0.0, 0.0);
    for turn in 1..=TURNS {
        let bodies = bodies(world, turn)?;
        let before = aggregator.process().processor()?;
        let begin = Instant::now();
        edges += deliver(&way, bodies).await?;
        wall += begin.elapsed().as_secs_f64();
        if turn == TURNS {
            tokio::time::sleep(FOLDED).await;
        }
        let used = aggregator.process().processor()? - before;
        processor += used.as_secs_f64();
    }
    let peak = aggregator.process().peak()?;
    say(&format!(
        "intake: {edges} edges in {wall:.1} s, {processor:.1} s of processor time, {peak:.0} MiB at most"
    ));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let edges = edges as f64;
    Ok((edges / processor, edges / wall))
}

/// A delivery on its way: the agent's token, the body, and how many edges it holds.
type Packed = (String, Bytes, usize);

/// What every agent tells in its turn: its edges with their counts so far. Agents take turns, since of one there is one
/// delivery at a time.
fn bodies(world: &World, turn: u64) -> Result<Vec<Packed>> {
    let mut bodies = Vec::new();
    let now = Timestamp::now();
    let seen = Seen {
        count: turn * 100,
        first: world.began,
        last: now,
    };
    for node in 0..world.nodes {
        let edges = world.on(node).flat_map(|pod| {
            let edges = world.edges(pod);
            edges.map(move |(other, port, way)| edge((pod, 0), (other, 0), (port, way), seen))
        });
        let edges: Vec<_> = edges.collect();
        let parts = edges.len().div_ceil(DELIVERY) as u64;
        for (part, number) in edges.chunks(DELIVERY).zip(1..) {
            let delivery = delivery(node, (turn - 1) * parts + number, part.to_vec());
            let body = wire::encode(&delivery)?.into();
            bodies.push((number, (token(node), body, part.len())));
        }
    }
    bodies.sort_by_key(|(number, _)| *number);
    Ok(bodies.into_iter().map(|(_, packed)| packed).collect())
}

/// Delivers all of it, some at the same time. Returns how many edges there were.
async fn deliver(way: &Way, bodies: Vec<Packed>) -> Result<usize> {
    let edges = bodies.iter().map(|(_, _, edges)| edges).sum();
    let bodies = Arc::new(Mutex::new(bodies.into_iter()));
    let senders = (0..ABREAST).map(|_| {
        let (way, bodies) = (way.clone(), Arc::clone(&bodies));
        async move {
            let mut line = way.connect(Ipv4Addr::LOCALHOST.into()).await?;
            loop {
                let next = bodies.lock().await.next();
                let Some((token, body, _)) = next else {
                    return Ok(());
                };
                let answer = line.post(&token, body).await?;
                ensure!(answer.status == 200, "status {}", answer.status);
            }
        }
    });
    futures::future::try_join_all(senders).await?;
    Ok(edges)
}
