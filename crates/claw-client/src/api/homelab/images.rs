//! Images.

use std::time::Duration;

use claw_core::{Coded as _, ErrorCode};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{containers::Done, part};
use crate::{Answer, Client, ClientError};

/// Between two looks at a pull that goes on.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks in a row that may fail before a pull is given up: the server may be restarting.
const MAX_FAILED_LOOKS: u32 = 20;

/// An image under one of its names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Content-addressed id.
    pub id: String,
    /// Name without tag; `<none>` without a name.
    pub repository: String,
    /// Tag; `<none>` without a name.
    pub tag: String,
    /// Size on disk in bytes.
    pub size: u64,
    /// The same for people.
    pub size_human: String,
    /// When it was made.
    pub created: String,
    /// What its registry knows it by.
    pub digest: Option<String>,
}

/// How a pull stands.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pull {
    /// `pulling`, `pulled` or `failed`.
    pub status: String,
    /// The image.
    pub image: String,
    /// Names the pull; empty on servers that only answer when it is over.
    pub pull_id: String,
    /// When it was asked for.
    pub started_at: String,
    /// How much of what is known to be needed is there.
    pub percent: Option<u8>,
    /// What the Engine is doing.
    pub step: Option<String>,
    /// Error code of a failure.
    pub code: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
}

impl Pull {
    /// Tells whether it goes on.
    pub fn goes_on(&self) -> bool {
        self.status == "pulling"
    }
}

/// Images are named by a name with or without tag, or an id.
impl Client {
    /// Lists images, each under each of its names, the newest first. Needs `images:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn images(&self) -> Result<Answer<Vec<Image>>, ClientError> {
        self.get(["api", "images"]).data().await
    }

    /// Begins to pull an image, or joins those who do, and returns at once. Needs `images:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::InvalidImage`], [`ErrorCode::PolicyRefused`].
    pub async fn begin_pull(&self, image: &str) -> Result<Answer<Pull>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            image: &'a str,
        }
        let call = self.post(["api", "images", "pull"]).query(&[("wait", "false")]);
        call.body(&Body { image }).data().await
    }

    /// Returns how a pull stands, by the `pull_id` of the answer that began it. Needs `images:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`] when it has been over for long.
    pub async fn pull(&self, id: &str) -> Result<Answer<Pull>, ClientError> {
        let call = self.get(["api", "images", "pulls", part("a pull", id)?]);
        call.missing(ErrorCode::NotFound).data().await
    }

    /// Says that a pull is no longer wanted, by the `pull_id` of the answer that began it, and returns how it stands then.
    /// It goes on if others wait for it too. Needs `images:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`] when it has been over for long.
    pub async fn cancel_pull(&self, id: &str) -> Result<Answer<Pull>, ClientError> {
        let call = self.call(Method::DELETE, ["api", "images", "pulls", part("a pull", id)?]);
        call.missing(ErrorCode::NotFound).data().await
    }

    /// Lists pulls that go on and those that were over last, the newest first. Needs `images:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn pulls(&self) -> Result<Answer<Vec<Pull>>, ClientError> {
        self.get(["api", "images", "pulls"]).data().await
    }

    /// Pulls an image and waits for its end; `on_progress` sees how it stands at first and after each change. The server
    /// goes on when the caller stops waiting. Needs `images:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; a pull that fails is an error with the server's code, such as
    /// [`ErrorCode::ImagePullFailed`] or [`ErrorCode::NotFound`].
    pub async fn pull_image(
        &self,
        image: &str,
        mut on_progress: impl FnMut(&Pull),
    ) -> Result<Answer<Pull>, ClientError> {
        let mut pull = self.begin_pull(image).await?;
        on_progress(&pull);
        let mut failed_looks = 0;
        while pull.goes_on() {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.pull(&pull.pull_id).await {
                Ok(now) => {
                    failed_looks = 0;
                    if *now != *pull {
                        on_progress(&now);
                    }
                    pull = now;
                }
                Err(error) if error.is_transient() && failed_looks < MAX_FAILED_LOOKS => failed_looks += 1,
                Err(error) if error.code() == ErrorCode::NotFound => {
                    let message = format!("the server was restarted while it pulled {image}; pull it again");
                    return Err(ClientError::new(ErrorCode::ImagePullFailed, message));
                }
                Err(error) => return Err(error),
            }
        }
        match pull.status.as_str() {
            "failed" => Err(pull.failure()),
            _ => Ok(pull),
        }
    }

    /// Deletes an image that no container uses. Needs `images:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`], [`ErrorCode::Conflict`].
    pub async fn delete_image(&self, image: &str) -> Result<Answer<Done>, ClientError> {
        let call = self.call(Method::DELETE, ["api", "images", part("an image", image)?]);
        call.missing(ErrorCode::NotFound).data().await
    }
}

impl Pull {
    fn failure(&self) -> ClientError {
        let code = self.code.as_deref().and_then(crate::error::code_from_name);
        let reason = self.reason.as_deref().unwrap_or("the image could not be pulled");
        ClientError::new(code.unwrap_or(ErrorCode::ImagePullFailed), reason)
    }
}
