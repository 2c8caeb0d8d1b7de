//! First sights: told once, to one reader.

use std::time::Duration;

use netpol_agent::kernel::{KernelError, MapKind};

use crate::golden::small;
use crate::kernel_common::*;
use crate::traffic::{attempt, connect, quota};

/// How long a record may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_new_edge_is_told_once_to_one_reader() {
    let mut kernel = open(&small());
    configure(&mut kernel, LOOPBACK, quota(100));
    let mut sights = kernel.sights().unwrap();
    let error = kernel.sights().err().unwrap();
    assert!(matches!(error, KernelError::SightsTaken), "{error}");

    attempt(&mut kernel, LOOPBACK, 80);
    for port in [80, 81, 80] {
        connect(&mut kernel, LOOPBACK, port);
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        let read = sights.read(&mut told);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    }
    sights.drain(&mut told);
    told.sort_by_key(|sight| sight.key);
    let told: Vec<_> = told.iter().map(|sight| (sight.key, sight.time)).collect();
    let edges: Vec<_> = entries(&kernel, MapKind::Edges)
        .iter()
        .map(|(key, value)| (*key, value.first_seen))
        .collect();
    assert_eq!(told, edges);
}

#[tokio::test]
async fn a_reader_that_waits_is_woken() {
    let mut kernel = open(&small());
    configure(&mut kernel, LOOPBACK, quota(100));
    let mut sights = kernel.sights().unwrap();
    let reader = tokio::spawn(async move {
        let mut told = Vec::new();
        sights.read(&mut told).await.map(|()| told)
    });
    tokio::task::yield_now().await;
    connect(&mut kernel, LOOPBACK, 80);
    let told = tokio::time::timeout(PATIENCE, reader).await.unwrap();
    assert_eq!(told.unwrap().unwrap()[0].key.port, 80);
}
