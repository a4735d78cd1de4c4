//! Making containers.

use claw_client::homelab::{NewContainer, NewPort, NewVolume};
use serde_json::{Map, Value, json};

use super::{WRITE, shown};
use crate::{Call, Effect, Failure, Outcome, Tool, tool::kind, tools::schema};

/// What becomes of a creation when nobody waits for it any more.
pub(in crate::tools) const GOES_ON: &str =
    "nobody waits for it any more, but the server goes on: list_containers shows what came of it";

pub(in crate::tools) const CREATE_CONTAINER: Tool = Tool {
    name: "create_container",
    description: "Create and start a container; its image is pulled if it is missing.",
    need: WRITE,
    effect: Effect::Adds,
    open_world: true,
    long: true,
    input: || {
        let port = json!({
            "type": "object",
            "properties": { "private": schema::number(), "public": schema::number(), "protocol": schema::text() },
            "required": ["private"],
        });
        let volume = json!({
            "type": "object",
            "properties": { "host": schema::text(), "container": schema::text() },
            "required": ["host", "container"],
        });
        let properties = json!({
            "image": schema::text(), "name": schema::text(), "env": schema::texts_by_name(),
            "ports": { "type": "array", "items": port }, "volumes": { "type": "array", "items": volume },
            "command": schema::texts(), "restart": schema::text(),
        });
        schema::arguments(properties, &["image"])
    },
    output: || schema::texts_named(&["id"]),
    run: |call| Box::pin(create_container(call)),
};

async fn create_container(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let new = NewContainer {
        image: arguments.text("image")?.to_owned(),
        name: arguments.filled_text("name")?.unwrap_or_default(),
        env: arguments.variables("env")?,
        ports: ports(arguments.get("ports"))
            .map_err(|problem| Failure::new(format!("Invalid ports: {problem}")))?,
        volumes: volumes(arguments.get("volumes"))
            .map_err(|problem| Failure::new(format!("Invalid volumes: {problem}")))?,
        command: arguments.texts("command")?,
        restart: arguments.filled_text("restart")?,
        networks: Vec::new(),
    };
    let stopped = || Failure::new(format!("Failed to create container: {GOES_ON}"));
    let made = call.unless_stopped(call.client().create_container(&new), "creating", stopped).await?;
    let made = made.map_err(|error| Failure::of("create container", &error))?;
    Ok(Outcome::object(shown(&made)))
}

fn ports(given: Option<&Value>) -> Result<Vec<NewPort>, String> {
    let port = |(index, entry): (usize, &Value)| {
        let place = format!("ports[{index}]");
        let entry = object(entry, &place)?;
        let private = port_number(entry, &place, "private")?;
        Ok(NewPort {
            private: private.ok_or_else(|| format!("{place}: missing required field 'private'"))?,
            public: port_number(entry, &place, "public")?,
            protocol: text(entry, &place, "protocol")?.unwrap_or_default(),
        })
    };
    array(given)?.iter().enumerate().map(port).collect()
}

fn volumes(given: Option<&Value>) -> Result<Vec<NewVolume>, String> {
    let volume = |(index, entry): (usize, &Value)| {
        let place = format!("volumes[{index}]");
        let entry = object(entry, &place)?;
        let needed = |name: &str| {
            let value = text(entry, &place, name)?;
            value.ok_or_else(|| format!("{place}: missing required field '{name}'"))
        };
        let read_only = entry.get("read_only").and_then(Value::as_bool).unwrap_or(false);
        Ok(NewVolume { host: needed("host")?, container: needed("container")?, read_only })
    };
    array(given)?.iter().enumerate().map(volume).collect()
}

fn array(given: Option<&Value>) -> Result<&[Value], String> {
    match given {
        None => Ok(&[]),
        Some(Value::Array(entries)) => Ok(entries),
        Some(other) => Err(format!("expected array, got {}", kind(other))),
    }
}

fn object<'a>(entry: &'a Value, place: &str) -> Result<&'a Map<String, Value>, String> {
    entry.as_object().ok_or_else(|| format!("{place}: expected object, got {}", kind(entry)))
}

fn port_number(entry: &Map<String, Value>, place: &str, name: &str) -> Result<Option<u16>, String> {
    let Some(value) = entry.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let Some(number) = value.as_f64() else {
        return Err(format!("{place}.{name}: expected number, got {}", kind(value)));
    };
    let port = if number.fract() == 0.0 && (1.0..=65535.0).contains(&number) { number as u16 } else { 0 };
    if port == 0 {
        Err(format!("{place}.{name}: {value} is not a valid port (1-65535)"))
    } else {
        Ok(Some(port))
    }
}

fn text(entry: &Map<String, Value>, place: &str, name: &str) -> Result<Option<String>, String> {
    match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{place}.{name}: expected string, got {}", kind(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d4_ports_and_volumes_are_lists_and_what_is_wrong_with_them_is_named() {
        for (given, told) in [
            (json!({ "80": 8080 }), "expected array, got object"),
            (json!("80"), "expected array, got string"),
            (json!([80]), "ports[0]: expected object, got number"),
            (json!([{ "private": 1 }, {}]), "ports[1]: missing required field 'private'"),
            (json!([{ "private": "80" }]), "ports[0].private: expected number, got string"),
            (json!([{ "private": 0 }]), "ports[0].private: 0 is not a valid port (1-65535)"),
            (json!([{ "private": 1.5 }]), "ports[0].private: 1.5 is not a valid port (1-65535)"),
            (
                json!([{ "private": 1, "public": 65536 }]),
                "ports[0].public: 65536 is not a valid port (1-65535)",
            ),
            (json!([{ "private": 1, "protocol": 6 }]), "ports[0].protocol: expected string, got number"),
        ] {
            assert_eq!(ports(Some(&given)), Err(told.to_owned()), "{given}");
        }
        for (given, told) in [
            (json!({ "/a": "/b" }), "expected array, got object"),
            (json!([{ "host": "/a" }]), "volumes[0]: missing required field 'container'"),
            (json!([{ "host": 1, "container": "/b" }]), "volumes[0].host: expected string, got number"),
        ] {
            assert_eq!(volumes(Some(&given)), Err(told.to_owned()), "{given}");
        }
    }

    #[test]
    fn d4_what_is_right_or_absent_is_taken() {
        let given = json!([{ "private": 80.0, "public": 8080, "protocol": "tcp" }, { "private": 53, "public": null }]);
        let expected = [
            NewPort { private: 80, public: Some(8080), protocol: "tcp".into() },
            NewPort { private: 53, public: None, protocol: String::new() },
        ];
        assert_eq!(ports(Some(&given)), Ok(expected.to_vec()));
        assert_eq!((ports(None), volumes(None)), (Ok(Vec::new()), Ok(Vec::new())));
        let volume = NewVolume { host: "data".into(), container: "/data".into(), read_only: false };
        assert_eq!(volumes(Some(&json!([{ "host": "data", "container": "/data" }]))), Ok(vec![volume]));
    }
}
