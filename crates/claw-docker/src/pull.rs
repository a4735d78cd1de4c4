//! Getting images from registries.

use std::time::Duration;

use futures_util::{StreamExt, stream, stream::BoxStream};

use crate::{
    Docker, DockerError,
    lines::{Lines, Pieces},
    name,
    request::Ask,
    wire,
};

/// Longest silence of a pull. Unpacking a large layer onto a slow disk tells little while it goes on.
const PATIENCE: Duration = Duration::from_secs(300);

/// One step of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullProgress {
    /// The layer, or the tag, that it concerns.
    pub layer: Option<String>,
    /// What is being done, such as `Downloading` or `Pull complete`.
    pub status: String,
    /// Bytes done.
    pub current: Option<u64>,
    /// Bytes to be done, where known.
    pub total: Option<u64>,
}

impl Docker {
    /// Pulls an image; without a tag or digest, its `latest`.
    ///
    /// The image is there when the stream has ended without an error; the first error is its last item. Dropping the
    /// stream ends the pull, and layers that were complete are kept.
    pub fn pull(&self, image: &str) -> BoxStream<'static, Result<PullProgress, DockerError>> {
        let (docker, image) = (self.clone(), image.to_owned());
        stream::once(async move { docker.pull_lines(&image).await })
            .flat_map(|opened| match opened {
                Ok(lines) => progress_stream(lines).boxed(),
                Err(error) => stream::once(async move { Err(error) }).boxed(),
            })
            .boxed()
    }

    async fn pull_lines(&self, image: &str) -> Result<Lines, DockerError> {
        let (repository, tag) = name::split_image(name::check_image(image)?);
        let ask = Ask::post("/images/create").with("fromImage", repository).with("tag", tag);
        // The Engine answers only once the registry has, and there may be several to be tried.
        let answer = self.bounded(PATIENCE, self.send(ask, None)).await?;
        Ok(Lines::new(Pieces::new(self.clone(), answer.into_body(), Some(PATIENCE))))
    }
}

fn progress_stream(
    lines: Lines,
) -> impl futures_util::Stream<Item = Result<PullProgress, DockerError>> + Send {
    stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match lines.next::<wire::Progress>().await {
            Ok(Some(line)) if line.error.is_empty() => Some((Ok(PullProgress::from_wire(line)), Some(lines))),
            Ok(Some(line)) => Some((Err(DockerError::refused(&line.error)), None)),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl PullProgress {
    fn from_wire(line: wire::Progress) -> Self {
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Self {
            layer: (!line.id.is_empty()).then_some(line.id),
            status: line.status,
            current: count(line.detail.current),
            total: count(line.detail.total).filter(|total| *total > 0),
        }
    }
}
