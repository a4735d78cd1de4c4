//! `claw images`: images of the server's machine.

use clap::{Args, Subcommand};
use claw_client::{
    Answer, Client, ClientError,
    homelab::{Image, Pull},
};
use claw_core::{Clock as _, Coded as _, ErrorCode, SystemClock};
use serde_json::json;

use crate::{
    context::Context,
    error::CliError,
    output::Output,
    prompt,
    render::{self, table::Table},
    untrusted::clean_line,
};

/// The commands of `claw images`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List images
    List,
    /// Pull an image, or bring it up to date
    Pull {
        /// The image, such as nginx:1.27; latest without a tag
        image: String,
    },
    /// Delete an image that no container uses
    Delete {
        /// The image: its name with tag, or its id
        image: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    match arguments.action {
        Action::List => list(context, &client).await,
        Action::Pull { image } => {
            let pulled = pull(context, &client, &image).await?;
            let output = &context.output;
            output
                .answer(&pulled, |pulled| output.line(format!("{} is there", clean_line(&pulled.image, 200))))
        }
        Action::Delete { image, yes } => delete(context, &client, &image, yes).await,
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), CliError> {
    let images = client.images().await?;
    let output = &context.output;
    output.answer(&images, |images| print(output, images))
}

fn print(output: &Output, images: &[Image]) -> std::io::Result<()> {
    let now = SystemClock.now();
    let mut table = Table::new(["ID", "REPOSITORY", "TAG", "AGE", "SIZE"]);
    for image in images {
        let id = clean_line(image.id.trim_start_matches("sha256:"), 64);
        let digits = if output.verbose { 64 } else { 12 };
        table.row([
            id.chars().take(digits).collect(),
            clean_line(&image.repository, 100),
            clean_line(&image.tag, 60),
            render::age(image.created.parse().ok(), now),
            clean_line(&image.size_human, 20),
        ]);
    }
    table.print(output)?;
    if images.is_empty() {
        output.note("no images; `claw images pull IMAGE` gets one");
    }
    Ok(())
}

/// Pulls an image and shows how far it is.
async fn pull(context: &Context, client: &Client, image: &str) -> Result<Answer<Pull>, CliError> {
    let shown = clean_line(image, 100);
    let spinner = context.output.spinner(format!("pulling {shown}"));
    if !context.output.stderr.is_terminal {
        context.output.note(format!("pulling {shown}"));
    }
    let pulled = client.pull_image(image, |pull| spinner.message(progress(&shown, pull))).await;
    drop(spinner);
    pulled.map_err(|error| pull_failed(error, &shown))
}

fn progress(image: &str, pull: &Pull) -> String {
    let percent = pull.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    let step = pull.step.as_deref().map(|step| format!(": {}", clean_line(step, 60))).unwrap_or_default();
    format!("pulling {image}{percent}{step}")
}

fn pull_failed(error: ClientError, image: &str) -> CliError {
    match error.code() {
        ErrorCode::NotFound => CliError::from(error).with_hint(format!(
            "its registry has no `{image}`, or only for those who log in; check name and tag"
        )),
        ErrorCode::ImagePullFailed => CliError::from(error)
            .with_hint("the server's Docker gets images: check its network, then try again"),
        _ => error.into(),
    }
}

/// Pulls an image that is not there, so that its progress is seen. Whoever may not look or pull leaves that to the server,
/// which pulls what a container needs.
pub(super) async fn pull_if_missing(context: &Context, client: &Client, image: &str) -> Result<(), CliError> {
    let images = match client.images().await {
        Ok(images) => images,
        Err(error) if error.code() == ErrorCode::ScopeRequired => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if images.iter().any(|there| is_named(there, image)) {
        return Ok(());
    }
    match pull(context, client, image).await {
        Err(error) if error.code() == ErrorCode::ScopeRequired => Ok(()),
        pulled => pulled.map(drop),
    }
}

/// Tells whether this is how an image is called. What is not sure is left to the server.
fn is_named(there: &Image, image: &str) -> bool {
    if image.contains('@') || there.id == image || there.id.trim_start_matches("sha256:").starts_with(image) {
        return true;
    }
    let name = image.trim_start_matches("docker.io/").trim_start_matches("library/");
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let (tag, other) = (format!("{}:{}", there.repository, there.tag), format!("{name}:latest"));
    tag == name || !has_tag && tag == other
}

async fn delete(context: &Context, client: &Client, image: &str, yes: bool) -> Result<(), CliError> {
    let shown = clean_line(image, 100);
    prompt::confirm(&context.output, yes, &format!("Delete the image {shown}?"))?;
    client.delete_image(image).await.map_err(|error| match error.code() {
        ErrorCode::NotFound => CliError::from(error).with_hint("`claw images list` shows the images"),
        ErrorCode::Conflict => CliError::from(error)
            .with_hint("`claw containers list` shows who uses it; delete that container first"),
        _ => error.into(),
    })?;
    context.output.done(&json!({ "image": image, "deleted": true }), format!("{shown} deleted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_there_is_not_pulled() {
        let there = |repository: &str, tag: &str| Image {
            id: format!("sha256:{}", "ab".repeat(32)),
            repository: repository.into(),
            tag: tag.into(),
            ..Image::default()
        };

        for image in ["nginx:1.27", "docker.io/library/nginx:1.27", "docker.io/nginx:1.27", "abababab"] {
            assert!(is_named(&there("nginx", "1.27"), image), "{image}");
        }
        assert!(is_named(&there("nginx", "latest"), "nginx"));
        assert!(is_named(&there("host:5000/a", "latest"), "host:5000/a"));
        assert!(!is_named(&there("nginx", "1.27"), "nginx"));
        assert!(!is_named(&there("nginx", "latest"), "nginx:1.27"));
    }
}
