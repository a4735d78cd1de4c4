//! People's accounts.

use claw_core::{ErrorCode, Secret};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::v1;
use crate::{Answer, Client, ClientError};

/// A person's account.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// The name to log in with.
    pub username: String,
    /// `admin` or `user`.
    #[serde(default)]
    pub role: String,
}

/// All accounts.
#[derive(Clone, Debug, Deserialize)]
pub struct UserList {
    /// The accounts.
    pub items: Vec<User>,
}

#[derive(Serialize)]
struct NewUser<'a> {
    username: &'a str,
    password: &'a str,
    role: &'a str,
}

impl Client {
    /// Creates an account. `role` is `admin` or `user`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn create_user(
        &self,
        username: &str,
        password: &Secret,
        role: &str,
    ) -> Result<Answer<User>, ClientError> {
        let body = NewUser { username, password: password.expose(), role };
        self.post(v1!["auth", "users"]).body(&body).json().await
    }

    /// Lists the accounts.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn users(&self) -> Result<Answer<UserList>, ClientError> {
        self.get(v1!["auth", "users"]).json().await
    }

    /// Deletes an account; its sessions end.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn delete_user(&self, username: &str) -> Result<Answer<serde_json::Value>, ClientError> {
        if matches!(username, "" | "." | "..") {
            return Err(ClientError::new(ErrorCode::UserNotFound, "the user does not exist"));
        }
        let call = self.call(Method::DELETE, v1!["auth", "users", username]);
        call.missing(ErrorCode::UserNotFound).json().await
    }
}
