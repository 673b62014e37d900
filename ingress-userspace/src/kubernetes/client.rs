//! Which API server, and with whose rights.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use http::{Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::{client::legacy, rt::TokioExecutor};
use kube::{
    Client,
    client::{ClientBuilder, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// A peer that is gone without a word (its power, the network) is noticed after about half a minute,
/// like client-go does by pings of HTTP/2: first asked after so long, then twice more.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMES: u32 = 3;
/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no kubeconfig and no pod's account, or they do not say what is needed.
    #[error("cannot tell which cluster is meant")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not in a pod, and no flag says anything.
    #[error(
        "this is no pod of a cluster: say what to serve by --manifests DIR, --kubeconfig FILE or \
         --apiserver-host URL"
    )]
    NoPod(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file of `--certificate-authority`.
    #[error("cannot read the authorities in {}", path.display())]
    Authority {
        /// The file as given.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClientError {
    fn config(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Config(Box::new(error))
    }
}

/// Where the API server is and as whom it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `--kubeconfig`; `None`: as kubectl finds it, else the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; `None`: the current one.
    pub context: Option<String>,
    /// `--apiserver-host`; `None`: what the kubeconfig says.
    pub server: Option<String>,
    /// `--certificate-authority`, for `server`.
    pub authority: Option<PathBuf>,
    /// Where nothing else is given, only the pod's own account will do, as for ingress-nginx: what a
    /// person's kubectl uses is nobody's intention.
    pub in_pod: bool,
}

/// An address of an API server: `https://` or `http://`, a host, perhaps a port.
///
/// # Errors
/// What is allowed.
pub fn server_address(text: &str) -> Result<Uri, &'static str> {
    let uri: Option<Uri> = text.parse().ok();
    uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        .ok_or("https://HOST:PORT or http://HOST:PORT")
}

impl Access {
    /// A client. Asks nothing of the API server yet; wants a tokio runtime around it. Tokens in files
    /// are read again every minute; what else changed, a new client knows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client(&self) -> Result<Client, ClientError> {
        self.watched_client(&Arc::default()).await
    }

    /// The same; `refused` is told of every answer that is 401.
    pub(super) async fn watched_client(
        &self,
        refused: &Arc<Notify>,
    ) -> Result<Client, ClientError> {
        let config = self.config().await?;
        // Only the first of a process counts.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut connector = legacy::connect::HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE_AGAIN));
        connector.set_keepalive_retries(Some(KEEPALIVE_TIMES));
        // What was sent and is not acknowledged for so long: the same, while something is on its way.
        connector.set_tcp_user_timeout(Some(KEEPALIVE + KEEPALIVE_AGAIN * KEEPALIVE_TIMES));
        let connector =
            config.rustls_https_connector_with_connector(connector).map_err(ClientError::config)?;
        let service = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let refused = Arc::clone(refused);
        let service = service.map_err(tower::BoxError::from).map_response(
            move |answer: Response<Incoming>| {
                if answer.status() == StatusCode::UNAUTHORIZED {
                    refused.notify_one();
                }
                answer
            },
        );
        let headers = config.extra_headers_layer().map_err(ClientError::config)?;
        let builder =
            ClientBuilder::new(service, config.default_namespace.clone()).with_layer(&headers);
        let place = config.base_uri_layer();
        Ok(match config.auth_layer().map_err(ClientError::config)? {
            Some(identity) => builder.with_layer(&identity).with_layer(&place).build(),
            None => builder.with_layer(&place).build(),
        })
    }

    async fn config(&self) -> Result<kube::Config, ClientError> {
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(ClientError::config)?;
                let config = kube::Config::from_custom_kubeconfig(file, &options).await;
                config.map_err(ClientError::config)?
            }
            None if self.context.is_some() => {
                kube::Config::from_kubeconfig(&options).await.map_err(ClientError::config)?
            }
            None if self.server.is_some() => kube::Config::new(Uri::default()),
            None if self.in_pod => {
                kube::Config::incluster().map_err(|error| ClientError::NoPod(Box::new(error)))?
            }
            None => kube::Config::infer().await.map_err(ClientError::config)?,
        };
        if let Some(server) = &self.server {
            config.cluster_url = server_address(server)
                .map_err(|allowed| ClientError::config(io::Error::other(allowed)))?;
            if let Some(path) = &self.authority {
                config.root_cert = Some(authorities(path)?);
                config.root_cert_file = None;
            }
        }
        Ok(config)
    }
}

fn authorities(path: &PathBuf) -> Result<Vec<Vec<u8>>, ClientError> {
    let wrong = |source| ClientError::Authority { path: path.clone(), source };
    let pem = std::fs::read(path).map_err(|error| wrong(error.into()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.map_err(|error| wrong(error.into()))?;
    if read.is_empty() {
        return Err(wrong("there is no certificate in it".into()));
    }
    Ok(read.into_iter().map(|certificate| certificate.to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host() {
        for good in ["https://10.0.0.1:6443", "http://[::1]:8080", "https://api.example"] {
            assert!(server_address(good).is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.1", "10.0.0.1:6443", "/path", "ftp://a", "https://"] {
            assert!(server_address(bad).is_err(), "{bad}");
        }
    }
}
