//! What every command has at hand.

use claw_client::{Client, Credential, ServerUrl};
use claw_core::Secret;

use crate::{
    cli::Globals,
    credentials::{CredentialFile, StoredKey},
    error::CliError,
    output::Output,
    settings::{Environment, Overrides, Settings},
};

/// Where the server listens unless told otherwise.
const DEFAULT_API_URL: &str = "http://127.0.0.1:5179";

/// The global flags, the environment and the way to print.
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) output: Output,
    pub(crate) environment: Environment,
}

/// Where the credential in use came from, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialSource {
    Flag,
    Variable(&'static str),
    Stored,
}

impl Context {
    pub(crate) fn new(globals: Globals, output: Output, environment: Environment) -> Self {
        Self { globals, output, environment }
    }

    /// Returns the server's address: flag, variable, default. Not from a file in the working folder, which could
    /// come with a foreign repository and send the key elsewhere.
    pub(crate) fn server(&self) -> Result<ServerUrl, CliError> {
        self.server_or(DEFAULT_API_URL)
    }

    /// Returns the server to talk to: flag, variable, else the one at `address`.
    pub(crate) fn server_or(&self, address: &str) -> Result<ServerUrl, CliError> {
        if let Some(url) = &self.globals.api_url {
            return Ok(url.clone());
        }
        match self.environment.get("CLAW_API_URL") {
            Some(text) => text.parse().map_err(|error| CliError::usage(format!("CLAW_API_URL: {error}"))),
            None => address.parse().map_err(|error| CliError::usage(format!("`{address}`: {error}"))),
        }
    }

    /// Returns the credential for `server`: flag, variables, stored key.
    pub(crate) fn credential(
        &self,
        server: &ServerUrl,
    ) -> Result<Option<(Secret, CredentialSource)>, CliError> {
        if let Some(key) = self.globals.api_key.as_deref().filter(|key| !key.is_empty()) {
            return Ok(Some((Secret::new(key), CredentialSource::Flag)));
        }
        for name in ["CLAW_API_KEY", "CLAW_API_TOKEN"] {
            if let Some(key) = self.environment.get(name) {
                return Ok(Some((Secret::new(key.trim()), CredentialSource::Variable(name))));
            }
        }
        let stored = self.stored_key(server)?;
        Ok(stored.map(|stored| (stored.key, CredentialSource::Stored)))
    }

    /// Returns the stored key for `server`.
    pub(crate) fn stored_key(&self, server: &ServerUrl) -> Result<Option<StoredKey>, CliError> {
        match self.credential_file() {
            Ok(file) => Ok(file.load()?.remove(&server.to_string())),
            // Without a home folder nothing can be stored.
            Err(_) => Ok(None),
        }
    }

    /// Returns the file that keys are stored in.
    pub(crate) fn credential_file(&self) -> Result<CredentialFile, CliError> {
        let folder = self.environment.config_dir().ok_or_else(|| {
            CliError::usage("neither HOME nor XDG_CONFIG_HOME is set, so keys cannot be stored")
        })?;
        Ok(CredentialFile::in_folder(&folder))
    }

    /// Returns a client of the server, with whatever credential there is.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let server = self.server()?;
        let credential = self.credential(&server)?;
        let credential = credential.map(|(secret, _)| Credential::new(secret.expose()));
        Ok(Client::new(server, credential)?)
    }

    /// Returns the settings that a server started here would have.
    pub(crate) fn settings(&self, flags: &Overrides) -> Result<Settings, CliError> {
        Ok(Settings::load(flags, &self.environment, self.globals.config.as_deref())?)
    }
}
