//! A whole cluster against one aggregator, stage by stage.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::{sleep, sleep_until};

use super::agents::{Fleet, Way};
use super::children::{Aggregator, ApiServer, Place, ask};
use super::process::Process;
use super::quantile::quantile;
use super::world::World;
use super::{figure, say, setting};

/// Between two requests of a person's command.
const ASKED: Duration = Duration::from_millis(250);
/// How long the agents may take to deliver everything for the first time.
const FILLING: Duration = Duration::from_secs(600);

pub(crate) fn run() -> Result<()> {
    let world = World::new(setting("NODES", 5_000)?, setting("PODS", 100_000)?);
    let steady = Duration::from_secs(setting("STEADY", 120)? as u64);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(simulate(world, steady))
}

async fn simulate(world: World, steady: Duration) -> Result<()> {
    let api = ApiServer::start(world.nodes, world.pods)?;
    let place = Place::new(&api)?;
    let mut aggregator = place.start("aggregate", false)?;
    let ready = aggregator.ready().await?.as_secs_f64();
    let process = aggregator.process();
    let listed = process.peak()?;
    say(&format!(
        "first list: ready after {ready:.1} s, {listed:.0} MiB at most"
    ));
    figure("first_list_s", ready, "s")?;
    figure("first_list_peak_mib", listed, "MiB")?;
    let fleet = Arc::new(Fleet::new(world, Way::to(&place)?));
    let agents: Vec<_> = (0..world.nodes)
        .map(|node| tokio::spawn(Arc::clone(&fleet).play(node)))
        .collect();
    let mut stages = Stages::new(&api, fleet, &place)?;
    let filled = stages.fill(process).await?;
    let calm = stages.steady("steady", process, steady).await?;
    ask(
        &api,
        &format!("/bench/replace?seconds={}", steady.as_secs()),
    )
    .await?;
    let replacing = stages
        .steady("10 % of pods replaced", process, steady)
        .await?;
    drop(aggregator);
    let mut aggregator = place.start("aggregate", false)?;
    let again = aggregator.ready().await?.as_secs_f64();
    let restarted = stages.after_restart(&aggregator, again, steady / 2).await?;
    figure("restart_to_ready_s", again, "s")?;
    figure("status_p99_ms", calm.status.max(replacing.status), "ms")?;
    figure("api_requests_per_minute", calm.requests, "requests/min")?;
    figure(
        "api_requests_per_minute_replacing",
        replacing.requests,
        "requests/min",
    )?;
    figure("cpu_core_percent", calm.processor, "%")?;
    figure("cpu_core_percent_replacing", replacing.processor, "%")?;
    let peaks = [listed, filled, calm.peak, replacing.peak, restarted];
    figure("rss_mib", peaks.into_iter().fold(0.0, f64::max), "MiB")?;
    stages.fleet.stop.store(true, Ordering::Relaxed);
    agents.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// What a stage cost.
struct Cost {
    status: f64,
    requests: f64,
    processor: f64,
    peak: f64,
}

struct Stages<'a> {
    api: &'a ApiServer,
    fleet: Arc<Fleet>,
    reader: Reader,
}

impl<'a> Stages<'a> {
    fn new(api: &'a ApiServer, fleet: Arc<Fleet>, place: &Place) -> Result<Self> {
        let reader = Reader::start(Way::to(place)?);
        Ok(Self { api, fleet, reader })
    }

    /// Every agent delivers all its edges. Tells the peak of memory.
    async fn fill(&mut self, process: Process) -> Result<f64> {
        let begin = Instant::now();
        let before = process.processor()?;
        while self.fleet.complete.load(Ordering::Relaxed) < self.fleet.world.nodes {
            ensure!(
                begin.elapsed() < FILLING,
                "agents: {:?}",
                self.fleet.take_book().answers
            );
            sleep(Duration::from_millis(100)).await;
        }
        let edges = self.fleet.edges.load(Ordering::Relaxed);
        let (took, used) = (begin.elapsed().as_secs_f64(), process.processor()? - before);
        let (peak, used) = (process.peak()?, used.as_secs_f64());
        let book = self.fleet.take_book();
        say(&format!(
            "all edges: {edges} in {took:.1} s, {used:.1} s of processor time, {peak:.0} MiB at most; answers {:?}",
            book.answers
        ));
        Ok(peak)
    }

    /// Agents deliver what changes.
    async fn steady(&mut self, name: &str, process: Process, time: Duration) -> Result<Cost> {
        // What the stage before has left is not this one's.
        drop((self.fleet.take_book(), self.reader.take()));
        process.forget_peak()?;
        let (before, requests, edges) = (
            process.processor()?,
            self.requests().await?,
            self.fleet.edges.load(Ordering::Relaxed),
        );
        let begin = Instant::now();
        self.wait(time).await?;
        let seconds = begin.elapsed().as_secs_f64();
        let used = (process.processor()? - before).as_secs_f64();
        let asked: BTreeMap<String, u64> = self.requests().await?;
        let more = asked.iter().map(|(sort, count)| {
            let before = requests.get(sort).copied().unwrap_or(0);
            (sort.as_str(), count - before)
        });
        let more: BTreeMap<&str, u64> = more.filter(|(_, count)| *count > 0).collect();
        let mut book = self.fleet.take_book();
        let mut status = self.reader.take();
        let edges = self.fleet.edges.load(Ordering::Relaxed) - edges;
        let cost = Cost {
            status: quantile(&mut status, 0.99),
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            requests: more.values().sum::<u64>() as f64 / seconds * 60.0,
            processor: used / seconds * 100.0,
            peak: process.peak()?,
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = edges as f64 / seconds;
        let (now, own) = (
            process.resident()?,
            Process(std::process::id()).processor()?,
        );
        say(&format!(
            "{name}: {seconds:.0} s, {rate:.0} edges/s in {} deliveries, answers {:?}, acknowledged within {:.0} ms (median), \
             {:.0} ms (p99)",
            book.times.len(),
            book.answers,
            quantile(&mut book.times, 0.5),
            quantile(&mut book.times, 0.99),
        ));
        say(&format!(
            "  aggregator: {:.0} % of a core, {:.0} MiB at most, {now:.0} MiB now; status: {} asked, {:.0} ms (median), {:.0} ms (p99)",
            cost.processor,
            cost.peak,
            status.len(),
            quantile(&mut status, 0.5),
            cost.status,
        ));
        say(&format!(
            "  API server: {:.0} requests a minute {more:?}; it and the agents have used {:.0} s and {:.0} s of processor time",
            cost.requests,
            self.api.child.process().processor()?.as_secs_f64(),
            own.as_secs_f64(),
        ));
        Ok(cost)
    }

    /// What was loaded and listed anew, while every agent comes back.
    async fn after_restart(
        &mut self,
        aggregator: &Aggregator,
        again: f64,
        time: Duration,
    ) -> Result<f64> {
        let process = aggregator.process();
        let listed = process.peak()?;
        self.wait(time).await?;
        let (peak, book) = (process.peak()?, self.fleet.take_book());
        say(&format!(
            "killed and started again: ready after {again:.1} s with {listed:.0} MiB at most, {peak:.0} MiB within {} s; answers {:?}",
            time.as_secs(),
            book.answers
        ));
        Ok(peak)
    }

    /// Waits, and tells the agents meanwhile which pods have been replaced.
    async fn wait(&self, time: Duration) -> Result<()> {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            let replaced = ask(self.api, "/bench/replaced").await?;
            let replaced = replaced.as_u64().context("a number")?;
            let replaced = usize::try_from(replaced)?;
            self.fleet.replaced.store(replaced, Ordering::Relaxed);
            sleep_until(end.min(tokio::time::Instant::now() + Duration::from_secs(1))).await;
        }
        Ok(())
    }

    async fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let told = ask(self.api, "/bench/requests").await?;
        Ok(serde_json::from_value(told)?)
    }
}

/// A person who asks for the status again and again, on a thread of its own so that nothing else of this process counts.
struct Reader {
    times: std::sync::mpsc::Receiver<f64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(way: Way) -> Self {
        let (sender, times) = std::sync::mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let mut line = None;
                while !told.load(Ordering::Relaxed) {
                    sleep(ASKED).await;
                    if line.is_none() {
                        line = way.connect(Ipv4Addr::LOCALHOST.into()).await.ok();
                    }
                    let Some(open) = &mut line else { continue };
                    let begin = Instant::now();
                    match open.get("viewer", "/v1/status").await {
                        Ok(answer) if answer.status == 200 && answer.length > 0 => {
                            let _unread = sender.send(begin.elapsed().as_secs_f64() * 1e3);
                        }
                        Ok(_) => {}
                        Err(_) => line = None,
                    }
                }
            });
        });
        Self {
            times,
            stop,
            thread: Some(thread),
        }
    }

    /// How long requests took since this was last asked, in milliseconds.
    fn take(&self) -> Vec<f64> {
        self.times.try_iter().collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It ends with what it is waiting for.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}
