//! `kubectl_complete-netpol`: what kubectl runs to complete the words of `kubectl netpol`.
//!
//! kubectl looks for a program of that name and gives it the words after `netpol`, of which the last is to be completed. The
//! answer is one candidate a line, with a description behind a tab, and last a colon and a number: whether file names are
//! candidates too. It is this program under another name.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command, ValueHint};

/// What the program is called when kubectl asks it.
const NAME: &str = "kubectl_complete-netpol";
/// Ends an answer that file names may complete.
const FILES: u8 = 0;
/// Ends one that they may not.
const NO_FILES: u8 = 4;

/// What could come next.
#[derive(Debug, Eq, PartialEq)]
struct Answer {
    /// Each with its description.
    candidates: Vec<(String, String)>,
    files: bool,
}

/// Whether the program was started to complete words.
pub(super) fn wanted(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(NAME))
}

/// The answer to kubectl.
pub(super) fn answer(mut command: Command, words: &[String]) -> String {
    command.build();
    let Answer { candidates, files } = complete(&command, words);
    let mut text = String::new();
    for (candidate, description) in candidates {
        // Writing to a String cannot fail.
        let _ = match description.lines().next().unwrap_or_default() {
            "" => writeln!(text, "{candidate}"),
            description => writeln!(text, "{candidate}\t{description}"),
        };
    }
    let _ = writeln!(text, ":{}", if files { FILES } else { NO_FILES });
    text
}

fn complete(root: &Command, words: &[String]) -> Answer {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", &[][..]),
    };
    let (mut command, mut awaited, mut positions) = (root, None, 0);
    for word in before {
        if awaited.take().is_some() {
            continue;
        }
        if let Some(argument) = option(command, word) {
            awaited = argument.filter(|argument| takes_value(argument) && !word.contains('='));
        } else if let Some(below) = command.find_subcommand(word) {
            (command, positions) = (below, 0);
        } else {
            positions += 1;
        }
    }
    match (awaited, last.split_once('=')) {
        (Some(argument), _) => values(argument, "", last),
        (None, Some((name, value))) if last.starts_with("--") => match option(command, name) {
            Some(Some(argument)) => values(argument, &format!("{name}="), value),
            _ => none(),
        },
        (None, _) if last.starts_with('-') => options(command, last),
        (None, _) if command.has_subcommands() => subcommands(command, last),
        (None, _) => match positional(command, positions) {
            Some(argument) => values(argument, "", last),
            None => none(),
        },
    }
}

fn none() -> Answer {
    Answer {
        candidates: Vec::new(),
        files: false,
    }
}

/// The option that a word names; nothing within if the command has none of that name. None if the word is no option.
fn option<'a>(command: &'a Command, word: &str) -> Option<Option<&'a Arg>> {
    let name = word.split('=').next().unwrap_or(word);
    let is = |argument: &&Arg| match name.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        // `-n` and `-nshop`, in which the value follows at once.
        None => argument.get_short().is_some() && argument.get_short() == name.chars().nth(1),
    };
    let named = name.starts_with('-') && name.len() > 1;
    let attached = !name.starts_with("--") && name.chars().count() > 2;
    let found = || command.get_arguments().find(is).filter(|_| !attached);
    named.then(found)
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

fn positional(command: &Command, number: usize) -> Option<&Arg> {
    let all: Vec<&Arg> = command.get_positionals().collect();
    // The last may be repeated.
    all.get(number)
        .or(all.last().filter(|last| repeats(last)))
        .copied()
}

fn repeats(argument: &Arg) -> bool {
    let most = argument.get_num_args().map(|range| range.max_values());
    most.is_some_and(|most| most > 1) || matches!(argument.get_action(), clap::ArgAction::Append)
}

fn values(argument: &Arg, before: &str, begin: &str) -> Answer {
    let possible = argument.get_possible_values();
    let shown = possible.iter().filter(|value| !value.is_hide_set());
    let candidates = shown
        .filter(|value| value.get_name().starts_with(begin))
        .map(|value| {
            let help = value.get_help().map(ToString::to_string);
            let candidate = format!("{before}{}", value.get_name());
            (candidate, help.unwrap_or_default())
        });
    let paths = [ValueHint::AnyPath, ValueHint::FilePath, ValueHint::DirPath];
    Answer {
        candidates: candidates.collect(),
        files: paths.contains(&argument.get_value_hint()),
    }
}

fn options(command: &Command, begin: &str) -> Answer {
    let shown = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set());
    let candidates = shown.filter_map(|argument| {
        let name = format!("--{}", argument.get_long()?);
        let help = argument.get_help().map(ToString::to_string);
        name.starts_with(begin)
            .then(|| (name, help.unwrap_or_default()))
    });
    Answer {
        candidates: candidates.collect(),
        files: false,
    }
}

fn subcommands(command: &Command, begin: &str) -> Answer {
    let shown = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    let candidates = shown
        .filter(|below| below.get_name().starts_with(begin))
        .map(|below| {
            let about = below.get_about().map(ToString::to_string);
            (below.get_name().to_owned(), about.unwrap_or_default())
        });
    Answer {
        candidates: candidates.collect(),
        files: false,
    }
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, value_parser};

    use super::*;

    fn command() -> Command {
        let output = Arg::new("output")
            .long("output")
            .short('o')
            .value_parser(["yaml", "json"]);
        let wait = Arg::new("wait")
            .long("wait")
            .action(ArgAction::SetTrue)
            .help("Wait");
        let file = Arg::new("file")
            .long("file")
            .value_parser(value_parser!(std::path::PathBuf));
        let generate = Command::new("generate")
            .about("Print")
            .args([output, wait, file]);
        let shell = Arg::new("shell").value_parser(["bash", "zsh"]);
        let mut command = Command::new("kubectl-netpol")
            .subcommand(generate)
            .subcommand(Command::new("completion").arg(shell))
            .subcommand(Command::new("man").hide(true));
        command.build();
        command
    }

    fn after(words: &[&str]) -> (Vec<String>, bool) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let Answer { candidates, files } = complete(&command(), &words);
        (
            candidates.into_iter().map(|(name, _)| name).collect(),
            files,
        )
    }

    #[test]
    fn words_are_completed_by_what_stands_before_them() {
        let cases: [(&[&str], &[&str], bool); 11] = [
            (&[], &["generate", "completion", "help"], false),
            (&["ge"], &["generate"], false),
            (&["generate", "--w"], &["--wait"], false),
            (&["generate", "-o", ""], &["yaml", "json"], false),
            (&["generate", "--output", "j"], &["json"], false),
            (&["generate", "--output=j"], &["--output=json"], false),
            (&["generate", "--output=json", "--wa"], &["--wait"], false),
            (&["generate", "--file", ""], &[], true),
            (&["completion", "b"], &["bash"], false),
            (&["completion", "bash", ""], &[], false),
            (&["generate", "--nonsense=x"], &[], false),
        ];
        for (words, candidates, files) in cases {
            let expected: Vec<String> = candidates.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(after(words), (expected, files), "{words:?}");
        }
    }

    #[test]
    fn the_answer_is_as_kubectl_reads_it() {
        let words = ["gen".to_owned()];
        assert_eq!(answer(command(), &words), "generate\tPrint\n:4\n");
        assert!(wanted(OsStr::new("/usr/bin/kubectl_complete-netpol")));
        assert!(!wanted(OsStr::new("/usr/bin/kubectl-netpol")));
    }
}
