use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};

/// An answer as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The status line and the fields, verbatim.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A field's first value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// A line of [`Backend::echo`](super::Backend::echo)'s answer that begins with this, in any
    /// case.
    pub(crate) fn line(&self, begin: &str) -> Option<&str> {
        self.text().lines().find_map(|line| {
            let (own, rest) = line.split_at_checked(begin.len())?;
            own.eq_ignore_ascii_case(begin).then_some(rest)
        })
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A client connection that can carry several exchanges.
pub(crate) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(tcp(address))
    }

    pub(crate) fn over(stream: impl Read + Write + Send + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the connection is open");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    pub(crate) fn request(&mut self, text: &str) -> Reply {
        self.try_request(text).expect("an answer")
    }

    pub(crate) fn try_request(&mut self, text: &str) -> std::io::Result<Reply> {
        self.try_send(text)?;
        let head_only = text.starts_with("HEAD ");
        self.reply(head_only)
    }

    /// The next answer; `head_only`: it is to a HEAD request.
    pub(crate) fn reply(&mut self, head_only: bool) -> std::io::Result<Reply> {
        let head = self.head()?;
        let status = head.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
        let mut reply = Reply { status, head, body: Vec::new() };
        if head_only || status == 204 || status == 304 || status < 200 {
            return Ok(reply);
        }
        let chunked = reply.header("transfer-encoding").is_some_and(|value| value == "chunked");
        let length = reply.header("content-length").map(|length| length.parse::<usize>());
        match (chunked, length) {
            (true, _) => {
                while let Some(chunk) = self.chunk()? {
                    reply.body.extend(chunk);
                }
            }
            (false, Some(length)) => {
                reply.body.resize(length.map_err(|_not_a_number| broken())?, 0);
                self.stream.read_exact(&mut reply.body)?;
            }
            (false, None) => {
                self.stream.read_to_end(&mut reply.body)?;
            }
        }
        Ok(reply)
    }

    /// The next head, without its empty line.
    pub(crate) fn head(&mut self) -> std::io::Result<String> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim_end().is_empty() {
                return Ok(head);
            }
            head.push_str(&line);
        }
    }

    /// The next chunk of a chunked body.
    pub(crate) fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_not_a_number| broken())?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    pub(crate) fn read_exact(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// What is left until the other side closes.
    pub(crate) fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn broken() -> std::io::Error {
    std::io::ErrorKind::InvalidData.into()
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(super::DEADLINE)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// One request on a connection of its own.
pub(crate) fn exchange(address: SocketAddr, text: &str) -> Reply {
    Connection::open(address).request(text)
}

/// How a TLS client introduces itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TlsOptions<'a> {
    /// No server name in the handshake.
    pub(crate) no_sni: bool,
    /// Protocols to offer.
    pub(crate) alpn: &'a [&'a [u8]],
    /// TLS 1.2 only.
    pub(crate) old: bool,
}

/// A TLS connection to `name`, whose certificate is taken as it is, and that certificate.
pub(crate) fn tls(address: SocketAddr, name: &str) -> (Connection, Vec<u8>) {
    let (stream, certificate) = tls_with(address, name, TlsOptions::default());
    (Connection::over(stream), certificate)
}

/// The same with more of a say; after the handshake.
pub(crate) fn tls_with(
    address: SocketAddr,
    name: &str,
    options: TlsOptions<'_>,
) -> (StreamOwned<ClientConnection, TcpStream>, Vec<u8>) {
    let stream =
        tls_over(address, name, &tls_config(options, None)).expect("the handshake succeeds");
    let certificate = stream.conn.peer_certificates().expect("it has one")[0].to_vec();
    (stream, certificate)
}

/// A client's chain and key.
pub(crate) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A client that keeps its sessions, for several connections.
pub(crate) fn tls_config(options: TlsOptions<'_>, own: Option<Pair>) -> Arc<ClientConfig> {
    let versions: &[&rustls::SupportedProtocolVersion] = if options.old {
        &[&rustls::version::TLS12]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that exist")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    let mut config = match own {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("a pair"),
        None => config.with_no_client_auth(),
    };
    config.enable_sni = !options.no_sni;
    config.alpn_protocols = options.alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// The connection after its handshake, or what went wrong.
pub(crate) fn tls_over(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a host name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    let mut stream = StreamOwned::new(session, tcp(address));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Verifies nothing: which certificate comes is what tests look at.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
