//! `claw key`: API keys, which are what agents and programs enter with.

use std::time::Duration;

use clap::{Args, Subcommand};
use claw_client::{Client, KeyMeta, UpdateKey};
use claw_core::{Clock as _, Scope, SystemClock, Timestamp, Usd};

use crate::{
    context::Context,
    error::CliError,
    ids,
    output::Output,
    render::{self, table::Table},
    untrusted::clean_line,
};

/// The commands of `claw key`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key; it is shown once
    Create {
        /// A scope it holds, such as jobs:read; can be repeated
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
        scopes: Vec<Scope>,
        /// A name for people
        #[arg(long, visible_alias = "name")]
        label: Option<String>,
        /// What it is to the installation
        #[arg(long, value_parser = ["agent", "admin"], default_value = "agent")]
        role: String,
        /// Most US dollars that its jobs may cost on one day (UTC)
        #[arg(long, value_name = "USD", value_parser = dollars)]
        max_usd_per_day: Option<f64>,
        /// When it expires: a time such as 2026-12-31T12:00:00Z, or from now, such as 30d or 12h
        #[arg(long, value_name = "TIME", value_parser = end)]
        expires: Option<End>,
    },
    /// List keys
    List,
    /// Show one key, or the one in use
    Show {
        /// Its id, label or the last digits of its id
        key: Option<String>,
    },
    /// Change what a key may do, or its name; the key stays the same
    Update {
        /// Its id, label or the last digits of its id; `self` only lowers the scopes of the key in use
        key: String,
        /// A scope it holds from now on; can be repeated
        #[arg(long = "scope", value_name = "SCOPE", value_parser = scope, required_unless_present_any = ["label", "max_usd_per_day", "expires"])]
        scopes: Vec<Scope>,
        /// Its new name
        #[arg(long)]
        label: Option<String>,
        /// Most US dollars that its jobs may cost on one day (UTC), or `none`
        #[arg(long, value_name = "USD", value_parser = cap)]
        max_usd_per_day: Option<Cap>,
        /// When it expires: a time, or from now such as 30d or 12h, or `none`
        #[arg(long, value_name = "TIME", value_parser = end)]
        expires: Option<End>,
    },
    /// Give a key another secret, which is shown once; everything else about it stays
    Rotate {
        /// Its id, label or the last digits of its id
        key: String,
        /// How long the former secret stays good: such as 24h, up to 30d; 0s ends it at once
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h")]
        grace: Duration,
    },
    /// Revoke a key at once
    Revoke {
        /// Its id, label or the last digits of its id
        key: String,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|error: claw_core::UnknownScope| error.to_string())
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
struct Cap(Option<f64>);

fn cap(text: &str) -> Result<Cap, String> {
    if text == "none" { Ok(Cap(None)) } else { dollars(text).map(|amount| Cap(Some(amount))) }
}

/// Reads an amount of US dollars.
pub(super) fn dollars(text: &str) -> Result<f64, String> {
    let amount: f64 = text.parse().map_err(|_| "expected an amount such as 2.50".to_owned())?;
    Usd::from_dollars(amount).map(|_| amount).ok_or_else(|| "expected an amount of 0 or more".to_owned())
}

/// When a key expires, if it does.
#[derive(Clone, Copy, Debug)]
struct End(Option<Timestamp>);

fn end(text: &str) -> Result<End, String> {
    if text == "none" {
        return Ok(End(None));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(End(Some(time)));
    }
    let expected = "expected a time such as 2026-12-31T12:00:00Z, or 30d, 12h or 90m from now";
    let after = duration(text).map_err(|_| expected.to_owned())?;
    // Whole seconds, as the server keeps them.
    let now = SystemClock.now().as_second();
    let end = i64::try_from(after.as_secs()).ok().and_then(|after| now.checked_add(after));
    end.and_then(|end| Timestamp::from_second(end).ok())
        .map(|end| End(Some(end)))
        .ok_or_else(|| expected.to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number with s, m, h or d, such as 24h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let unit: u64 = match &text[digits..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(expected)
}

fn names(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let output = &context.output;
    match arguments.action {
        Action::Create { scopes, label, role, max_usd_per_day, expires } => {
            let names = names(&scopes);
            let expires = expires.and_then(|End(end)| end).map(|end| end.to_string());
            let created = client
                .create_key(label.as_deref(), &names, Some(&role), max_usd_per_day, expires.as_deref())
                .await?;
            output.answer(&created, |created| output.line(created.key.expose()))?;
            output.note(format!("key {} made; it is not shown again", clean_line(&created.meta.id, 64)));
            Ok(())
        }
        Action::List => {
            let keys = client.keys().await?;
            output.answer(&keys, |keys| print_keys(output, keys))
        }
        Action::Show { key: None } => {
            let key = client.own_key().await?;
            output.answer(&key, |key| print_key(output, key))
        }
        Action::Show { key: Some(text) } => show(&client, output, &text).await,
        Action::Update { key, scopes, label, max_usd_per_day, expires } => {
            let changes = UpdateKey {
                scopes: (!scopes.is_empty()).then(|| names(&scopes)),
                label,
                max_usd_per_day: max_usd_per_day.map(|Cap(amount)| amount),
                expires_at: expires.map(|End(end)| end.map(|end| end.to_string())),
            };
            update(&client, output, &key, changes).await
        }
        Action::Rotate { key, grace } => {
            let keys = client.keys().await?;
            let id = &ids::key(&keys, &key)?.id;
            let rotated = client.rotate_key(id, Some(grace.as_secs())).await?;
            output.answer(&rotated, |rotated| output.line(rotated.key.expose()))?;
            output.note(match &rotated.meta.former_until {
                Some(until) => {
                    format!("it is not shown again; the former one is good until {}", clean_line(until, 40))
                }
                None => "it is not shown again; the former one is good no more".to_owned(),
            });
            Ok(())
        }
        Action::Revoke { key } => {
            let keys = client.keys().await?;
            let id = &ids::key(&keys, &key)?.id;
            let answer = client.revoke_key(id).await?;
            output.answer(&answer, |_| output.line(format!("{} revoked", clean_line(id, 64))))
        }
    }
}

async fn show(client: &Client, output: &Output, text: &str) -> Result<(), CliError> {
    let keys = client.keys().await?;
    let found = ids::key(&keys, text)?;
    if !output.json {
        return Ok(print_key(output, found)?);
    }
    // The server has no route for one key: its entry is taken out of the list as it stands there.
    let all: Vec<serde_json::Value> = serde_json::from_str(keys.json()).map_err(std::io::Error::other)?;
    let entry = all.into_iter().find(|entry| entry["id"] == found.id.as_str()).unwrap_or_default();
    Ok(output.json(&entry.to_string())?)
}

async fn update(client: &Client, output: &Output, key: &str, changes: UpdateKey) -> Result<(), CliError> {
    let answer = if key == "self" {
        match changes {
            UpdateKey { scopes: Some(scopes), label: None, max_usd_per_day: None, expires_at: None } => {
                client.lower_own_scopes(&scopes).await?
            }
            _ => {
                return Err(CliError::usage(
                    "`self` takes --scope alone: a key can lower its scopes, and change nothing else of itself",
                ));
            }
        }
    } else {
        let keys = client.keys().await?;
        let id = &ids::key(&keys, key)?.id;
        client.update_key(id, &changes).await?
    };
    output.answer(&answer, |key| print_key(output, key))
}

fn print_keys(output: &Output, keys: &[KeyMeta]) -> std::io::Result<()> {
    let mut table = Table::new(["ID", "KEY", "LABEL", "ROLE", "LAST USED", "SCOPES"]);
    for key in keys {
        let id = clean_line(&key.id, 64);
        table.row([
            if output.verbose { id } else { ids::short(&id).to_owned() },
            key_end(&key.key_prefix),
            clean_line(&key.label, 30),
            clean_line(&key.role, 10),
            last_used(key),
            clean_line(&key.scopes.join(" "), if output.stdout.is_terminal { 80 } else { 2000 }),
        ]);
    }
    table.print(output)
}

fn print_key(output: &Output, key: &KeyMeta) -> std::io::Result<()> {
    for (name, value) in [
        ("id", clean_line(&key.id, 64)),
        ("key", key_end(&key.key_prefix)),
        ("label", clean_line(&key.label, 200)),
        ("role", clean_line(&key.role, 20)),
        ("scopes", clean_line(&key.scopes.join(" "), 2000)),
        ("created", clean_line(&key.created_at, 40)),
        ("last used", last_used(key)),
        ("limit a day", key.max_usd_per_day.map_or_else(|| "none".to_owned(), render::cost)),
        ("expires", key.expires_at.as_deref().map_or_else(|| "never".to_owned(), |end| clean_line(end, 40))),
    ] {
        output.line(format!("{name:<11} {value}"))?;
    }
    if let Some(until) = &key.former_until {
        output.line(format!("rotated     its former secret is good until {}", clean_line(until, 40)))?;
    }
    Ok(())
}

fn last_used(key: &KeyMeta) -> String {
    let text = clean_line(key.last_used_at.as_deref().unwrap_or_default(), 40);
    if text.is_empty() { "never".into() } else { text }
}

/// Returns the end of a key, which is what is kept of it for telling keys apart.
fn key_end(prefix: &str) -> String {
    format!("…{}", clean_line(prefix.trim_end_matches("..."), 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_from_now_have_a_unit() {
        for (text, expected) in [
            ("0s", Some(0)),
            ("90m", Some(5_400)),
            ("30d", Some(2_592_000)),
            ("24", None),
            ("h", None),
            ("-1h", None),
            ("1w", None),
            ("99999999999999999999d", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(duration(text).ok().map(|time| time.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn a_key_s_end_is_a_time_or_a_while_from_now_or_none() {
        assert!(matches!(end("none"), Ok(End(None))));
        let time = "2031-01-01T00:00:00Z".parse().expect("a time");
        assert!(matches!(end("2031-01-01T00:00:00Z"), Ok(End(Some(end))) if end == time));
        assert!(matches!(end("1h"), Ok(End(Some(end))) if end > SystemClock.now()));
        for text in ["tomorrow", "9999999999999d", "2031-01-01"] {
            assert!(end(text).is_err(), "{text}");
        }
    }
}
