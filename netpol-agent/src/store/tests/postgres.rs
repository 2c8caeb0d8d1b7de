//! The same on PostgreSQL, and what only a server can do: go away, and be shared.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};

use super::lossy::Lossy;
use super::server::Server;
use super::{batches, histories, keeps};
use crate::ledger::Ledger;
use crate::store::{Change, Place, Store, StoreError};

/// Takes everything out of the database.
fn clear(server: &Server) {
    let mut store = Store::connect(&server.url(), None).unwrap();
    let ledger = store.load().unwrap();
    for (observer, told) in &ledger.observers {
        for epoch in told.epochs.keys() {
            let (observer, epoch) = (observer.clone(), epoch.clone());
            store.shrunk(Place { observer, epoch });
        }
    }
    store.fold(&|_| None).unwrap();
}

#[test]
fn a_server_keeps_what_the_ledger_holds() {
    let server = Server::start();
    let mut runner = TestRunner::new(Config::with_cases(8));
    let open = || Store::connect(&server.url(), None).unwrap();
    let outcome = runner.run(&histories(), |all| {
        clear(&server);
        keeps(&all, &open)
    });
    outcome.unwrap();
}

#[test]
fn two_replicas_hold_the_same_whoever_folds() {
    let server = Server::start();
    let mut runner = TestRunner::deterministic();
    let mut stores = [(); 2].map(|()| Store::connect(&server.url(), None).unwrap());
    let mut ledgers = [(); 2].map(|()| Ledger::default());
    let mut all = Ledger::default();
    for turn in 0..120_usize {
        let batch = batches().new_tree(&mut runner).unwrap().current();
        let who = turn * 7 % 3 % 2;
        stores[who].commit(&batch).unwrap();
        ledgers[who].merge(&batch);
        all.merge(&batch);
        let other = 1 - who;
        if turn % 4 == 0 {
            let ledger = &mut ledgers[other];
            let merge = &mut |place: &Place, told| {
                ledger.merge_told(&place.observer, &place.epoch, told);
            };
            stores[other].read(merge).unwrap();
        }
        if turn % 5 == 0 {
            let ledger = &ledgers[turn % 2];
            for (observer, told) in &ledger.observers {
                for epoch in told.epochs.keys() {
                    let (observer, epoch) = (observer.clone(), epoch.clone());
                    stores[turn % 2].shrunk(Place { observer, epoch });
                }
            }
            let page = |place: &Place| ledger.page(&place.observer, &place.epoch);
            stores[turn % 2].fold(&page).unwrap();
        }
    }
    for (store, ledger) in stores.iter_mut().zip(&mut ledgers) {
        store
            .read(&mut |place, told| ledger.merge_told(&place.observer, &place.epoch, told))
            .unwrap();
        assert_eq!(*ledger, all);
    }
    assert_eq!(
        Store::connect(&server.url(), None).unwrap().load().unwrap(),
        all
    );
}

#[test]
fn a_server_that_crashes_and_comes_back_is_used_again() {
    let mut server = Server::start();
    let mut runner = TestRunner::deterministic();
    let mut next = || batches().new_tree(&mut runner).unwrap().current();
    let mut store = Store::connect(&server.url(), None).unwrap();
    let (first, second) = (next(), next());
    store.commit(&first).unwrap();
    server.kill();
    for _ in 0..2 {
        let error = store.commit(&second).unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    }
    assert!(matches!(
        Store::connect(&server.url(), None),
        Err(StoreError::Unreachable { .. })
    ));
    server.restart();
    store.commit(&second).unwrap();
    let mut ledger = Ledger::default();
    [&first, &second]
        .into_iter()
        .for_each(|batch| ledger.merge(batch));
    assert_eq!(store.load().unwrap(), ledger);
    assert_eq!(
        Store::connect(&server.url(), None).unwrap().load().unwrap(),
        ledger
    );
}

#[test]
fn a_server_keeps_the_history_and_two_that_start_at_once_migrate_once() {
    let server = Server::start();
    let start = || {
        let url = server.url();
        std::thread::spawn(move || Store::connect(&url, None).map(drop))
    };
    let started = [start(), start(), start()];
    for thread in started {
        thread.join().unwrap().unwrap();
    }
    let change = |key: &str, body: Option<&str>| Change {
        key: key.to_owned(),
        body: body.map(|body| body.as_bytes().to_vec()),
    };
    let mut store = Store::connect(&server.url(), None).unwrap();
    store
        .remember(&[change("b", Some("1")), change("a", Some("2"))])
        .unwrap();
    store
        .remember(&[change("b", Some("3")), change("a", None)])
        .unwrap();
    let mut all = Vec::new();
    let mut take = |key: &str, body: &[u8]| {
        all.push((key.to_owned(), body.to_vec()));
        Some(())
    };
    Store::connect(&server.url(), None)
        .unwrap()
        .recall(&mut take)
        .unwrap();
    assert_eq!(all, [("b".to_owned(), b"3".to_vec())]);
}

#[test]
fn what_may_have_been_kept_is_not_deleted_before_it_was_read() {
    let server = Server::start();
    let lossy = Lossy::before(&server.url());
    let mut runner = TestRunner::deterministic();
    let mut next = || batches().new_tree(&mut runner).unwrap().current();
    let mut store = Store::connect(&lossy.url(), None).unwrap();
    let mut ledger = store.load().unwrap();
    let (first, second) = (next(), next());
    store.commit(&first).unwrap();
    ledger.merge(&first);
    lossy.lose_commits(true);
    let error = store.commit(&second).unwrap_err();
    assert!(error.is_absence(), "{error:?}");
    lossy.lose_commits(false);
    for batch in [&first, &second] {
        store.shrunk(Place::of(batch));
    }
    store
        .fold(&|place| ledger.page(&place.observer, &place.epoch))
        .unwrap();
    let mut all = ledger.clone();
    all.merge(&second);
    assert_ne!(ledger, all);
    assert_eq!(
        Store::connect(&server.url(), None).unwrap().load().unwrap(),
        all
    );
    store
        .read(&mut |place, told| ledger.merge_told(&place.observer, &place.epoch, told))
        .unwrap();
    assert_eq!(ledger, all);
}
