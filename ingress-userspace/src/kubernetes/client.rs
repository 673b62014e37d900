//! Which API server, and with whose rights.

use std::path::PathBuf;

use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no kubeconfig and no pod's account, or they do not say what is needed.
    #[error("cannot tell which cluster is meant")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
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
}

impl Access {
    /// A client. Asks nothing of the API server yet; wants a tokio runtime around it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client(&self) -> Result<Client, ClientError> {
        Client::try_from(self.config().await?).map_err(ClientError::config)
    }

    async fn config(&self) -> Result<kube::Config, ClientError> {
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(ClientError::config)?;
                kube::Config::from_custom_kubeconfig(file, &options).await
            }
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options).await,
            None => return kube::Config::infer().await.map_err(ClientError::config),
        };
        config.map_err(ClientError::config)
    }
}
