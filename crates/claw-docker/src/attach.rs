//! A container's standard input and outputs.

use std::pin::Pin;

use bollard::{container::LogOutput, query_parameters::AttachContainerOptions};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::io::AsyncWrite;

use crate::{Docker, DockerError, name};

/// A piece of output as it came, of at most some tens of kilobytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// From standard output.
    Stdout(Bytes),
    /// From standard error.
    Stderr(Bytes),
}

/// The streams of a container.
pub struct Attached {
    /// Standard input. Shutting it down ends the program's input while output goes on; dropping it does not.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Both outputs, each in order. Whoever does not read slows the program down: the Engine keeps about a megabyte.
    /// Ends when the container has.
    pub output: BoxStream<'static, Result<Chunk, DockerError>>,
}

impl Docker {
    /// Attaches to a container. Before [`Docker::start`] it sees everything from the first byte on.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when the container does not exist.
    pub async fn attach(&self, container: &str) -> Result<Attached, DockerError> {
        let container = name::check_name("container", container)?;
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let streams = self
            .begin(|client| async move { client.attach_container(container, Some(options)).await })
            .await?;
        let docker = self.clone();
        let output = streams.output.map(move |piece| match piece {
            Ok(LogOutput::StdErr { message }) => Ok(Chunk::Stderr(message)),
            Ok(
                LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message },
            ) => Ok(Chunk::Stdout(message)),
            Err(error) => Err(docker.error(error)),
        });
        Ok(Attached { stdin: streams.input, output: output.boxed() })
    }
}
