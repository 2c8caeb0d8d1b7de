//! Bearer tokens, before anybody has vouched for them.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::aggregator::refusal::Refusal;

/// Bytes of a token at most.
const LONGEST: usize = 16 << 10;

/// What a token is remembered by.
pub(super) type Hash = [u8; 32];

/// A token as it came. What it says of itself is only used to refuse it, or to believe others for a shorter time.
#[derive(Clone)]
pub(crate) struct Token {
    text: String,
    hash: Hash,
    claims: Claims,
}

/// What the payload of a JWT says (RFC 7519); nothing, if it is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    exp: Option<f64>,
    aud: Value,
}

impl Token {
    /// The bearer token of a request.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoToken`], or [`Refusal::BadToken`] if it is longer than any.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let field = headers.get(header::AUTHORIZATION);
        let field = field.and_then(|field| field.to_str().ok());
        let (scheme, text) = field
            .and_then(|field| field.split_once(' '))
            .ok_or(Refusal::NoToken)?;
        let text = text.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || text.is_empty() {
            return Err(Refusal::NoToken);
        }
        if text.len() > LONGEST {
            return Err(Refusal::BadToken(format!(
                "it is longer than {LONGEST} bytes"
            )));
        }
        Ok(Self::new(text))
    }

    pub(super) fn new(text: &str) -> Self {
        Self {
            hash: Sha256::digest(text).into(),
            claims: Claims::of(text).unwrap_or_default(),
            text: text.to_owned(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// When it expires, if it says so.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let seconds = self.claims.exp?.clamp(0.0, 1e11);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number within the range of times"
        )]
        Timestamp::from_second(seconds.floor() as i64).ok()
    }

    /// Refuses a token that says itself that it is expired or meant for others, without asking anybody.
    pub(super) fn look(&self, audience: &str, now: Timestamp) -> Result<(), Refusal> {
        if self.expires().is_some_and(|expires| expires <= now) {
            return Err(Refusal::BadToken("it has expired".to_owned()));
        }
        let ours = match &self.claims.aud {
            Value::String(one) => one == audience,
            Value::Array(several) => several.iter().any(|one| one == audience),
            _ => true,
        };
        if !ours {
            let wanted = format!("it is not of audience {audience}");
            return Err(Refusal::BadToken(wanted));
        }
        Ok(())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl Claims {
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (_header, payload) = (parts.next()?, parts.next()?);
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        serde_json::from_slice(&payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> Token {
        Token::new(&format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload)))
    }

    fn header(value: &str) -> Result<Token, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        Token::of(&headers)
    }

    #[test]
    fn reads_the_header() {
        assert_eq!(header("Bearer abc").unwrap().text(), "abc");
        assert_eq!(header("bearer  abc ").unwrap().text(), "abc");
        for bad in ["abc", "Basic abc", "Bearer ", "Bearer"] {
            assert_eq!(header(bad).unwrap_err(), Refusal::NoToken, "{bad:?}");
        }
        let long = format!("Bearer {}", "a".repeat(LONGEST + 1));
        assert!(matches!(header(&long), Err(Refusal::BadToken(_))));
        assert_eq!(Token::of(&HeaderMap::new()).unwrap_err(), Refusal::NoToken);
    }

    #[test]
    fn refuses_what_calls_itself_expired_or_of_another_audience() {
        let now = Timestamp::from_second(1_000).unwrap();
        let good = [
            r#"{"exp":1001,"aud":["netpol","x"]}"#,
            r#"{"exp":1e300,"aud":"netpol"}"#,
            r#"{"aud":null}"#,
            "{}",
            "not JSON",
        ];
        for payload in good {
            assert_eq!(jwt(payload).look("netpol", now), Ok(()), "{payload}");
        }
        let bad = [
            r#"{"exp":1000}"#,
            r#"{"exp":-1e300}"#,
            r#"{"aud":["x"]}"#,
            r#"{"aud":"x"}"#,
        ];
        for payload in bad {
            assert!(jwt(payload).look("netpol", now).is_err(), "{payload}");
        }
    }

    #[test]
    fn is_not_printed() {
        assert!(!format!("{:?}", Token::new("secret-text")).contains("secret-text"));
    }
}
