//! Sets of ports on the command line: `80,8000-8010`.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// Ports in the order they were given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ports(pub(super) Vec<u16>);

impl FromStr for Ports {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut ports = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |word: &str| {
                word.parse::<u16>()
                    .with_context(|| format!("{word:?} is not a port"))
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                bail!("{part} is not a range of ports");
            }
            ports.extend(first..=last);
        }
        Ok(Self(ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_keep_their_order() {
        assert_eq!("9,3-5".parse::<Ports>().unwrap(), Ports(vec![9, 3, 4, 5]));
        for bad in ["", "5-3", "x", "70000", "1-"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad:?}");
        }
    }
}
