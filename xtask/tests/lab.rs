//! The lab by itself: it comes up, its traffic is as scripted, and nothing of it stays.

use std::path::PathBuf;

use xtask::lab::cni::Plugin;
use xtask::lab::scenario::{self, Phase, Stage};
use xtask::lab::{Lab, Options};

fn options(name: &str, plugin: Plugin) -> Options {
    Options {
        name: format!("{name}-{}", std::process::id()),
        plugin,
        xtask: PathBuf::from(env!("CARGO_BIN_EXE_xtask")),
    }
}

fn script(plugin: Plugin) {
    let lab = Lab::up(options(plugin.name(), plugin)).unwrap();
    let mut stage = Stage::set(lab).unwrap();
    for phase in [Phase::Before, Phase::During] {
        scenario::act(&mut stage, phase, |step| println!("{step}")).unwrap();
    }
    stage.lab.down().unwrap();
}

#[test]
fn the_script_plays_over_ptp() {
    script(Plugin::Ptp);
}

#[test]
fn the_script_plays_over_bridge() {
    script(Plugin::Bridge);
}
