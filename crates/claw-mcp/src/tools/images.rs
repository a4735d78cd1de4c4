//! Images.

use std::sync::{Arc, OnceLock};

use claw_core::{Scope, untrusted};
use serde_json::{Value, json};

use super::{TOOL, schema};
use crate::{Call, Effect, Failure, Need, Outcome, Tool};

const READ: Need = Need::Scopes(&[Scope::ImagesRead]);
const WRITE: Need = Need::Scopes(&[Scope::ImagesWrite]);

pub(super) const LIST_IMAGES: Tool = Tool {
    name: "list_images",
    description: "List images.",
    need: READ,
    output: || schema::list("images"),
    run: |call| Box::pin(list_images(call)),
    ..TOOL
};

async fn list_images(call: Call) -> Result<Outcome, Failure> {
    let images = call.client().images().await.map_err(|error| Failure::of("list images", &error))?;
    let shown = |image: &claw_client::homelab::Image| -> Value {
        json!({
            "id": image.id, "repository": image.repository, "tag": image.tag, "size": image.size,
            "created": image.created,
        })
    };
    Ok(Outcome::list("images", images.iter().map(shown).collect()))
}

pub(super) const PULL_IMAGE: Tool = Tool {
    name: "pull_image",
    description: "Pull an image, such as nginx:1.27, from its registry.",
    need: WRITE,
    effect: Effect::Sets,
    open_world: true,
    long: true,
    input: || schema::one("image"),
    output: schema::status,
    run: |call| Box::pin(pull_image(call)),
};

async fn pull_image(call: Call) -> Result<Outcome, Failure> {
    let image = call.arguments.text("image")?;
    let (client, stop, begun) =
        (call.client().clone(), call.stop.clone(), Arc::<OnceLock<String>>::default());
    let pull_id = Arc::clone(&begun);
    // Detached when this future is dropped, which ends calls that a client polls: then `stop` is cancelled too.
    let unwanted = tokio::spawn(async move {
        stop.cancelled().await;
        match pull_id.get() {
            Some(id) => client.cancel_pull(id).await.map(|pull| pull.into_value()).ok(),
            None => None,
        }
    });
    let work = call.client().pull_image(image, |pull| {
        begun.get_or_init(|| pull.pull_id.clone());
        let step = pull.step.as_deref().unwrap_or("pulling");
        let done = f64::from(pull.percent.unwrap_or(0));
        call.progress.tell(done, Some(100.0), untrusted::clean_line(step, 200));
    });
    let Ok(pulled) = call.unless_stopped(work, "pulling", || Failure::new("stopped")).await else {
        let end = match unwanted.await {
            Ok(Some(pull)) if pull.goes_on() => "others wait for it too, so the server goes on",
            Ok(Some(_)) => "the server has ended it",
            Ok(None) | Err(_) => "the server may go on",
        };
        return Err(Failure::new(format!("Failed to pull image: nobody waits for it any more; {end}")));
    };
    unwanted.abort();
    pulled.map_err(|error| Failure::of("pull image", &error))?;
    Ok(Outcome::new(format!("Image {image} pulled"), json!({ "image": image, "status": "pulled" })))
}

pub(super) const DELETE_IMAGE: Tool = Tool {
    name: "delete_image",
    description: "Delete an image that no container uses. Cannot be undone: ask the user first.",
    need: WRITE,
    effect: Effect::Destroys,
    input: || schema::one("id"),
    output: schema::status,
    run: |call| Box::pin(delete_image(call)),
    ..TOOL
};

async fn delete_image(call: Call) -> Result<Outcome, Failure> {
    let id = call.arguments.text("id")?;
    call.client().delete_image(id).await.map_err(|error| Failure::of("delete image", &error))?;
    Ok(Outcome::new(format!("Image {id} deleted"), json!({ "id": id, "status": "deleted" })))
}
