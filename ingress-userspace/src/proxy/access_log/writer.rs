//! The one thread that writes lines, wherever they go. It may be kept waiting; nobody waits for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    clock::Clock,
    outlet::{Inlet, Lines},
};
use crate::model::{LogDestination, SyslogServer};

/// Buffers that may wait: 8 MiB of lines.
const WAITING: usize = 256;
/// How often it is looked whether a file has been moved away, and how often the same trouble is told.
const LOOK: Duration = Duration::from_secs(1);
const TELL: Duration = Duration::from_secs(60);
/// How long the end of the process waits for the last lines.
const LAST: Duration = Duration::from_secs(2);
/// What a message to a server may have. Bytes.
const DATAGRAM: usize = 8 * 1024;
/// `local7.info`, as NGINX has it (RFC 3164, section 4.1.1).
const PRIORITY: &str = "<190>";

/// Some lines of one worker.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) destination: Arc<LogDestination>,
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Writer {
    ended: Receiver<()>,
}

/// Starts the thread, which ends when no worker has an inlet any more.
///
/// `stdout`: standard output is this process's to write to; else what goes there goes nowhere.
///
/// # Errors
/// There can be no thread.
pub(crate) fn start(stdout: bool) -> io::Result<(Writer, Inlet)> {
    let (chunks, coming) = mpsc::sync_channel(WAITING);
    let lines = Arc::<Lines>::default();
    let (end, ended) = mpsc::channel();
    let own = Arc::clone(&lines);
    thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        write(&coming, &own, stdout);
        drop(end);
    })?;
    Ok((Writer { ended }, Inlet { chunks, lines }))
}

impl Writer {
    /// Waits until the last lines are written, but not for ever: whoever reads them may have
    /// stopped to.
    pub(crate) fn finish(self) {
        if self.ended.recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log are not written: nobody takes them");
        }
    }
}

fn write(coming: &Receiver<Chunk>, lines: &Lines, stdout: bool) {
    let mut place = Place::Nowhere;
    let mut told: Option<Instant> = None;
    for chunk in coming {
        if !stdout && *chunk.destination == LogDestination::Stdout {
            continue;
        }
        let written = place.at(&chunk.destination).and_then(|place| place.write(&chunk.text));
        match written {
            Ok(()) => {
                lines.written.fetch_add(chunk.lines, Ordering::Relaxed);
            }
            Err(error) => {
                lines.lose(chunk.lines);
                place = Place::Nowhere;
                if told.is_none_or(|told| told.elapsed() >= TELL) {
                    told = Some(Instant::now());
                    tracing::warn!(
                        %error,
                        destination = %show(&chunk.destination),
                        lines = chunk.lines,
                        "cannot write the access log"
                    );
                }
            }
        }
    }
}

fn show(destination: &LogDestination) -> String {
    match destination {
        LogDestination::Stdout => "standard output".to_owned(),
        LogDestination::File(path) => path.display().to_string(),
        LogDestination::Syslog(SyslogServer::Address(address)) => format!("syslog at {address}"),
        LogDestination::Syslog(SyslogServer::Name(name, port)) => {
            format!("syslog at {name}:{port}")
        }
    }
}

/// What is open.
enum Place {
    Nowhere,
    Stdout,
    File { path: PathBuf, file: File, looked: Instant },
    Syslog { server: SyslogServer, socket: UdpSocket, host: String, clock: Clock },
}

impl Place {
    /// Opens what is to be open.
    fn at(&mut self, destination: &LogDestination) -> io::Result<&mut Self> {
        if !self.is(destination) {
            *self = match destination {
                LogDestination::Stdout => Self::Stdout,
                LogDestination::File(path) => {
                    let file = append(path)?;
                    Self::File { path: path.clone(), file, looked: Instant::now() }
                }
                LogDestination::Syslog(server) => Self::syslog(server)?,
            };
        }
        Ok(self)
    }

    fn syslog(server: &SyslogServer) -> io::Result<Self> {
        let address = match server {
            SyslogServer::Address(address) => *address,
            SyslogServer::Name(name, port) => {
                (&**name, *port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?
            }
        };
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        let host = super::hostname();
        Ok(Self::Syslog { server: server.clone(), socket, host, clock: Clock::default() })
    }

    /// This is what is open.
    fn is(&mut self, destination: &LogDestination) -> bool {
        match (self, destination) {
            (Self::Stdout, LogDestination::Stdout) => true,
            (Self::File { path, file, looked }, LogDestination::File(wanted)) => {
                path == wanted
                    && (looked.elapsed() < LOOK || {
                        *looked = Instant::now();
                        is_there(path, file)
                    })
            }
            (Self::Syslog { server, .. }, LogDestination::Syslog(wanted)) => server == wanted,
            _ => false,
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Err(io::ErrorKind::NotConnected.into()),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
            Self::File { file, .. } => file.write_all(text),
            Self::Syslog { socket, host, clock, .. } => {
                let head =
                    clock.syslog(Clock::now(), |time| format!("{PRIORITY}{time} {host} nginx: "));
                let mut message = Vec::new();
                let mut outcome = Ok(());
                for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    message.clear();
                    message.extend_from_slice(head.as_bytes());
                    message.extend_from_slice(line);
                    // What is too long for a datagram is cut, not lost: it may be somebody's wish.
                    message.truncate(DATAGRAM);
                    // One that is refused is no reason to leave out the others.
                    outcome = socket.send(&message).map(drop).and(outcome);
                }
                outcome
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The file is still the one of that path, not one that was moved away.
fn is_there(path: &Path, file: &File) -> bool {
    let same =
        |one: &fs::Metadata, two: &fs::Metadata| (one.dev(), one.ino()) == (two.dev(), two.ino());
    matches!((fs::metadata(path), file.metadata()), (Ok(one), Ok(two)) if same(&one, &two))
}
