//! An explanation as lines for a person.

use std::fmt::{self, Display};

use super::{Answer, Change, Explanation, SideAnswer};

/// How many rules that do not match are shown for each side.
const NEAREST: usize = 3;
/// How many names are shown of pods that are judged alike.
const NAMED: usize = 5;

/// The lines, with a line break at the end of each.
#[must_use]
pub fn text(explanation: &Explanation) -> String {
    explanation.to_string()
}

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            protocol,
            port,
            ..
        } = self;
        let allowed = self.answers.iter().filter(|answer| answer.allowed).count();
        let verdict = match (self.answers.len(), allowed) {
            (0, _) => "nobody speaks with anybody: their addresses are of different families",
            (all, some) if all == some => "allowed",
            (_, 0) => "denied",
            _ => "allowed for some of their pods or addresses only",
        };
        writeln!(f, "{from} -> {to} {protocol} {port}: {verdict}")?;
        for answer in &self.answers {
            writeln!(f)?;
            if self.answers.len() > 1 {
                write_heading(answer, f)?;
            }
            write_side("egress", &answer.egress, f)?;
            write_side("ingress", &answer.ingress, f)?;
        }
        match &self.change {
            Some(change) => write_change(change, f),
            None => Ok(()),
        }
    }
}

fn write_heading(answer: &Answer, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let verdict = if answer.allowed { "allowed" } else { "denied" };
    let (clients, servers) = (named(&answer.clients), named(&answer.servers));
    let over: Vec<&str> = answer.families.iter().copied().collect();
    let over = over.join(" and ");
    writeln!(f, "{clients} -> {servers} over {over}: {verdict}")
}

fn named(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

fn write_side(way: &str, side: &SideAnswer, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let verdict = if side.allowed { "allowed" } else { "denied" };
    writeln!(f, "{way}: {verdict}: {}", side.because)?;
    if !side.isolated_by.is_empty() {
        writeln!(f, "  isolated by {}", named(&side.isolated_by))?;
    }
    for rule in &side.by {
        writeln!(f, "  allowed by {}: {}", rule.rule, rule.allows)?;
    }
    for rule in side.not_by.iter().take(NEAREST) {
        writeln!(f, "  not by {}: {}", rule.rule, rule.allows)?;
        for miss in &rule.misses {
            writeln!(f, "    {}", miss.why)?;
        }
    }
    match side.not_by.len().checked_sub(NEAREST) {
        Some(more @ 1..) => writeln!(f, "  nor by {more} more rules, which match less"),
        _ => Ok(()),
    }
}

fn write_change(change: &Change, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nThe smallest change that would allow it:")?;
    for step in &change.steps {
        writeln!(f, "- {}:", step.what)?;
        for line in step.yaml.lines() {
            writeln!(f, "    {line}")?;
        }
    }
    if change.also_allows.is_empty() {
        return writeln!(f, "It allows nothing else.");
    }
    writeln!(f, "It also allows:")?;
    for other in &change.also_allows {
        writeln!(f, "- {other}")?;
    }
    Ok(())
}
