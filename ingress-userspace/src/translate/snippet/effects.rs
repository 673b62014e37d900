//! Directives that say what holds in a context, rather than what is done in the rewrite phase.

use std::sync::Arc;

use super::{
    fields::{cleared, named, rule},
    lower::{Lower, Place},
    parse::Directive,
    steps::{judged, of_answer},
    token::Fault,
    value::value,
};
use crate::{
    model::{Access, Added, AddressRange, Effects, ErrorPage, Expires, PageTarget, Value},
    translate::quantity::time,
};

/// Why what is about nginx's cache changes nothing.
const NO_CACHE: &str = "answers are never kept";

/// Why a length that snippets give to answers without a body changes nothing.
const NO_LENGTH: &str = "an answer's length is that of its body";

/// Directives that change nothing here, and why.
const NEEDLESS: &[(&str, &str)] = &[
    ("access_log", "what is logged is not up to a snippet"),
    ("log_not_found", "what is logged is not up to a snippet"),
    ("rewrite_log", "what is logged is not up to a snippet"),
    ("server_tokens", "answers do not say what we are"),
    ("etag", "it is about files of nginx"),
    ("gzip_proxied", "answers are compressed whether a proxy asked for them or not"),
    ("gzip_vary", "answers that may be compressed always say `Vary`"),
    ("gzip_buffers", "a buffer of 32 KiB is compressed at a time"),
    ("gzip_disable", "clients that cannot take gzip do not ask for it"),
    ("gzip_http_version", "clients of HTTP/1.0 get nothing compressed"),
    ("proxy_buffer_size", "heads of answers may have 32 KiB, whatever it says"),
    ("proxy_buffers", "one buffer of 32 KiB per direction is filled and emptied in turn"),
    ("proxy_busy_buffers_size", "one buffer of 32 KiB per direction is filled and emptied in turn"),
    ("proxy_max_temp_file_size", "answers are never written to disk"),
    ("large_client_header_buffers", "heads of requests may have 32 KiB; the ConfigMap says less"),
    ("keepalive_timeout", "connections are not of one host: the ConfigMap's `keep-alive` says it"),
    ("keepalive_requests", "the ConfigMap's `keep-alive-requests` says it"),
    ("send_timeout", "a client that takes nothing for a minute is left"),
    ("client_header_timeout", "the ConfigMap's `client-header-timeout` says it"),
    ("client_body_timeout", "the ConfigMap's `client-body-timeout` says it"),
    ("sendfile", "it is about files of nginx"),
    ("tcp_nopush", "it is about files of nginx"),
    ("tcp_nodelay", "nothing that is written waits for more"),
    ("proxy_headers_hash_max_size", "there is no such table"),
    ("proxy_headers_hash_bucket_size", "there is no such table"),
    ("proxy_socket_keepalive", "connections to endpoints that do not answer end by their timeouts"),
    ("grpc_buffer_size", "heads of answers may have 32 KiB, whatever it says"),
    ("chunked_transfer_encoding", "who speaks HTTP/1.1 takes chunks, and nobody else gets them"),
    ("proxy_cache_bypass", NO_CACHE),
    ("proxy_no_cache", NO_CACHE),
    ("client_header_buffer_size", "a buffer of 32 KiB is borrowed while a head is read"),
];

impl Lower {
    /// Takes the directive, if it is one that may stand here.
    pub(super) fn effect(
        &mut self,
        directive: &Directive,
        place: Place,
        context: usize,
    ) -> Result<bool, Fault> {
        let name = &*directive.name;
        let words: Vec<&str> = directive.arguments.iter().map(|word| &**word).collect();
        let fault = |why: String| Fault::new(directive.line, format!("`{name}`: {why}"));
        if let Some((_, why)) = NEEDLESS.iter().find(|(needless, _)| *needless == name) {
            self.notes.push((directive.line, format!("`{name}` has no effect: {why}")));
            return Ok(directive.block.is_none());
        }
        if name == "limit_except" && place == Place::Location {
            let methods = limit_except(directive).map_err(fault)?;
            self.at(context).methods = Some(methods);
            return Ok(true);
        }
        if directive.block.is_some() {
            return Ok(false);
        }
        // Not in an `if` of a server, where nginx knows the rewrite module's alone.
        if place == Place::ServerIf {
            return Ok(false);
        }
        if self.body(name, &words, place, context).map_err(fault)? {
            return Ok(true);
        }
        if says_no_length(name, &words) {
            self.notes.push((directive.line, format!("`{name}` has no effect here: {NO_LENGTH}")));
            return Ok(true);
        }
        self.of_answers(name, &words, context).map_err(fault).and_then(|taken| match taken {
            true => Ok(true),
            false if place.is_conditional() => Ok(false),
            false => self.of_places(directive, &words, place, context),
        })
    }

    /// Those that may stand in an `if` of a location too.
    fn of_answers(&mut self, name: &str, words: &[&str], context: usize) -> Result<bool, String> {
        match (name, words) {
            ("add_header", [field, text] | [field, text, "always"]) => {
                let value = value(text, self.known())?;
                let name = named(field)?;
                let always = words.len() == 3;
                let added = Added { name, value, always };
                self.at(context).added.get_or_insert_default().push(added);
            }
            ("more_set_headers" | "more_clear_headers", words) => {
                let rules = rule(words, name == "more_clear_headers", self.known())?;
                self.at(context).rules.extend(rules);
            }
            ("more_set_input_headers" | "more_clear_input_headers", words) => {
                let rules = cleared(words, name == "more_clear_input_headers", self.known())?;
                self.at(context).input.extend(rules);
            }
            ("expires", [when]) => self.at(context).expires = Some(expires(when)?),
            ("error_page", [codes @ .., url]) => {
                let pages = self.error_pages(codes, url)?;
                self.at(context).error_pages.get_or_insert_default().extend(pages);
            }
            ("add_header" | "expires" | "error_page", _) => {
                return Err("has other values than are supported".into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Those that hold for a whole server or location.
    fn of_places(
        &mut self,
        directive: &Directive,
        words: &[&str],
        place: Place,
        context: usize,
    ) -> Result<bool, Fault> {
        let name = &*directive.name;
        let fault = |why: String| Fault::new(directive.line, format!("`{name}`: {why}"));
        match (name, words) {
            ("proxy_hide_header", [field]) => {
                let field = named(field).map_err(fault)?.to_ascii_lowercase();
                self.at(context).hidden.get_or_insert_default().push(field.into());
            }
            ("proxy_set_header" | "grpc_set_header", [field, text]) => {
                if place != Place::Location {
                    let why = "every path says its own";
                    self.notes
                        .push((directive.line, format!("`{name}` has no effect here: {why}")));
                    return Ok(true);
                }
                let own = self.told_upstream(field, text).map_err(fault)?;
                let effects = self.at(context);
                let told = match name {
                    "grpc_set_header" => &mut effects.to_grpc,
                    _ => &mut effects.to_upstream,
                };
                if let Some(own) = own {
                    told.get_or_insert_default().push(own);
                }
            }
            // Nothing is kept anyway.
            ("proxy_cache", ["off"]) => {
                self.notes.push((directive.line, format!("`{name}` has no effect: {NO_CACHE}")));
            }
            ("allow" | "deny", [who]) => {
                let range = match *who {
                    "all" => None,
                    text => Some(AddressRange::parse(text).ok_or_else(|| {
                        fault(format!("`{text}` is no address or range like 10.0.0.0/8"))
                    })?),
                };
                let access = Access { range, allowed: name == "allow" };
                self.at(context).access.get_or_insert_default().push(access);
            }
            // It was taken before all else.
            ("auth_request_set", _) if place == Place::Location => {}
            ("satisfy", ["all"]) => {}
            ("satisfy", ["any"]) => self.satisfy_any = Some(directive.line),
            ("default_type", [kind]) if place != Place::Location => {
                let plain = |byte: u8| byte.is_ascii_graphic();
                if !kind.bytes().all(plain) {
                    return Err(fault(format!("`{kind}` is no media type")));
                }
                self.at(context).content_type = Some((*kind).into());
            }
            // Files are not served: it can say something about answers of a snippet alone.
            ("default_type", [kind]) => self.at(context).content_type = Some((*kind).into()),
            ("underscores_in_headers", [switch @ ("on" | "off")]) if place != Place::Own => {
                self.at(context).underscores = Some(*switch == "on");
            }
            ("proxy_intercept_errors", [switch @ ("on" | "off")]) => {
                self.at(context).intercepts = Some(*switch == "on");
            }
            ("internal", []) if place == Place::Own => self.internal = true,
            // Pages of errors have none themselves.
            ("recursive_error_pages", ["off"]) => {}
            ("proxy_pass_request_headers", [switch @ ("on" | "off")]) => {
                self.at(context).drop_fields = Some(*switch == "off");
            }
            _ => return self.overridden(directive, words, place),
        }
        Ok(true)
    }

    /// A field for endpoints; `None` where what it asks for is done anyway.
    fn told_upstream(&self, field: &str, text: &str) -> Result<Option<(Arc<str>, Value)>, String> {
        // What these need for an upgrade is done anyway, and nothing else would work.
        let upgrade = field.eq_ignore_ascii_case("upgrade") && text == "$http_upgrade";
        let connection = field.eq_ignore_ascii_case("connection")
            && (text.eq_ignore_ascii_case("upgrade")
                || text == "$connection_upgrade"
                || text.is_empty());
        if upgrade || connection {
            return Ok(None);
        }
        let value = value(text, self.known())?;
        if of_answer(&value) {
            return Err("refers to the answer, which is not there yet".into());
        }
        Ok(Some((named(field)?, value)))
    }

    /// `error_page CODE… [=[CODE]] URL|PATH|@NAME`
    fn error_pages(&self, codes: &[&str], to: &str) -> Result<Vec<ErrorPage>, String> {
        let is_url = ["http://", "https://", "$scheme"].iter().any(|begin| to.starts_with(begin));
        let to = match to {
            _ if is_url => PageTarget::Url(self.page_value(to)?),
            _ if to.starts_with('/') => PageTarget::Path(self.page_value(to)?),
            _ if to.len() > 1 && to.starts_with('@') => PageTarget::Named(to.into()),
            _ => return Err(format!("`{to}` is no URL, no path and no `@name`")),
        };
        let (codes, status) = match codes.split_last() {
            Some((last, codes)) if last.starts_with('=') => (codes, last.strip_prefix('=')),
            _ => (codes, None),
        };
        let number = |text: &str, range: std::ops::Range<u16>| {
            text.parse().ok().filter(|code| range.contains(code))
        };
        let is_redirect = |status: &u16| matches!(status, 301 | 302 | 303 | 307 | 308);
        let own = match (status, is_url) {
            (None, true) => Some(302),
            (Some(text), true) => {
                let status = number(text, 300..400).filter(is_redirect);
                Some(status.ok_or_else(|| format!("`={text}` is no status of a redirect"))?)
            }
            (None | Some(""), false) => None,
            (Some(text), false) => {
                let status = number(text, 200..600);
                // A page has a body; these have none, or no answer at all.
                let bodiless = |code: &u16| matches!(*code, 204 | 205 | 304 | 444 | 494..=499);
                let status = status.filter(|code| !bodiless(code));
                Some(status.ok_or_else(|| format!("`={text}` is no status of a page"))?)
            }
        };
        if codes.is_empty() {
            return Err("names no status".into());
        }
        let page = |code: &&str| {
            let code = number(code, 300..600).filter(|code| !matches!(*code, 444 | 494..=499));
            let code =
                code.ok_or_else(|| "has something that is no status of an error".to_owned())?;
            // Without `=` the client gets the status of the error.
            let status = own.or((!is_url && status.is_none()).then_some(code));
            Ok(ErrorPage { code, status, to: to.clone() })
        };
        codes.iter().map(page).collect()
    }

    fn page_value(&self, text: &str) -> Result<Value, String> {
        let value = value(text, self.known())?;
        if judged(&value) {
            return Err("refers to what `auth-url` says, which may not be asked yet".into());
        }
        if of_answer(&value) {
            return Err("refers to the answer, which is not there yet".into());
        }
        Ok(value)
    }

    pub(super) fn at(&mut self, context: usize) -> &mut Effects {
        if self.contexts.len() <= context {
            self.contexts.resize_with(context + 1, Effects::default);
        }
        &mut self.contexts[context]
    }
}

/// `add_header Content-Length 0;` as it stands beside many a `return 204`.
fn says_no_length(name: &str, words: &[&str]) -> bool {
    let is_it = |field: &str| field.eq_ignore_ascii_case("content-length");
    match (name, words) {
        ("add_header", [field, "0"] | [field, "0", "always"]) => is_it(field),
        ("more_set_headers", [setting]) => setting
            .split_once(':')
            .is_some_and(|(field, length)| is_it(field.trim()) && length.trim() == "0"),
        _ => false,
    }
}

/// `limit_except METHOD… { deny all; }`
fn limit_except(directive: &Directive) -> Result<Vec<Arc<str>>, String> {
    const FORM: &str = "only `limit_except METHOD… { deny all; }` is supported";
    let denies =
        |one: &Directive| one.name == "deny" && one.arguments == ["all"] && one.block.is_none();
    let block = directive.block.as_deref().ok_or(FORM)?;
    if directive.arguments.is_empty() || block.is_empty() || !block.iter().all(denies) {
        return Err(FORM.into());
    }
    let is_method = |method: &&String| method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !directive.arguments.iter().all(|method| is_method(&method)) {
        return Err("a method has other characters than capital letters".into());
    }
    let mut methods: Vec<Arc<str>> =
        directive.arguments.iter().map(|one| one.as_str().into()).collect();
    // As nginx: GET allows HEAD.
    if directive.arguments.iter().any(|method| method == "GET") {
        methods.push("HEAD".into());
    }
    Ok(methods)
}

fn expires(when: &str) -> Result<Expires, String> {
    let seconds = |text: &str| -> Result<i64, String> {
        if text == "0" {
            return Ok(0);
        }
        let time =
            time(text).map_err(|_invalid| format!("`{when}` is no time like `30d` or `-1`"))?;
        i64::try_from(time.as_secs()).map_err(|_too_long| format!("`{when}` is too long"))
    };
    Ok(match when {
        "off" => Expires::Off,
        "epoch" => Expires::Epoch,
        "max" => Expires::Max,
        _ => match when.strip_prefix('-') {
            Some(text) => Expires::After(-seconds(text)?),
            None => Expires::After(seconds(when)?),
        },
    })
}
