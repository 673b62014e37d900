//! Who the API server is and whom it knows: certificates and tokens, as files in one directory.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow};
use rcgen::KeyPair;
use serde_json::json;

use crate::Authority;

/// Somebody whom the API server knows by a token.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// What its kubeconfig is called.
    pub(crate) file: String,
    /// As authorisation sees it.
    pub(crate) name: String,
    /// A group that it is in.
    pub(crate) group: Option<&'static str>,
}

impl User {
    pub(crate) fn new(file: &str, name: &str, group: Option<&'static str>) -> Self {
        Self { file: file.to_owned(), name: name.to_owned(), group }
    }

    /// May do everything.
    pub(crate) fn admin() -> Self {
        Self::new("admin", "admin", Some("system:masters"))
    }
}

/// The directory, once it is filled.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    directory: PathBuf,
    server: SocketAddr,
}

impl Credentials {
    /// Makes everything anew: an authority, the server's certificate, the key that signs tokens of
    /// ServiceAccounts, and a kubeconfig for each user.
    pub(crate) fn make(directory: &Path, server: SocketAddr, users: &[User]) -> Result<Self> {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let own = Self { directory: directory.to_owned(), server };
        let authority = Authority::new()?;
        let address = server.ip().to_string();
        let names =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1", &address];
        let (certificate, key) = authority.certificate(&names)?;
        let signing = KeyPair::generate()?;
        let mut tokens = String::new();
        for user in users {
            let token = random_token()?;
            write!(tokens, "{token},{},{}", user.name, user.name)?;
            tokens += &user.group.map_or_else(String::new, |group| format!(",\"{group}\""));
            tokens.push('\n');
            let text = kubeconfig(server, &authority.pem(), &json!({ "token": token }));
            fs::write(own.kubeconfig(&user.file), text)?;
        }
        for (name, text) in [
            ("ca.crt", authority.pem()),
            ("apiserver.crt", certificate),
            ("apiserver.key", key),
            ("sa.key", signing.serialize_pem()),
            ("sa.pub", signing.public_key_pem()),
            ("tokens.csv", tokens),
        ] {
            fs::write(own.file(name), text)?;
        }
        Ok(own)
    }

    /// One of the files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A user's kubeconfig.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.file(&format!("{user}.kubeconfig"))
    }

    /// A kubeconfig for whoever has the token in a file, which is read again and again.
    pub(crate) fn with_token_file(&self, token: &Path) -> Result<String> {
        let authority = fs::read_to_string(self.file("ca.crt"))?;
        Ok(kubeconfig(self.server, &authority, &json!({ "tokenFile": token })))
    }

    /// Where the API server answers.
    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }
}

/// A kubeconfig in JSON, which is YAML too.
fn kubeconfig(server: SocketAddr, authority: &str, user: &serde_json::Value) -> String {
    let authority = data_encoding::BASE64.encode(authority.as_bytes());
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "penstock", "cluster": {
            "server": format!("https://{server}"), "certificate-authority-data": authority,
        }}],
        "users": [{ "name": "penstock", "user": user }],
        "contexts": [{ "name": "penstock", "context": { "cluster": "penstock", "user": "penstock" }}],
        "current-context": "penstock",
    })
    .to_string()
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_unspecified| anyhow!("no randomness"))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
