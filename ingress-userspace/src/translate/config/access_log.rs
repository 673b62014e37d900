//! The keys of the access log (reference section 9.1).

use std::{net::IpAddr, path::Path, sync::Arc};

use super::{Reader, list};
use crate::{
    expression::{Case, Expression},
    model::{
        AccessLog, LogDestination, LogEscape, LogFormat, Skipped, StreamFormat, StreamLog,
        SyslogServer,
    },
    translate::annotations::Invalid,
};

/// Where ingress-nginx's image has a link to standard output.
const STDOUT: [&str; 2] = ["/var/log/nginx/access.log", "/dev/stdout"];
/// RFC 5426, section 3.3.
const SYSLOG_PORT: u16 = 514;

impl Reader<'_, '_> {
    /// What is written about requests, and about connections below HTTP; `None`: nothing.
    pub(super) fn access_logs(&mut self) -> (Option<Arc<AccessLog>>, Option<Arc<StreamLog>>) {
        let (mut all, mut http, mut stream) = (false, false, false);
        let (mut json, mut syslog) = (false, false);
        self.boolean("disable-access-log", &mut all);
        self.boolean("disable-http-access-log", &mut http);
        self.boolean("disable-stream-access-log", &mut stream);
        self.boolean("log-format-escape-json", &mut json);
        self.boolean("enable-syslog", &mut syslog);
        let escape = if json { LogEscape::Json } else { LogEscape::Text };
        let (format, of_streams) = (self.format(escape), self.stream_format(escape));
        let skipped = self.skipped();
        let (destination, streams_to) = match syslog {
            true => {
                let server = self.syslog();
                (server.clone(), server)
            }
            false => (self.path("http-access-log-path"), self.path("stream-access-log-path")),
        };
        let requests = (!all && !http).then(|| {
            let destination = Arc::new(destination);
            Arc::new(AccessLog { format: Arc::new(format), destination, skipped })
        });
        let streams = (!all && !stream)
            .then(|| Arc::new(StreamLog { format: of_streams, destination: Arc::new(streams_to) }));
        (requests, streams)
    }

    fn stream_format(&mut self, escape: LogEscape) -> StreamFormat {
        let key = "log-format-stream";
        let wanted = self.get(key).filter(|text| !text.is_empty());
        let format = wanted.map(StreamFormat::parse).and_then(|parsed| match parsed {
            Ok(format) => Some(format),
            Err(why) => {
                let message = format!("{why}; ingress-nginx's own format applies");
                self.report.error(format!("data.{key}"), message);
                None
            }
        });
        StreamFormat { escape, ..format.unwrap_or_default() }
    }

    fn format(&mut self, escape: LogEscape) -> LogFormat {
        let key = "log-format-upstream";
        let wanted = self.get(key).filter(|text| !text.is_empty());
        let format = wanted.map(LogFormat::parse).and_then(|parsed| match parsed {
            Ok(format) => Some(format),
            Err(why) => {
                let message = format!("{why}; ingress-nginx's own format applies");
                self.report.error(format!("data.{key}"), message);
                None
            }
        });
        let format = format.unwrap_or_default();
        if !format.nothing.is_empty() {
            let names = format.nothing.join("`, `$");
            let message = format!("has variables that are always `-` here: `${names}`");
            self.report.warning(format!("data.{key}"), message);
        }
        LogFormat { escape, ..format }
    }

    fn skipped(&mut self) -> Box<[Skipped]> {
        let key = "skip-access-log-urls";
        let mut skipped = Vec::new();
        for item in self.get(key).map(list).unwrap_or_default() {
            let expression = match (item.strip_prefix("~*"), item.strip_prefix('~')) {
                (Some(pattern), _) => Expression::new(pattern.trim(), Case::Ignored),
                (None, Some(pattern)) => Expression::new(pattern.trim(), Case::Told),
                (None, None) => {
                    skipped.push(Skipped::Target(item.as_str().into()));
                    continue;
                }
            };
            match expression {
                Ok(expression) => skipped.push(Skipped::Matching(expression)),
                Err(why) => {
                    let message =
                        format!("`{item}` is no regular expression ({why}); it skips nothing");
                    self.report.error(format!("data.{key}"), message);
                }
            }
        }
        skipped.into()
    }

    /// `own`: the key of this log alone.
    fn path(&mut self, own: &'static str) -> LogDestination {
        let key = [own, "access-log-path"]
            .into_iter()
            .find(|key| self.get(key).is_some_and(|path| !path.is_empty()));
        let Some((key, path)) = key.and_then(|key| Some((key, self.get(key)?))) else {
            return LogDestination::Stdout;
        };
        if STDOUT.contains(&path) {
            return LogDestination::Stdout;
        }
        if !Path::new(path).is_absolute() || path.contains('\0') {
            let message = "is not an absolute path; lines go to standard output";
            self.report.error(format!("data.{key}"), message.to_owned());
            return LogDestination::Stdout;
        }
        LogDestination::File(path.into())
    }

    /// Standard output where there is no server.
    fn syslog(&mut self) -> LogDestination {
        let mut port = SYSLOG_PORT;
        self.value("syslog-port", &mut port, |value| {
            value.parse().ok().filter(|port| *port != 0).ok_or(Invalid("a port, 1 to 65535"))
        });
        let key = "syslog-host";
        match self.get(key).filter(|host| !host.is_empty()) {
            Some(host) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                LogDestination::Syslog(match bare.parse::<IpAddr>() {
                    Ok(address) => SyslogServer::Address((address, port).into()),
                    Err(_) => SyslogServer::Name(host.into(), port),
                })
            }
            None => {
                let message = "must name a server, for `enable-syslog` is on; lines go to standard \
                               output";
                self.report.error(format!("data.{key}"), message.to_owned());
                LogDestination::Stdout
            }
        }
    }
}
