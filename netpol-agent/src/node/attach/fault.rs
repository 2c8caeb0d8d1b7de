//! Dying at a chosen point, for tests of what a kill leaves behind. Debug builds only; elsewhere nothing happens.

/// The variable that names the point.
#[cfg(debug_assertions)]
const VARIABLE: &str = "NETPOL_TEST_DIE_AT";

/// Kills this process, as `kill -9` does, if a test wants it to end here.
#[cfg(debug_assertions)]
pub(super) fn reached(point: &str) {
    use nix::sys::signal::{Signal, kill};
    if std::env::var_os(VARIABLE).is_some_and(|wanted| wanted == point) {
        // What cannot be killed goes on, and the test fails.
        let _killed = kill(nix::unistd::getpid(), Signal::SIGKILL);
    }
}

/// See the one of debug builds.
#[cfg(not(debug_assertions))]
pub(super) fn reached(_: &str) {}
