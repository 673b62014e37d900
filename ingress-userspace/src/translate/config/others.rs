//! Keys that nothing is done for: why not, and what to write instead.

use std::sync::Arc;

use super::{OBEYED, Reader};
use crate::{
    model::Denial,
    suggestion,
    translate::annotations::{BUFFER_SIZE, BUFFERS, NO_FILES, boolean},
};

/// What becomes of a key that `Config` has no field for.
pub(super) enum Other {
    /// There is nothing for it to do; says why.
    Needless(&'static str),
    /// Likewise, but for this value, which asks for what is done anyway.
    Unless(&'static str, &'static str),
    /// It restricts access to everything: everything answers 503.
    Denies,
}

use Other::{Denies, Needless, Unless};

const HEADER_BUFFER: &str = "a connection borrows a buffer of 32 KiB only while a head is read";
const OCSP: &str = "answers of authorities about certificates are not fetched and not stapled: \
                    clients that want to know ask themselves";
const RECORDS: &str = "a record of TLS is as large as what there is to send, up to 16 KiB";
const DHE: &str = "no suite with DHE is offered";
const EARLY: &str = "early data is never taken: whoever sees it could send it again";
const NO_NGINX: &str = "there is no nginx whose configuration it could be";
const STREAMS: &str = "there is no nginx whose configuration it could be; ports are given by \
                       --tcp-services-configmap and --udp-services-configmap";
const WORKERS: &str = "the number of workers is set by --workers";
const PLACES: &str = "the kernel places the workers";
const FILES: &str = "the limit of open files is that of the process";
const ACCEPT: &str = "connections are always accepted as long as there are some, by all workers";
const HASHES: &str = "tables grow as they must";
const LOG_PATH: &str = "our own log goes to standard error";
const STATUS: &str = "there is no status page; /metrics and /state are on --healthz-port";
const GEO: &str = "there is no database of places, and no variable that would say them";
const LUA: &str = "there is no Lua";
const RELOADS: &str = "nothing is ever reloaded: changes are applied to what runs";
const HTTP2_HEADS: &str = "a head of HTTP/2 may have 32 KiB, as one of HTTP/1";
const GZIP_DISABLE: &str = "clients that say that they take gzip get it";
const PROXY_PORT: &str = "the address in the header of the PROXY protocol is that of the client";
const HIDDEN: &str = "the `Server` of endpoints never reaches clients";
const TYPE: &str = "an answer without `Content-Type` stays without";
const GRPC: &str = "no more than 64 KiB of an answer wait for a slow client";

const NO_OWN_LOG: &str =
    "the default backend is no server of its own; what it answers is in the log like all else";
const LOG_PARAMS: &str = "lines are handed over every 100 ms, or when there are 32 KiB of them";
const ESCAPED: &str = "what a client sends is always escaped: it could write lines of its own else";

const OTEL_FILE: &str = "there is no file: the collector is named by otlp-collector-host";

/// In the order of ingress-nginx's own document.
pub(super) const OTHERS: &[(&str, Other)] = &[
    ("allow-backend-server-header", Unless("false", HIDDEN)),
    ("access-log-params", Needless(LOG_PARAMS)),
    ("enable-access-log-for-default-backend", Unless("true", NO_OWN_LOG)),
    ("log-format-escape-none", Unless("false", ESCAPED)),
    ("error-log-path", Needless(LOG_PATH)),
    ("client-header-buffer-size", Needless(HEADER_BUFFER)),
    ("enable-ocsp", Unless("false", OCSP)),
    ("http2-max-field-size", Needless(HTTP2_HEADS)),
    ("http2-max-header-size", Needless(HTTP2_HEADS)),
    ("http2-max-requests", Needless("keep-alive-requests counts for HTTP/2 too")),
    ("enable-multi-accept", Needless(ACCEPT)),
    ("reuse-port", Unless("true", ACCEPT)),
    ("max-worker-open-files", Needless(FILES)),
    ("map-hash-bucket-size", Needless(HASHES)),
    ("server-name-hash-max-size", Needless(HASHES)),
    ("server-name-hash-bucket-size", Needless(HASHES)),
    ("proxy-headers-hash-max-size", Needless(HASHES)),
    ("proxy-headers-hash-bucket-size", Needless(HASHES)),
    ("variables-hash-bucket-size", Needless(HASHES)),
    ("variables-hash-max-size", Needless(HASHES)),
    ("nginx-status-ipv4-whitelist", Needless(STATUS)),
    ("nginx-status-ipv6-whitelist", Needless(STATUS)),
    ("ssl-dh-param", Needless(DHE)),
    ("ssl-early-data", Unless("false", EARLY)),
    ("ssl-buffer-size", Needless(RECORDS)),
    ("enable-aio-write", Needless(NO_FILES)),
    ("use-geoip", Unless("false", GEO)),
    ("use-geoip2", Unless("false", GEO)),
    ("geoip2-autoreload-in-minutes", Needless(GEO)),
    ("gzip-disable", Needless(GZIP_DISABLE)),
    ("worker-processes", Needless(WORKERS)),
    ("worker-cpu-affinity", Needless(PLACES)),
    ("enable-serial-reloads", Needless(RELOADS)),
    ("forwarded-for-proxy-protocol-header", Needless(PROXY_PORT)),
    ("proxy-buffer-size", Needless(BUFFER_SIZE)),
    ("proxy-buffers-number", Needless(BUFFERS)),
    ("proxy-busy-buffers-size", Needless(BUFFERS)),
    ("proxy-max-temp-file-size", Needless(NO_FILES)),
    ("grpc-buffer-size-kb", Needless(GRPC)),
    ("default-type", Needless(TYPE)),
    ("lua-shared-dicts", Needless(LUA)),
    (
        "debug-connections",
        Needless("`penstock log-level debug` shows what is done with every connection"),
    ),
    ("main-snippet", Needless(NO_NGINX)),
    ("stream-snippet", Needless(STREAMS)),
    // May well be who asks for a password.
    ("plugins", Denies),
    ("opentelemetry-config", Needless(OTEL_FILE)),
];

impl Reader<'_, '_> {
    /// Judges the keys that are not obeyed. Returns why everything answers 503.
    pub(super) fn others(&mut self) -> Option<Denial> {
        let mut denial = None;
        for (key, value) in self.map.data.iter().flatten() {
            if OBEYED.contains(&&**key) {
                continue;
            }
            let field = format!("data.{key}");
            match OTHERS.iter().find(|(known, _)| known == key).map(|(_, other)| other) {
                Some(Unless(harmless, _)) if means(value.trim(), harmless) => {}
                Some(Needless(why) | Unless(_, why)) => {
                    self.report.warning(field, format!("has no effect: {why}"));
                }
                Some(Denies) if matches!(value.trim(), "" | "false") => {}
                Some(Denies) => {
                    self.report.error(field, "is not supported yet; everything answers 503");
                    denial.get_or_insert_with(|| Denial { key: Arc::from(&**key) });
                }
                None => {
                    let known =
                        OTHERS.iter().map(|(known, _)| *known).chain(OBEYED.iter().copied());
                    let question = suggestion::question(key, known);
                    self.report.warning(field, format!("is not known and has no effect{question}"));
                }
            }
        }
        denial
    }
}

/// Both are the same boolean.
fn means(value: &str, harmless: &str) -> bool {
    matches!((boolean(value), boolean(harmless)), (Ok(value), Ok(harmless)) if value == harmless)
}
