//! The files of the page. They are part of the program, and compressed once.

use std::sync::{LazyLock, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use super::names;
use crate::admin::metrics::Body;

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
    made: OnceLock<Made>,
}

/// What is made of its text when it is first asked for.
#[derive(Debug)]
struct Made {
    tag: HeaderValue,
    zipped: Bytes,
}

macro_rules! assets {
    ($($path:literal $kind:ident $file:literal;)*) => {
        vec![$(Asset {
            path: $path,
            kind: $kind,
            text: include_str!($file),
            made: OnceLock::new(),
        }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

static ALL: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    assets! {
        "/" HTML "index.html";
        "/page.css" CSS "page.css";
        "/icon.svg" SVG "icon.svg";
        "/theme.js" SCRIPT "theme.js";
        "/page.js" SCRIPT "page.js";
        "/element.js" SCRIPT "element.js";
        "/figures.js" SCRIPT "figures.js";
        "/ask.js" SCRIPT "ask.js";
        "/chart.js" SCRIPT "chart.js";
        "/table.js" SCRIPT "table.js";
        "/list.js" SCRIPT "list.js";
        "/traffic.js" SCRIPT "traffic.js";
        "/routes.js" SCRIPT "routes.js";
        "/certificates.js" SCRIPT "certificates.js";
        "/diagnostics.js" SCRIPT "diagnostics.js";
        "/l4.js" SCRIPT "l4.js";
        "/explain.js" SCRIPT "explain.js";
    }
});

/// The file at a path.
pub(super) fn find(path: &str) -> Option<&'static Asset> {
    ALL.iter().find(|asset| asset.path == path)
}

impl Asset {
    fn made(&self) -> &Made {
        self.made.get_or_init(|| {
            let tag = HEXLOWER.encode(&digest(&SHA256, self.text.as_bytes()).as_ref()[..8]);
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            let zipped = std::io::Write::write_all(&mut encoder, self.text.as_bytes())
                .and_then(|()| encoder.finish())
                .unwrap_or_default();
            let tag = HeaderValue::try_from(format!("\"{tag}\"")).expect("hexadecimal digits");
            Made { tag, zipped: zipped.into() }
        })
    }

    /// The file, compressed where that is understood, or that it is as the client has it.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let made = self.made();
        let mut response = Response::new(Full::default().boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::ETAG, made.tag.clone());
        // Another version of the program has other files.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        let tag = made.tag.to_str().unwrap_or_default();
        if names(asked, &header::IF_NONE_MATCH, tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let body = if names(asked, &header::ACCEPT_ENCODING, "gzip") && !made.zipped.is_empty() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            made.zipped.clone()
        } else {
            Bytes::from_static(self.text.as_bytes())
        };
        *response.body_mut() = Full::new(body).boxed_unsync();
        response
    }
}
