//! Who a token is of, and what somebody may do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::Failure;
use super::route::Target;
use super::world::{Request, World};

/// The audience of tokens that are for the API server itself.
const OWN_AUDIENCE: &str = "https://kubernetes.default.svc";
/// The shortest time that a token is given for, in seconds.
const SHORTEST: i64 = 600;

/// Whose a token is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Account {
    /// The user's name.
    pub(crate) user: String,
    /// Its uid.
    pub(crate) uid: String,
    /// Its groups.
    pub(crate) groups: Vec<String>,
    /// For whom the token is; empty for the API server itself.
    pub(crate) audiences: Vec<String>,
    /// What else the token tells, as of its pod and node.
    pub(crate) extra: BTreeMap<String, Vec<String>>,
    /// When it expires, in seconds since 1970; never if absent.
    pub(crate) expires: Option<i64>,
}

/// Something that a user may do.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Right {
    /// Who.
    pub(crate) user: String,
    /// The verb; `*` for all.
    pub(crate) verb: String,
    /// The API group; `*` for all.
    pub(crate) group: String,
    /// The plural, with `/` and the subresource if there is one; `*` for all.
    pub(crate) resource: String,
    /// Where; empty for everywhere.
    pub(crate) namespace: String,
    /// The object; empty for all of them.
    pub(crate) name: String,
}

impl Right {
    /// Whether a request needs it and no more than it.
    pub(crate) fn covers(&self, request: &Request) -> bool {
        self.user == request.user && self.grants(&Asked::of(request))
    }

    fn grants(&self, asked: &Asked) -> bool {
        let is = |right: &str, asked: &str| right == "*" || right == asked;
        is(&self.verb, &asked.verb)
            && is(&self.group, &asked.group)
            && is(&self.resource, &asked.resource)
            && (self.namespace.is_empty() || self.namespace == asked.namespace)
            && (self.name.is_empty() || self.name == asked.name)
    }
}

/// What somebody wants to do.
#[derive(Debug)]
struct Asked {
    verb: String,
    group: String,
    /// With `/` and the subresource if there is one.
    resource: String,
    namespace: String,
    name: String,
}

impl Asked {
    fn of(request: &Request) -> Self {
        Self {
            verb: request.verb.to_owned(),
            group: request.group.clone(),
            resource: joined(&request.plural, &request.subresource),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
        }
    }
}

fn joined(plural: &str, subresource: &str) -> String {
    match subresource {
        "" => plural.to_owned(),
        part => format!("{plural}/{part}"),
    }
}

impl Account {
    /// A ServiceAccount.
    pub(crate) fn of_service(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            uid: format!("uid-of-{namespace}-{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            ..Self::default()
        }
    }
}

/// Lets a request in, or not.
pub(super) fn admit(world: &World, request: &Request) -> Result<(), Failure> {
    if !world.guarded {
        return Ok(());
    }
    if request.user.is_empty() {
        return Err(Failure::new(401, "Unauthorized", "Unauthorized"));
    }
    let asked = Asked::of(request);
    // Everybody may ask what they may do themselves: `system:basic-user`.
    if asked.resource == "selfsubjectaccessreviews" || may(world, &request.user, &asked) {
        return Ok(());
    }
    let user = &request.user;
    let Asked {
        verb,
        group,
        resource,
        ..
    } = asked;
    let message = format!(
        "{resource}.{group} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group {group:?}"
    );
    Err(Failure::new(403, "Forbidden", message))
}

fn may(world: &World, user: &str, asked: &Asked) -> bool {
    let mut own = world.rights.iter().filter(|right| right.user == user);
    own.any(|right| right.grants(asked))
}

/// Answers a TokenReview, a SubjectAccessReview or a SelfSubjectAccessReview.
pub(super) fn review(world: &World, plural: &str, request: &Request) -> Value {
    let mut review = request.body.clone();
    let spec = &request.body["spec"];
    review["status"] = match plural {
        "tokenreviews" => token_status(world, spec),
        "subjectaccessreviews" => {
            access_status(world, spec["user"].as_str().unwrap_or_default(), spec)
        }
        _ => access_status(world, &request.user, spec),
    };
    review
}

fn access_status(world: &World, user: &str, spec: &Value) -> Value {
    let attributes = &spec["resourceAttributes"];
    let text = |field: &str| attributes[field].as_str().unwrap_or_default().to_owned();
    let asked = Asked {
        verb: text("verb"),
        group: text("group"),
        resource: joined(&text("resource"), &text("subresource")),
        namespace: text("namespace"),
        name: text("name"),
    };
    let allowed = may(world, user, &asked);
    json!({"allowed": allowed})
}

fn token_status(world: &World, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    let refused = |error: &str| json!({"authenticated": false, "error": error});
    let Some(account) = world.tokens.get(token) else {
        return refused("invalid bearer token");
    };
    if account.expires.is_some_and(|expires| expires <= world.now) {
        return refused("token has expired");
    }
    let own = match account.audiences.as_slice() {
        [] => vec![OWN_AUDIENCE.to_owned()],
        audiences => audiences.to_vec(),
    };
    let asked = spec["audiences"].as_array();
    let asked: Vec<&str> = match asked {
        Some(asked) if !asked.is_empty() => asked.iter().filter_map(Value::as_str).collect(),
        _ => vec![OWN_AUDIENCE],
    };
    let both: Vec<&String> = own
        .iter()
        .filter(|own| asked.contains(&own.as_str()))
        .collect();
    if both.is_empty() {
        return refused("token audiences do not intersect the requested ones");
    }
    json!({
        "authenticated": true, "audiences": both,
        "user": {
            "username": account.user, "uid": account.uid, "groups": account.groups, "extra": account.extra,
        },
    })
}

/// Answers a TokenRequest, and knows the token from then on.
pub(super) fn token(world: &mut World, target: &Target, body: &Value) -> Result<Value, Failure> {
    let (namespace, name) = (&target.namespace, &target.name);
    if world.get("serviceaccounts", namespace, name).is_none() {
        return Err(Failure::not_found("serviceaccounts", name));
    }
    let spec = &body["spec"];
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds < SHORTEST {
        let message = "spec.expirationSeconds: may not specify a duration less than 10 minutes";
        return Err(Failure::invalid(message));
    }
    let audiences = spec["audiences"].as_array().into_iter().flatten();
    let audiences = audiences.filter_map(Value::as_str).map(str::to_owned);
    let mut account = Account::of_service(namespace, name);
    account.audiences = audiences.collect();
    account.expires = Some(world.now + seconds);
    world.names += 1;
    let token = format!("token-{}-{name}", world.names);
    let mut answer = body.clone();
    let expiry = jiff::Timestamp::from_second(world.now + seconds);
    answer["status"] = json!({
        "token": token, "expirationTimestamp": expiry.expect("a time that there is").to_string(),
    });
    world.tokens.insert(token, account);
    Ok(answer)
}
