//! Directives that say what an annotation says too.

use std::{sync::Arc, time::Duration};

use super::{
    bodies::switch,
    lower::{Lower, Place},
    parse::Directive,
    token::Fault,
};
use crate::{
    model::{HttpVersion, Proxying, RedirectRewrite, Replacement, UpstreamTls},
    translate::{
        annotations::{UpstreamTlsRequest, tls_name},
        quantity::{limit, size, time},
    },
};

/// What a `configuration-snippet` says about forwarding. It counts before the annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::translate) struct Overrides {
    connect_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    max_body: Option<Option<u64>>,
    body_buffer: Option<u64>,
    buffer_response: Option<bool>,
    buffer_request: Option<bool>,
    http_version: Option<HttpVersion>,
    redirect: Option<RedirectRewrite>,
    tls_name: Option<Arc<str>>,
    tls_send_name: Option<bool>,
    tls_verify: Option<bool>,
    /// Where the first directive about TLS stands.
    pub(super) tls_line: Option<usize>,
}

impl Overrides {
    /// What it makes of `proxy-ssl-secret` and what goes with it; `None`: it says nothing of TLS.
    pub(in crate::translate) fn of_request(
        &self,
        request: &UpstreamTlsRequest,
    ) -> Option<UpstreamTlsRequest> {
        self.tls_line?;
        Some(UpstreamTlsRequest {
            verify: self.tls_verify.unwrap_or(request.verify),
            name: self.tls_name.clone().or_else(|| request.name.clone()),
            send_name: self.tls_send_name.unwrap_or(request.send_name),
            ..request.clone()
        })
    }

    /// Endpoints are to be verified.
    pub(in crate::translate) fn verifies(&self) -> bool {
        self.tls_verify == Some(true)
    }

    /// Puts what it says into `proxying`.
    pub(in crate::translate) fn apply(&self, proxying: &mut Proxying) {
        fn put<T: Clone>(place: &mut T, own: &Option<T>) {
            if let Some(own) = own {
                place.clone_from(own);
            }
        }
        put(&mut proxying.connect_timeout, &self.connect_timeout);
        put(&mut proxying.send_timeout, &self.send_timeout);
        put(&mut proxying.read_timeout, &self.read_timeout);
        put(&mut proxying.max_body, &self.max_body);
        put(&mut proxying.body_buffer, &self.body_buffer);
        put(&mut proxying.buffer_response, &self.buffer_response);
        put(&mut proxying.buffer_request, &self.buffer_request);
        put(&mut proxying.http_version, &self.http_version);
        put(&mut proxying.redirect, &self.redirect);
        if self.tls_line.is_some() && proxying.protocol.may_use_tls() {
            let mut tls = proxying.tls.as_deref().cloned().unwrap_or_default();
            put(&mut tls.send_name, &self.tls_send_name);
            if self.tls_name.is_some() {
                tls.name.clone_from(&self.tls_name);
            }
            if tls != UpstreamTls::default() {
                proxying.tls = Some(Arc::new(tls));
            }
        }
    }
}

impl Lower {
    /// Takes the directive, if it is one of these. Elsewhere than in a `configuration-snippet` it
    /// changes nothing, for ingress-nginx says all of these for every path.
    pub(super) fn overridden(
        &mut self,
        directive: &Directive,
        words: &[&str],
        place: Place,
    ) -> Result<bool, Fault> {
        let name = &*directive.name;
        let fault = |why: String| Fault::new(directive.line, format!("`{name}`: {why}"));
        let mut own = self.overrides.clone();
        let expected =
            |invalid: super::super::annotations::Invalid| format!("is not {}", invalid.0);
        let taken = match (name, words) {
            ("proxy_connect_timeout" | "grpc_connect_timeout", [text]) => {
                time(text).map(|time| own.connect_timeout = Some(time)).map_err(expected)
            }
            ("proxy_send_timeout" | "grpc_send_timeout", [text]) => {
                time(text).map(|time| own.send_timeout = Some(time)).map_err(expected)
            }
            ("proxy_read_timeout" | "grpc_read_timeout", [text]) => {
                time(text).map(|time| own.read_timeout = Some(time)).map_err(expected)
            }
            ("client_max_body_size", [text]) => {
                limit(text).map(|most| own.max_body = Some(most)).map_err(expected)
            }
            ("client_body_buffer_size", [text]) => {
                size(text).map(|bytes| own.body_buffer = Some(bytes)).map_err(expected)
            }
            ("proxy_buffering", [text]) => switch(text).map(|on| own.buffer_response = Some(on)),
            ("proxy_request_buffering", [text]) => {
                switch(text).map(|on| own.buffer_request = Some(on))
            }
            ("proxy_http_version", ["1.0"]) => {
                own.http_version = Some(HttpVersion::Http10);
                Ok(())
            }
            ("proxy_http_version", ["1.1"]) => {
                own.http_version = Some(HttpVersion::Http11);
                Ok(())
            }
            ("proxy_redirect", words) => {
                redirect(words).map(|rewrite| own.redirect = Some(rewrite))
            }
            ("proxy_ssl_server_name", [text]) => {
                own.tls_line.get_or_insert(directive.line);
                switch(text).map(|on| own.tls_send_name = Some(on))
            }
            ("proxy_ssl_verify", [text]) => {
                own.tls_line.get_or_insert(directive.line);
                switch(text).map(|on| own.tls_verify = Some(on))
            }
            ("proxy_ssl_name", [text]) if !text.contains('$') => {
                own.tls_line.get_or_insert(directive.line);
                let name = tls_name(text).ok_or("is no name or address".to_owned());
                name.map(|name| own.tls_name = Some(name))
            }
            // Connections to endpoints are kept by how their TLS is done, which the request has no say in.
            ("proxy_ssl_name", [_]) => Err("variables are not supported in it; a name, or the \
                                            annotation `proxy-ssl-name`, of an Ingress for each host"
                .to_owned()),
            _ => return Ok(false),
        };
        taken.map_err(fault)?;
        if place == Place::Location {
            self.overrides = own;
        } else {
            let note = format!("`{name}` has no effect here: every path says its own");
            self.notes.push((directive.line, note));
        }
        Ok(true)
    }
}

fn redirect(words: &[&str]) -> Result<RedirectRewrite, String> {
    match words {
        ["off"] => Ok(RedirectRewrite::Off),
        ["default"] => Ok(RedirectRewrite::Default),
        [from, to] if !from.starts_with('~') && !from.contains('$') && !to.contains('$') => {
            Ok(RedirectRewrite::Replace(Replacement { from: (*from).into(), to: (*to).into() }))
        }
        _ => Err("only `off`, `default` and two texts without variables are supported".into()),
    }
}
