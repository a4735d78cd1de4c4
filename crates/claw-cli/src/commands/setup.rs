//! `claw setup`: makes the first key of a new server and keeps it for the commands after it.

use std::path::{Path, PathBuf};

use clap::Args;
use claw_client::{Client, ServerUrl};
use claw_core::{Coded, ErrorCode, Secret};
use serde_json::json;

use super::serve::SettingFlags;
use crate::{
    context::{Context, CredentialSource},
    credentials::StoredKey,
    error::CliError,
    prompt,
};

/// The file in the data folder that holds the one-time token until it is used.
const TOKEN_FILE: &str = "setup-token";
/// Longest token that is read.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The flags of `claw setup`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The one-time token from the server's log; `-` reads it from standard input
    /// [default: the file setup-token in the data folder]
    #[arg(long)]
    token: Option<String>,
    /// A name for the key
    #[arg(long, default_value = "admin")]
    label: String,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let server = context.server()?;
    let client = Client::new(server.clone(), None)?;
    if let Some((key, source)) = context.credential(&server)?
        && let Some(way) = works(&client, &key, source).await?
    {
        return report(context, &server, "already_set_up", &format!("{server} is set up, and {way} works"));
    }
    let status = client.setup_status().await?;
    if status.has_key && !status.setup_required {
        return Err(already_set_up(&server));
    }

    let token = find_token(&arguments, context, &server)?;
    // Written once before: a key that cannot be stored would be lost, and the token is good only once.
    let file = context.credential_file()?;
    let mut keys = file.load()?;
    file.save(&keys)?;

    let created = match client.set_up(&token, &arguments.label, &["*"]).await {
        Ok(created) => created.into_value(),
        Err(error) if error.code() == ErrorCode::AlreadySetup => return Err(already_set_up(&server)),
        Err(error) => return Err(error.into()),
    };
    keys.insert(server.to_string(), StoredKey { key: created.key.clone(), id: created.meta.id.clone() });
    if let Err(error) = file.save(&keys) {
        context
            .output
            .warn(format!("the key could not be stored ({error}); keep it yourself, it is not shown again"));
        context.output.line(created.key.expose())?;
        return Err(error);
    }
    let path = file.path().display();
    report(
        context,
        &server,
        "set_up",
        &format!("made the first key of {server}; stored it in {path} for this user"),
    )
}

/// Says how the credential at hand works, or `None` if the server does not know it.
async fn works(client: &Client, key: &Secret, source: CredentialSource) -> Result<Option<String>, CliError> {
    // A token that is no key is not known to the verifying route, so the question is asked with it instead.
    let asked = client.with_credential(Some(claw_client::Credential::new(key.expose())))?;
    let outcome = match client.verify_key(key).await {
        Ok(answer) => Ok(answer.valid),
        Err(error) if error.code() == ErrorCode::InvalidKey => asked.workers().await.map(|_| true),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(true) => Ok(Some(match source {
            CredentialSource::Flag => "the key given with --api-key".into(),
            CredentialSource::Variable(name) => format!("the credential in {name}"),
            CredentialSource::Stored => "the stored key".into(),
        })),
        Ok(false) => Ok(None),
        Err(error) if matches!(error.status(), Some(401)) => Ok(None),
        // It is known, whatever it may not do.
        Err(error) if matches!(error.status(), Some(403)) => Ok(Some("the credential at hand".into())),
        Err(error) => Err(error.into()),
    }
}

fn already_set_up(server: &ServerUrl) -> CliError {
    CliError::new(ErrorCode::AlreadySetup, format!("{server} is set up, and no key for it is stored here"))
        .with_hint("set CLAW_API_KEY to a key that an administrator made with `claw key create`")
}

/// Returns the token: given, from standard input, or from the data folder of a server on this machine.
fn find_token(arguments: &Arguments, context: &Context, server: &ServerUrl) -> Result<Secret, CliError> {
    match arguments.token.as_deref() {
        Some("-") => return prompt::read_secret_line(),
        Some(token) => return Ok(Secret::new(token.trim())),
        None => {}
    }
    if !server.is_loopback() {
        // The token of the server here must not be sent to another one.
        return Err(CliError::usage(format!("the setup token of {server} is needed"))
            .with_hint("copy it from that server's log: `claw setup --token TOKEN`"));
    }
    let path = context.settings(&arguments.settings.overrides()?)?.server.data_dir.join(TOKEN_FILE);
    read_token(&path).map_err(|error| {
        CliError::new(
            ErrorCode::InvalidSetupToken,
            format!("cannot read the setup token in {}: {error}", path.display()),
        )
        .with_hint("give it with --token, from the server's log, or name the data folder with --data-dir")
    })
}

fn read_token(path: &PathBuf) -> std::io::Result<Secret> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(Path::new(path))?.take(MAX_TOKEN_BYTES).read_to_string(&mut text)?;
    match text.trim() {
        "" => Err(std::io::Error::other("the file is empty")),
        token => Ok(Secret::new(token)),
    }
}

fn report(context: &Context, server: &ServerUrl, status: &str, text: &str) -> Result<(), CliError> {
    if context.output.json {
        let value = json!({ "status": status, "server": server.to_string() });
        return Ok(context.output.json(&value.to_string())?);
    }
    Ok(context.output.line(text)?)
}
