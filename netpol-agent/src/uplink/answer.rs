//! What an answer of the aggregator means for a delivery.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::pace::Next;
use super::status::Failure;
use crate::observe::PodIdentity;
use crate::wire::{Acknowledgement, Problem, Side};

/// The answer to a request, read whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The body, or as much of it as is read.
    pub body: Vec<u8>,
}

/// What to do with a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is durable.
    Durable(Acknowledgement),
    /// Deliver it again.
    Again(Failure, Next),
    /// Deliver less at a time.
    Smaller,
    /// Something in it is not what the aggregator understands, and never will be.
    Malformed,
    /// It speaks of pods that are not this node's.
    Forbidden(Vec<PodIdentity>),
}

impl Answer {
    /// What it means, at `now`.
    #[must_use]
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        match self.status {
            200 => self.acknowledged(),
            400 | 422 => Verdict::Malformed,
            401 => Verdict::Again(Failure::Token, self.next(now)),
            403 => match self.problem().refused {
                refused if refused.is_empty() => Verdict::Again(Failure::Forbidden, Next::Slowly),
                refused => Verdict::Forbidden(refused),
            },
            413 => Verdict::Smaller,
            426 => Verdict::Again(Failure::Upgrade, Next::Slowly),
            429 => Verdict::Again(Failure::TooMany, self.next(now)),
            503 => Verdict::Again(Failure::Unavailable, self.next(now)),
            500..=599 => Verdict::Again(Failure::Server, self.next(now)),
            404 | 405 | 410 | 415 => Verdict::Again(Failure::Status, Next::Slowly),
            _ => Verdict::Again(Failure::Status, self.next(now)),
        }
    }

    /// What it says in its problem, as far as it says anything.
    #[must_use]
    pub fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The answer in one line, for a log.
    #[must_use]
    pub fn describe(&self) -> String {
        let problem = self.problem();
        let said = problem.detail.unwrap_or(problem.title);
        let said: String = said.chars().filter(|c| !c.is_control()).take(400).collect();
        let upgrade = match problem.upgrade {
            _ if self.status != 426 => "",
            Some(Side::Agent) => "; upgrade the node agent",
            Some(Side::Aggregator) => "; upgrade the aggregator",
            None => "; upgrade whichever of node agent and aggregator is older",
        };
        match said.as_str() {
            "" => format!(
                "the aggregator answered with status {}{upgrade}",
                self.status
            ),
            said => format!(
                "the aggregator answered with status {}: {said}{upgrade}",
                self.status
            ),
        }
    }

    fn acknowledged(&self) -> Verdict {
        match serde_json::from_slice(&self.body) {
            Ok(acknowledgement) => Verdict::Durable(acknowledgement),
            Err(_) => Verdict::Again(Failure::Answer, Next::BackOff),
        }
    }

    fn next(&self, now: Timestamp) -> Next {
        let asked = self.retry_after.as_deref().and_then(|text| wait(text, now));
        asked.map_or(Next::BackOff, Next::After)
    }
}

/// What `Retry-After` asks for: a number of seconds, or a date (RFC 9110, section 10.2.3).
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, retry_after: Option<&str>, body: &serde_json::Value) -> Answer {
        Answer {
            status,
            retry_after: retry_after.map(str::to_owned),
            body: body.to_string().into_bytes(),
        }
    }

    #[test]
    fn every_status_says_how_to_go_on() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let again = Verdict::Again;
        let after = |seconds| Next::After(Duration::from_secs(seconds));
        let durable = Verdict::Durable(Acknowledgement::default());
        for (status, retry_after, verdict) in [
            (200, None, durable),
            (400, None, Verdict::Malformed),
            (401, None, again(Failure::Token, Next::BackOff)),
            (403, None, again(Failure::Forbidden, Next::Slowly)),
            (404, None, again(Failure::Status, Next::Slowly)),
            (408, None, again(Failure::Status, Next::BackOff)),
            (413, None, Verdict::Smaller),
            (302, None, again(Failure::Status, Next::BackOff)),
            (426, None, again(Failure::Upgrade, Next::Slowly)),
            (429, Some("7"), again(Failure::TooMany, after(7))),
            (429, None, again(Failure::TooMany, Next::BackOff)),
            (500, None, again(Failure::Server, Next::BackOff)),
            (
                503,
                Some("Fri, 02 Jan 2026 03:04:35 GMT"),
                again(Failure::Unavailable, after(30)),
            ),
            (
                503,
                Some("Fri, 02 Jan 2026 03:00:00 GMT"),
                again(Failure::Unavailable, after(0)),
            ),
            (
                503,
                Some("soon"),
                again(Failure::Unavailable, Next::BackOff),
            ),
        ] {
            let answer = answer(status, retry_after, &json!({"acknowledged": []}));
            assert_eq!(answer.verdict(now), verdict, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn an_answer_that_acknowledges_nothing_readable_is_a_failure() {
        for body in ["", "{}", "<html>", r#"{"acknowledged":[{"epoch":1}]}"#] {
            let answer = Answer {
                status: 200,
                retry_after: None,
                body: body.into(),
            };
            let verdict = answer.verdict(Timestamp::UNIX_EPOCH);
            assert_eq!(
                verdict,
                Verdict::Again(Failure::Answer, Next::BackOff),
                "{body}"
            );
        }
    }

    #[test]
    fn pods_that_are_refused_are_named() {
        let pod = json!({"namespace": "shop", "name": "web-0", "uid": "u1"});
        let answer = answer(403, None, &json!({"status": 403, "refused": [pod]}));
        let Verdict::Forbidden(refused) = answer.verdict(Timestamp::UNIX_EPOCH) else {
            panic!("{answer:?}");
        };
        assert_eq!(serde_json::to_value(&refused).unwrap(), json!([pod]));
    }

    #[test]
    fn what_the_aggregator_said_is_told_in_one_line() {
        let told = answer(
            426,
            None,
            &json!({"detail": "it speaks\nversion 1", "upgrade": "agent"}),
        );
        assert_eq!(
            told.describe(),
            "the aggregator answered with status 426: it speaksversion 1; upgrade the node agent"
        );
        let silent = answer(503, None, &json!("no problem"));
        assert_eq!(silent.describe(), "the aggregator answered with status 503");
    }
}
