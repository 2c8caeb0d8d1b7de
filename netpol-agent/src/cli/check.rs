//! `kubectl-netpol check`: the verdict of policies on flows.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use netpol_common::record::FlowRecord;
use serde_json::{Value, json};

use super::inputs::{Inputs, check_stdin};
use super::output::{print, warn};
use super::parties;
use super::policies::PolicyFlag;
use super::reading::ReadingFlags;
use crate::identity::Unresolved;
use crate::policy::check::{Answer, Checker};
use crate::policy::evaluate::{RuleId, Side, World};

/// Tell of each flow whether policies allow it; exit with 1 if any is denied
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    policies: PolicyFlag,
    #[command(flatten)]
    reading: ReadingFlags,
    /// How to print it
    #[arg(
        long,
        short,
        env = "NETPOL_CHECK_OUTPUT",
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// A table
    Table,
    /// One line of JSON for each flow
    #[value(alias = "jsonl")]
    Json,
}

/// What is printed of one flow.
struct Line<'a> {
    /// The input, where there is more than one.
    input: Option<&'a str>,
    number: u64,
    record: &'a FlowRecord,
    answer: &'a Result<Answer, Unresolved>,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let inputs = &self.inputs;
        check_stdin(inputs.paths().chain(&self.policies.policies))?;
        let mut origin = inputs.open()?;
        let mut inventory = origin.inventory(self.policies.wanted())?;
        let policies = self.policies.load(&inventory)?;
        let mut index = inventory.take_index();
        let world = World::of(&index);
        let checker = Checker::new(&world, &policies, self.reading.reading());
        let mut tally = Tally::default();
        let (mut lines, mut rows) = (String::new(), Vec::new());
        inputs.each_flow(&mut origin, &mut index, |index, (input, number), record| {
            let answer = checker.check(index, record);
            let line = Line {
                input: (inputs.sources() > 1).then_some(input),
                number,
                record,
                answer: &answer,
            };
            match self.output {
                Format::Json => lines.push_str(&(line.json().to_string() + "\n")),
                Format::Table => rows.push(line.cells()),
            }
            tally.add(&answer);
        })?;
        if self.output == Format::Table {
            lines = parties::table(Line::HEADER, rows.into_iter());
        }
        print(lines.as_bytes()).context("the verdicts")?;
        Ok(tally.tell())
    }
}

/// How many flows of each kind there were.
#[derive(Debug, Default)]
struct Tally {
    flows: u64,
    denied: u64,
    unresolved: u64,
}

impl Tally {
    fn add(&mut self, answer: &Result<Answer, Unresolved>) {
        self.flows += 1;
        match answer {
            Ok(answer) if answer.allowed() => {}
            Ok(_) => self.denied += 1,
            Err(_) => self.unresolved += 1,
        }
    }

    /// A flow that cannot be judged is not one that is known to be allowed.
    fn tell(&self) -> ExitCode {
        if self.unresolved > 0 {
            warn(format_args!(
                "{} of {} flows cannot be judged and count as denied: their ends are unresolved",
                self.unresolved, self.flows
            ));
        }
        match self.denied + self.unresolved {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::from(1),
        }
    }
}

impl Line<'_> {
    const HEADER: [&'static str; 7] = [
        "LINE", "VERDICT", "CLIENT", "SERVER", "PORT", "EGRESS", "INGRESS",
    ];

    fn json(&self) -> Value {
        let mut line = match self.answer {
            Ok(answer) => json!({
                "line": self.number,
                "allowed": answer.allowed(),
                "egress": side(&answer.verdict.egress),
                "ingress": side(&answer.verdict.ingress),
            }),
            Err(reason) => json!({
                "line": self.number,
                "allowed": false,
                "egress": null,
                "ingress": null,
                "unresolved": reason.to_string(),
            }),
        };
        if let Some(input) = self.input {
            line["input"] = json!(input);
        }
        if let Ok(answer) = self.answer
            && answer.pairs > 1
            && !answer.denied.is_empty()
        {
            let pairs = answer.denied.iter();
            let pairs = pairs.map(
                |pair| json!({"client": pair.client, "server": pair.server, "port": pair.port}),
            );
            line["denied"] = pairs.collect();
        }
        line
    }

    fn cells(&self) -> [String; 7] {
        let record = self.record;
        let (verdict, egress, ingress) = match self.answer {
            Ok(answer) => (
                verdict(answer),
                words(&answer.verdict.egress),
                words(&answer.verdict.ingress),
            ),
            Err(reason) => ("unresolved".to_owned(), reason.to_string(), String::new()),
        };
        let number = self.number;
        [
            self.input
                .map_or_else(|| number.to_string(), |input| format!("{input}:{number}")),
            verdict,
            record.client.to_string(),
            record.server.to_string(),
            format!("{}/{}", record.port, record.protocol),
            egress,
            ingress,
        ]
    }
}

fn side(side: &Side) -> Value {
    let by = side.by.iter().map(rule);
    json!({
        "allowed": side.allowed,
        "isolated": side.isolated,
        "by": by.collect::<Vec<String>>(),
    })
}

/// `namespace/policy#0`.
fn rule(rule: &RuleId) -> String {
    format!("{}#{}", rule.policy, rule.rule)
}

fn verdict(answer: &Answer) -> String {
    match (answer.allowed(), answer.pairs) {
        (true, _) => "allowed".to_owned(),
        (false, 1) => "denied".to_owned(),
        (false, pairs) if answer.denied.len() == pairs => "denied".to_owned(),
        (false, pairs) => format!("denied for {} of {pairs}", answer.denied.len()),
    }
}

fn words(side: &Side) -> String {
    let by: Vec<String> = side.by.iter().map(rule).collect();
    match (side.allowed, side.isolated, by.is_empty()) {
        (false, ..) => "denied".to_owned(),
        (true, false, _) => "open".to_owned(),
        (true, true, false) => by.join(","),
        (true, true, true) => "always".to_owned(),
    }
}
