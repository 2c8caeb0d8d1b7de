//! What an aggregator says when it does not answer: `application/problem+json` (RFC 9457).

use serde::Deserialize;

/// At most so much of what is no such document is shown.
const SHOWN: usize = 200;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
}

/// A sentence about an answer of that status and with that body.
pub(super) fn sentence(status: u16, body: &[u8]) -> String {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let words = match (problem.title.as_str(), problem.detail.as_str()) {
        ("", "") => plain(body),
        (title, "") => title.to_owned(),
        ("", detail) => detail.to_owned(),
        (title, detail) => format!("{title}: {detail}"),
    };
    let words = words.replace(char::is_control, " ");
    let hint = match status {
        401 => "; the clocks of this machine and of the cluster may differ",
        403 => "; ask for the right to get learnedpolicies.netpol.io there",
        426 => "; use the kubectl-netpol of the version that is installed",
        429 | 503 => "; try again in a minute",
        _ => "",
    };
    format!("{} ({status}){hint}", words.trim())
}

fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.chars().take(SHOWN).collect::<String>() {
        empty if empty.trim().is_empty() => "it gives no reason".to_owned(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let cases: [(u16, &str, &str); 4] = [
            (
                503,
                r#"{"title":"Not ready","detail":"the first list is under way"}"#,
                "Not ready: the first list is under way (503); try again in a minute",
            ),
            (500, "{}", "{} (500)"),
            (500, "", "it gives no reason (500)"),
            (400, "a\u{1b}[31mb\n", "a [31mb (400)"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(sentence(status, body.as_bytes()), expected);
        }
    }
}
