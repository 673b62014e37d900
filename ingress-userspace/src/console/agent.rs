//! A connection to an agent, and what is asked over it.

use std::{io, path::PathBuf, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, uri::Authority};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{AskError, Place, text::plain};

/// For as long an agent that shows requests as they come may say nothing, beside that: it does every
/// five seconds.
const QUIET: Duration = Duration::from_secs(5);
/// The longest answer. Bytes.
const LONGEST: usize = 256 << 20;
/// The longest line of a stream. Bytes.
const LINE: usize = 1 << 20;

/// Where an agent is.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// Its socket.
    Socket(PathBuf),
    /// Its health port.
    Address(Authority),
    /// In a pod, reached by somebody else.
    Elsewhere(String),
}

impl Door {
    pub(super) fn of(place: &Place) -> Result<Self, AskError> {
        let Some(address) = &place.address else {
            return Ok(Self::Socket(place.admin_socket.clone()));
        };
        let wrong = || {
            let told = plain(address);
            AskError::Usage(format!("--address {told}: it is not of the form http://HOST:PORT"))
        };
        let rest = address.strip_prefix("http://").ok_or_else(wrong)?;
        let authority: Authority =
            rest.trim_end_matches('/').parse().map_err(|_no_authority| wrong())?;
        match authority.port_u16() {
            Some(_) => Ok(Self::Address(authority)),
            None => Err(wrong()),
        }
    }

    pub(super) fn unreachable(&self, source: io::Error) -> AskError {
        let hint = match self {
            Self::Socket(_) => "; --admin-socket or --address names another one",
            Self::Address(_) | Self::Elsewhere(_) => "",
        };
        AskError::Unreachable { place: self.name(), hint, source }
    }

    fn name(&self) -> String {
        match self {
            Self::Socket(path) => plain(&path.display().to_string()),
            Self::Address(authority) => plain(authority.as_str()),
            Self::Elsewhere(name) => plain(name),
        }
    }
}

/// An agent that listens.
pub(crate) struct Agent {
    sender: http1::SendRequest<Full<Bytes>>,
    /// As the field `Host` names it.
    host: String,
    place: String,
    /// How long it may let us wait for the next byte.
    patience: Duration,
}

impl Agent {
    /// Connects.
    pub(crate) async fn reach(door: &Door, patience: Duration) -> Result<Self, AskError> {
        let late = || AskError::Late { place: door.name(), seconds: patience.as_secs() };
        match door {
            Door::Socket(path) => {
                let stream = timeout(patience, UnixStream::connect(path)).await;
                let stream =
                    stream.map_err(|_late| late())?.map_err(|own| door.unreachable(own))?;
                Self::over(door, stream, "localhost".to_owned(), patience).await
            }
            Door::Address(authority) => {
                let stream = timeout(patience, TcpStream::connect(authority.as_str())).await;
                let stream =
                    stream.map_err(|_late| late())?.map_err(|own| door.unreachable(own))?;
                // A name of our own choice would be none of the agent's.
                Self::over(door, stream, "localhost".to_owned(), patience).await
            }
            Door::Elsewhere(_) => Err(door.unreachable(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Over something that leads to it.
    pub(crate) async fn over(
        door: &Door,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: String,
        patience: Duration,
    ) -> Result<Self, AskError> {
        let shaken = timeout(patience, http1::handshake(TokioIo::new(stream))).await;
        let place = door.name();
        let late = || AskError::Late { place: place.clone(), seconds: patience.as_secs() };
        let (sender, connection) = shaken.map_err(|_late| late())?.map_err(AskError::broken)?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told.
            let _broken_off = connection.await;
        });
        Ok(Self { sender, host, place, patience })
    }

    /// The answer to a GET, as JSON.
    pub(crate) async fn get(&mut self, target: &str) -> Result<Value, AskError> {
        let text = self.ask(Method::GET, target, String::new()).await?;
        serde_json::from_str(&text).map_err(AskError::broken)
    }

    /// The body of an answer.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        target: &str,
        body: String,
    ) -> Result<String, AskError> {
        let mut response = self.send(method, target, body).await?;
        let status = response.status();
        let body = self.body(&mut response).await?;
        let text = String::from_utf8(body).map_err(AskError::broken)?;
        match status {
            StatusCode::OK => Ok(text),
            status => Err(refusal(status, &text)),
        }
    }

    /// An answer whose lines come as things happen.
    pub(crate) async fn lines(&mut self, target: &str) -> Result<Lines, AskError> {
        let mut response = self.send(Method::GET, target, String::new()).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = self.body(&mut response).await?;
            return Err(refusal(status, &String::from_utf8_lossy(&body)));
        }
        let (place, patience) = (self.place.clone(), self.patience + QUIET);
        Ok(Lines { response, left: BytesMut::new(), place, patience })
    }

    async fn send(
        &mut self,
        method: Method,
        target: &str,
        body: String,
    ) -> Result<Response<Incoming>, AskError> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", &self.host)
            .body(Full::new(Bytes::from(body)))
            .map_err(AskError::broken)?;
        let sent = timeout(self.patience, async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        });
        match sent.await {
            Ok(sent) => sent.map_err(AskError::broken),
            Err(_late) => Err(self.late()),
        }
    }

    async fn body(&self, response: &mut Response<Incoming>) -> Result<Vec<u8>, AskError> {
        let mut body = Vec::new();
        while let Some(frame) =
            timeout(self.patience, response.frame()).await.map_err(|_late| self.late())?
        {
            if let Ok(data) = frame.map_err(AskError::broken)?.into_data() {
                if body.len() + data.len() > LONGEST {
                    return Err(AskError::broken(io::Error::other("it is too long")));
                }
                body.extend_from_slice(&data);
            }
        }
        Ok(body)
    }

    fn late(&self) -> AskError {
        AskError::Late { place: self.place.clone(), seconds: self.patience.as_secs() }
    }
}

/// What an agent says instead of an answer.
fn refusal(status: StatusCode, text: &str) -> AskError {
    let said: Option<Value> = serde_json::from_str(text).ok();
    let why = said.as_ref().and_then(|said| said["error"].as_str()).unwrap_or(text);
    let why = plain(why.trim_end());
    match status {
        StatusCode::BAD_REQUEST => AskError::Refused(why),
        status => AskError::Denied(format!("the agent answers {}: {why}", status.as_u16())),
    }
}

/// Lines as they come.
pub(crate) struct Lines {
    response: Response<Incoming>,
    left: BytesMut,
    place: String,
    patience: Duration,
}

impl Lines {
    /// The next one that is not empty; `None`: the agent has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, AskError> {
        loop {
            if let Some(end) = self.left.iter().position(|byte| *byte == b'\n') {
                let line = self.left.split_to(end);
                self.left.advance(1);
                if line.is_empty() {
                    continue;
                }
                return String::from_utf8(line.to_vec()).map(Some).map_err(AskError::broken);
            }
            if self.left.len() > LINE {
                return Err(AskError::broken(io::Error::other("a line of it is too long")));
            }
            let late =
                |_| AskError::Late { place: self.place.clone(), seconds: self.patience.as_secs() };
            let Some(frame) = timeout(self.patience, self.response.frame()).await.map_err(late)?
            else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(AskError::broken)?.into_data() {
                self.left.extend_from_slice(&data);
            }
        }
    }
}
