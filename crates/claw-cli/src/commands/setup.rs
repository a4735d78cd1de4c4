//! `claw setup`: makes the first key of a new server and keeps it for the commands after it.

use std::path::Path;

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
/// The file in the data folder that names the installation.
const INSTANCE_FILE: &str = "instance";
/// Most that is read of either file.
const MAX_FILE_BYTES: u64 = 4096;

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
    let server = arguments.settings.server(context)?;
    let client = Client::new(server.clone(), None)?;
    if let Some((key, source)) = context.credential(&server)?
        && let Some(way) = works(&client, &key, source).await?
    {
        return report(context, &server, "already_set_up", &format!("{server} is set up, and {way} works"));
    }
    let status = client.setup_status().await?;
    let instance = local_instance(&arguments, context, &server)?;
    if status.has_key && !status.setup_required {
        return take_over(context, &server, &client, instance).await;
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
    keys.insert(
        server.to_string(),
        StoredKey { key: created.key.clone(), id: created.meta.id.clone(), instance },
    );
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

/// Takes the key that this user has for the same installation under another address, such as another port.
async fn take_over(
    context: &Context,
    server: &ServerUrl,
    client: &Client,
    instance: Option<String>,
) -> Result<(), CliError> {
    let file = context.credential_file()?;
    let mut keys = file.load()?;
    let known = keys.values().find(|stored| instance.is_some() && stored.instance == instance).cloned();
    let Some(known) = known else { return Err(already_set_up(server)) };
    if works(client, &known.key, CredentialSource::Stored).await?.is_none() {
        return Err(already_set_up(server));
    }
    keys.insert(server.to_string(), known);
    file.save(&keys)?;
    let text =
        format!("{server} is the installation that this user has a key for; the key is stored for it too");
    report(context, server, "already_set_up", &text)
}

/// Returns the name of the installation on this machine, which only those who may enter its data folder can read.
fn local_instance(
    arguments: &Arguments,
    context: &Context,
    server: &ServerUrl,
) -> Result<Option<String>, CliError> {
    if !server.is_loopback() {
        // A key of the installation here must not be sent to another machine.
        return Ok(None);
    }
    let path = context.settings(&arguments.settings.overrides()?)?.server.data_dir.join(INSTANCE_FILE);
    Ok(read_short(&path).ok())
}

fn already_set_up(server: &ServerUrl) -> CliError {
    CliError::new(ErrorCode::AlreadySetup, format!("{server} is set up, and no key for it is stored here"))
        .with_hint(
            "set CLAW_API_KEY to a key that an administrator made with `claw key create`; if every key is lost, \
             restart the server with CLAW_API_TOKEN set to a long random text and use that",
        )
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
    read_short(&path).map(Secret::new).map_err(|error| {
        CliError::new(
            ErrorCode::InvalidSetupToken,
            format!("cannot read the setup token in {}: {error}", path.display()),
        )
        .with_hint("give it with --token, from the server's log, or name the data folder with --data-dir")
    })
}

/// Returns the text of a small file, without the line end.
fn read_short(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    match text.trim() {
        "" => Err(std::io::Error::other("the file is empty")),
        text => Ok(text.to_owned()),
    }
}

fn report(context: &Context, server: &ServerUrl, status: &str, text: &str) -> Result<(), CliError> {
    if context.output.json {
        let value = json!({ "status": status, "server": server.to_string() });
        return Ok(context.output.json(&value.to_string())?);
    }
    Ok(context.output.line(text)?)
}
