//! One question over the socket.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, runtime::Builder, time::timeout};

/// How long an agent may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there, or this user may not ask.
    #[error("cannot ask the agent at {path}; --admin-socket names another one")]
    Unreachable {
        /// The socket.
        path: String,
        /// What is wrong.
        source: io::Error,
    },
    /// What it said cannot be understood.
    #[error("the agent's answer cannot be read")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It says that what was asked for cannot be.
    #[error("{0}")]
    Refused(String),
}

impl AskError {
    /// The process's exit code: 2 for what the user wrote, 3 for an agent that does not answer.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 2,
            Self::Unreachable { .. } | Self::Broken(_) => 3,
        }
    }
}

/// The body of the agent's answer.
pub(super) fn ask(
    path: &Path,
    method: Method,
    target: &str,
    body: String,
) -> Result<String, AskError> {
    let unreachable = |source| AskError::Unreachable { path: path.display().to_string(), source };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(unreachable)?;
    runtime.block_on(async {
        let stream = UnixStream::connect(path).await.map_err(unreachable)?;
        match timeout(PATIENCE, exchange(stream, method, target, body)).await {
            Ok(answer) => answer,
            Err(_late) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    })
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    target: &str,
    body: String,
) -> Result<String, AskError> {
    fn broken(error: impl std::error::Error + Send + Sync + 'static) -> AskError {
        AskError::Broken(Box::new(error))
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "penstock")
        .body(Full::new(Bytes::from(body)))
        .map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
    let text = String::from_utf8(body.into()).map_err(broken)?;
    match status {
        StatusCode::OK => Ok(text),
        _ => Err(AskError::Refused(text.trim_end().to_owned())),
    }
}
