//! What a request may ask of the model API besides the model's answer: nothing that reaches other hosts.
//!
//! The API itself calls MCP servers that a request names, fetches images and documents from addresses, and runs tools of
//! its own. A sandbox without a network would have one again, and could send out what it likes in an address.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// How the types of the API's own tools begin that reach other hosts or run code elsewhere.
const REFUSED_TOOLS: [&str; 4] = ["web_fetch", "code_execution", "bash_code_execution", "mcp_toolset"];

/// Sources that are not in the request itself.
const REFUSED_SOURCES: [&str; 2] = ["url", "file"];

/// Why a request does not go to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no JSON object.
    Malformed,
    /// It asks for this.
    Reaches(&'static str),
}

/// Looks for what reaches beyond the model, without building the request in memory.
///
/// Every place is looked at where something of that kind could stand, whatever stands around it, so that new kinds of
/// blocks need no new rule. Only what goes to tools as it is, and is never followed by the API, is passed over.
pub(super) fn check(body: &[u8]) -> Result<(), Refusal> {
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(body);
    let walked = Walk { place: Place::Request, found: &mut found }.deserialize(&mut json);
    match (walked.and_then(|()| json.end()), found) {
        (_, Some(what)) => Err(Refusal::Reaches(what)),
        (Err(_), None) => Err(Refusal::Malformed),
        (Ok(()), None) => Ok(()),
    }
}

/// What the cost of a request depends on, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The model that is asked.
    pub(super) model: String,
    /// The most that it may write.
    pub(super) max_tokens: u64,
    /// The most web searches that the API may run for it.
    pub(super) max_searches: u64,
}

/// The most that is written for a request which does not say how much. The API refuses those.
const USUAL_MAX_TOKENS: u64 = 128_000;

/// The most web searches for a request that allows any number.
const USUAL_MAX_SEARCHES: u64 = 20;

/// Returns what the cost of a request depends on. A field that is there twice is refused, since the API may read the other one.
pub(super) fn facts(body: &[u8]) -> Result<Facts, Refusal> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        model: Option<Cow<'a, str>>,
        max_tokens: Option<Value>,
        #[serde(default)]
        tools: Option<Vec<Tool<'a>>>,
    }
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
        max_uses: Option<Value>,
    }
    let request: Request<'_> = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
    let count = |value: &Value| value.as_u64().or_else(|| value.as_f64().map(|count| count.max(0.0) as u64));
    let searches = request
        .tools
        .iter()
        .flatten()
        .filter(|tool| tool.kind.as_deref().is_some_and(|kind| kind.starts_with("web_search")));
    Ok(Facts {
        model: request.model.unwrap_or_default().into_owned(),
        max_tokens: request.max_tokens.as_ref().and_then(count).unwrap_or(USUAL_MAX_TOKENS),
        max_searches: searches
            .map(|tool| tool.max_uses.as_ref().and_then(count).unwrap_or(USUAL_MAX_SEARCHES))
            .fold(0, u64::saturating_add),
    })
}

/// What a value is, by what it stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Request,
    McpServers,
    Container,
    Tools,
    Tool,
    ToolType,
    Source,
    SourceType,
    Other,
}

/// The names that matter.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Type,
    Source,
    Tools,
    McpServers,
    Container,
    Input,
    InputSchema,
    #[serde(other)]
    Other,
}

struct Walk<'a> {
    place: Place,
    found: &'a mut Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.place {
            // Nothing else is a request.
            Place::Request => deserializer.deserialize_map(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl Walk<'_> {
    fn inside(&mut self, place: Place) -> Walk<'_> {
        Walk { place, found: &mut *self.found }
    }

    /// Notes a value that is something, in a place where there must be nothing.
    fn something<E>(self) -> Result<(), E> {
        if self.place == Place::Container {
            *self.found = Some("containers of the API");
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a request to the model API")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            let place = match (key, self.place) {
                (Key::Input | Key::InputSchema, _) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Key::McpServers, Place::Request) => Place::McpServers,
                (Key::Container, Place::Request) => Place::Container,
                (Key::Type, Place::Tool) => Place::ToolType,
                (Key::Type, Place::Source) => Place::SourceType,
                (Key::Tools, _) => Place::Tools,
                (Key::Source, _) => Place::Source,
                (Key::Type | Key::McpServers | Key::Container | Key::Other, _) => Place::Other,
            };
            map.next_value_seed(self.inside(place))?;
        }
        self.something()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let place = match self.place {
            Place::Tools => Place::Tool,
            Place::Source => Place::Source,
            _ => Place::Other,
        };
        while items.next_element_seed(self.inside(place))?.is_some() {
            if self.place == Place::McpServers {
                *self.found = Some("MCP servers");
            }
        }
        self.something()
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.place {
            Place::ToolType if REFUSED_TOOLS.iter().any(|tool| text.starts_with(tool)) => {
                *self.found = Some("tools that the API runs");
            }
            Place::SourceType if REFUSED_SOURCES.contains(&text) => {
                *self.found = Some("content that is elsewhere");
            }
            _ => {}
        }
        self.something()
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.something()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.something()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.something()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.something()
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn says(body: &str) -> Result<(), Refusal> {
        check(body.as_bytes())
    }

    #[test]
    fn what_the_cli_sends_passes() {
        let body = r#"{"model":"m","max_tokens":9,"stream":true,"system":[{"type":"text","text":"s"}],
            "container":null,"mcp_servers":[],"metadata":{"user_id":"u"},
            "tools":[{"name":"T","input_schema":{"properties":{"source":{"type":"url"}}}},
                {"type":"custom","name":"C"},{"type":"web_search_20250305","name":"web_search"}],
            "messages":[{"role":"user","content":"{\"source\":{\"type\":\"url\"}}"},
                {"role":"assistant","content":[{"type":"tool_use","input":{"source":{"type":"url"},"tools":[{"type":"mcp_toolset"}]}}]},
                {"role":"user","content":[{"type":"image","source":{"type":"base64","data":"AA=="}},
                    {"type":"tool_result","content":[{"type":"search_result","source":"https://a.example"}]}]}]}"#;

        assert_eq!(says(body), Ok(()));
    }

    #[test]
    fn what_reaches_other_hosts_is_found_wherever_it_stands() {
        for (body, what) in [
            (r#"{"mcp_servers":[{"type":"url","url":"https://evil.example"}]}"#, "MCP servers"),
            (r#"{"mcp_\u0073ervers":[{}]}"#, "MCP servers"),
            (r#"{"mcp_servers":[{}],"mcp_servers":[]}"#, "MCP servers"),
            (r#"{"container":"c"}"#, "containers of the API"),
            (r#"{"container":{"skills":[]}}"#, "containers of the API"),
            (r#"{"tools":[{"type":"web_fetch_20250910"}]}"#, "tools that the API runs"),
            (r#"{"tools":[{"type":"code_execution_20250825"}]}"#, "tools that the API runs"),
            (r#"{"messages":[{"content":[{"tools":[{"type":"mcp_toolset"}]}]}]}"#, "tools that the API runs"),
            (
                r#"{"messages":[{"content":[{"type":"image","source":{"url":"https://e","type":"url"}}]}]}"#,
                "content that is elsewhere",
            ),
            (
                r#"{"messages":[{"content":[{"type":"tool_result","content":[{"source":{"type":"file","file_id":"f"}}]}]}]}"#,
                "content that is elsewhere",
            ),
            (
                r#"{"messages":[{"content":[{"source":{"type":"content","content":[{"source":{"type":"url"}}]}}]}]}"#,
                "content that is elsewhere",
            ),
            (
                r#"{"messages":[{"content":[{"source":{"type":"url","type":"base64"}}]}]}"#,
                "content that is elsewhere",
            ),
        ] {
            assert_eq!(says(body), Err(Refusal::Reaches(what)), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_to_its_end_is_refused() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
        for body in ["", "[]", "1", "{", r#"{"model":"m"} {}"#, "{\"a\":\"\u{1}\"}", &deep] {
            assert_eq!(says(body), Err(Refusal::Malformed), "{body}");
        }
        assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(Refusal::Malformed));
        assert_eq!(check("\u{feff}{}".as_bytes()), Err(Refusal::Malformed));
    }

    #[test]
    fn what_a_request_may_cost_is_read_from_it() {
        let facts = |body: &str| facts(body.as_bytes()).map(|f| (f.model, f.max_tokens, f.max_searches));
        let model = "m".to_owned();

        assert_eq!(facts(r#"{"model":"m","max_tokens":9}"#), Ok((model.clone(), 9, 0)));
        assert_eq!(facts(r#"{"model":"m","max_tokens":-9,"tools":null}"#), Ok((model.clone(), 0, 0)));
        assert_eq!(facts(r#"{"model":"m","max_tokens":1e300}"#), Ok((model.clone(), u64::MAX, 0)));
        assert_eq!(
            facts(
                r#"{"model":"m","max_tokens":"9","tools":[{"type":"web_search_20250305","max_uses":3},{"name":"x"}]}"#
            ),
            Ok((model, USUAL_MAX_TOKENS, 3))
        );
        assert_eq!(
            facts(r#"{"tools":[{"type":"web_search_20250305"}]}"#),
            Ok((String::new(), USUAL_MAX_TOKENS, USUAL_MAX_SEARCHES))
        );
    }

    #[test]
    fn what_the_api_may_read_otherwise_is_refused() {
        for body in [
            r#"{"model":"cheap","model":"dear"}"#,
            r#"{"max_tokens":1,"max_tokens":99999}"#,
            r#"{"max_tokens":1,"max_\u0074okens":99999}"#,
            r#"{"tools":[{"type":"web_search_1","max_uses":1,"max_uses":9}]}"#,
            r#"{"model":7}"#,
            r#"{"tools":{}}"#,
        ] {
            assert_eq!(facts(body.as_bytes()), Err(Refusal::Malformed), "{body}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let word = || {
            prop::sample::select(vec![
                "type",
                "source",
                "tools",
                "mcp_servers",
                "container",
                "input",
                "model",
                "max_tokens",
                "max_uses",
                "url",
                "file",
                "web_search_1",
                "mcp_toolset",
                "x",
            ])
        };
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(word().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(crate::fuzz::cases())]

        #[test]
        fn fuzz_any_request_is_judged(value in json(), cut in any::<prop::sample::Index>()) {
            let body = value.to_string().into_bytes();
            let verdict = check(&body);
            prop_assert_eq!(verdict == Err(Refusal::Malformed), !value.is_object());
            if verdict.is_ok() && let Ok(facts) = facts(&body) {
                prop_assert!(value.get("model").is_none_or(|model| model.is_null() || *model == facts.model));
            }
            // Nothing that is not whole passes.
            let part = &body[..cut.index(body.len())];
            prop_assert!(check(part).is_err());
        }

        #[test]
        fn fuzz_any_bytes_are_judged(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let is_object = serde_json::from_slice::<Value>(&body).is_ok_and(|value| value.is_object());
            prop_assert!(is_object || check(&body).is_err());
            prop_assert!(is_object || facts(&body).is_err());
        }
    }
}
