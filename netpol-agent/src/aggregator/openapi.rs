//! The OpenAPI document, generated from the handlers and the types that they take and return.

use std::collections::BTreeMap;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::batches;
use super::read;
use crate::wire::{PROBLEM_MEDIA_TYPE, Problem};

/// Where the document is served.
pub(super) const PATH: &str = "/v1/openapi.json";

/// The API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "netpol aggregator",
        description = "Node agents deliver batches of edges; people read flows, objects and status. Every refusal is a \
            problem as RFC 9457 has it, whose type ends in the reason by which it is counted.",
    ),
    paths(
        batches::deliver,
        batches::durable,
        read::flows::flows,
        read::inventory::inventory,
        read::status::status,
    ),
    components(schemas(Problem)),
    modifiers(&Tokens),
    tags(
        (name = "agents", description = "For node agents: a token of theirs, bound to their pod"),
        (name = "read", description = "For people: a token of whoever may get learnedpolicies.netpol.io"),
    ),
)]
struct Document;

/// The document as JSON.
#[must_use]
pub fn document() -> String {
    let document = Document::openapi();
    // Every part of it is text, numbers, lists and objects.
    document.to_pretty_json().unwrap_or_default() + "\n"
}

/// How requests say whose they are.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description =
            Some("A ServiceAccount token of audience netpol-aggregator".to_owned());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// How requests of readers are refused.
pub(super) struct ReadRefusals;

/// How requests of node agents are refused.
pub(super) struct AgentRefusals;

/// How deliveries are refused, beyond what is refused of every agent.
pub(super) struct DeliveryRefusals;

const OF_ALL: [(&str, &str); 5] = [
    ("400", "Something in the request is not as it should be"),
    ("401", "No token, or one that is no good"),
    ("403", "A good token, and not one that may do this"),
    (
        "429",
        "Too much from this node or address; Retry-After says how long to wait",
    ),
    ("503", "Not at present; Retry-After says when to try again"),
];

const OF_AGENTS: [(&str, &str); 1] = [("426", "Another version of the protocol")];

const OF_DELIVERIES: [(&str, &str); 3] = [
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("415", "Another media type or encoding"),
];

impl IntoResponses for ReadRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&OF_ALL)
    }
}

impl IntoResponses for AgentRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = problems(&OF_ALL);
        all.append(&mut problems(&OF_AGENTS));
        all
    }
}

impl IntoResponses for DeliveryRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = AgentRefusals::responses();
        all.append(&mut problems(&OF_DELIVERIES));
        all
    }
}

fn problems(of: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |(status, description): &(&str, &str)| {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description(*description)
            .content(PROBLEM_MEDIA_TYPE, content)
            .build();
        ((*status).to_owned(), RefOr::T(response))
    };
    of.iter().map(problem).collect()
}
