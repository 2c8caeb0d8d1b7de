//! `kubectl-netpol`: the command for people.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use super::{
    check, completion, connectivity, decide, diff, examples, explain, flows, generate, graph,
    install, man, mode, output, rollback, status, uninstall, violations, words,
};
use crate::crd::Mode;

/// Learn NetworkPolicies from real traffic.
///
/// What changes a cluster goes through its API server, with the rights of your kubeconfig. What is read comes from
/// netpol's aggregator in the cluster, or from files: --inventory and --flows.
#[derive(Debug, Parser)]
#[command(
    name = netpol_common::COMMAND,
    bin_name = "kubectl netpol",
    version,
    propagate_version = true
)]
pub(super) struct Arguments {
    #[command(flatten)]
    global: output::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Allow violations from now on, on every side that you may change
    #[command(after_help = examples::APPROVE)]
    Approve(decide::Arguments),
    /// Freeze what a namespace's workloads may do, and tell what goes beyond it
    #[command(after_help = examples::AUDIT)]
    Audit(mode::Arguments),
    #[command(after_help = examples::CHECK)]
    Check(check::Arguments),
    #[command(after_help = examples::COMPLETION)]
    Completion(completion::Arguments),
    #[command(after_help = examples::CONNECTIVITY)]
    Connectivity(connectivity::Arguments),
    #[command(after_help = examples::DIFF)]
    Diff(diff::Arguments),
    /// Put a namespace's policies into force, workload by workload
    #[command(after_help = examples::ENFORCE)]
    Enforce(mode::Arguments),
    #[command(after_help = examples::EXPLAIN)]
    Explain(explain::Arguments),
    #[command(after_help = examples::FLOWS)]
    Flows(Box<flows::Arguments>),
    #[command(after_help = examples::GENERATE)]
    Generate(Box<generate::Arguments>),
    #[command(after_help = examples::GRAPH)]
    Graph(Box<graph::Arguments>),
    #[command(after_help = examples::INSTALL)]
    Install(install::Arguments),
    /// Learn what a namespace's workloads do; policies of ours that are in force there are taken away
    #[command(after_help = examples::LEARN)]
    Learn(mode::Arguments),
    #[command(after_help = examples::MAN, hide = true)]
    Man(man::Arguments),
    /// Deny violations for good, and be told of them no more
    #[command(after_help = examples::REJECT)]
    Reject(decide::Arguments),
    #[command(after_help = examples::ROLLBACK)]
    Rollback(rollback::Arguments),
    #[command(after_help = examples::STATUS)]
    Status(Box<status::Arguments>),
    #[command(after_help = examples::UNINSTALL)]
    Uninstall(uninstall::Arguments),
    #[command(after_help = examples::VIOLATIONS)]
    Violations(violations::Arguments),
}

/// Runs the command and tells the exit code: 0, 1 where a yes/no question is answered no, 2 on an error.
#[must_use]
pub fn run() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|program| words::wanted(&program)) {
        let words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let answer = words::answer(Arguments::command(), &words);
        return output::report(output::print(answer.as_bytes()).map(|()| ExitCode::SUCCESS));
    }
    let arguments = Arguments::parse();
    arguments.global.apply();
    output::report(arguments.command.run())
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Approve(arguments) => arguments.run(decide::Decision::Approve),
            Self::Audit(arguments) => arguments.run(Mode::Audit),
            Self::Check(arguments) => arguments.run(),
            Self::Completion(arguments) => arguments.run(),
            Self::Connectivity(arguments) => arguments.run(),
            Self::Diff(arguments) => arguments.run(),
            Self::Enforce(arguments) => arguments.run(Mode::Enforce),
            Self::Explain(arguments) => arguments.run(),
            Self::Flows(arguments) => arguments.run(),
            Self::Generate(arguments) => arguments.run(),
            Self::Graph(arguments) => arguments.run(),
            Self::Install(arguments) => arguments.run(),
            Self::Learn(arguments) => arguments.run(Mode::Learn),
            Self::Man(arguments) => arguments.run(),
            Self::Reject(arguments) => arguments.run(decide::Decision::Reject),
            Self::Rollback(arguments) => arguments.run(),
            Self::Status(arguments) => arguments.run(),
            Self::Uninstall(arguments) => arguments.run(),
            Self::Violations(arguments) => arguments.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    /// The examples of a command, each as words.
    fn examples(command: &clap::Command) -> Vec<Vec<String>> {
        let help = command.get_after_help().expect("examples").to_string();
        let lines = help.lines().map(str::trim);
        let lines = lines.map(|line| line.strip_prefix("source <(").unwrap_or(line));
        let lines = lines.filter(|line| line.starts_with("kubectl"));
        let line = |line: &str| {
            let command = match line.contains('"') {
                true => Some(line),
                false => line.trim_end_matches(')').split(" > ").next(),
            };
            let words = command
                .unwrap_or_default()
                .replace("kubectl netpol", "kubectl-netpol");
            let parts = words.split('"').enumerate();
            let split = parts.flat_map(|(number, part)| match number % 2 {
                0 => part.split_whitespace().collect(),
                _ => vec![part],
            });
            split.map(str::to_owned).collect()
        };
        lines.map(line).collect()
    }

    #[test]
    fn every_command_shows_examples_that_parse() {
        for command in Arguments::command().get_subcommands() {
            let examples = examples(command);
            assert!(!examples.is_empty(), "{}", command.get_name());
            for words in examples {
                assert_eq!(words.get(1).map(String::as_str), Some(command.get_name()));
                let parsed = Arguments::try_parse_from(&words);
                assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn every_flag_has_a_twin_in_the_environment() {
        for command in Arguments::command().get_subcommands() {
            for argument in command
                .get_arguments()
                .filter(|argument| !argument.is_global_set())
            {
                let twin = argument
                    .get_env()
                    .map(|name| name.to_string_lossy().into_owned());
                let has_twin = twin.is_some_and(|name| name.starts_with("NETPOL_"));
                assert!(has_twin, "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
