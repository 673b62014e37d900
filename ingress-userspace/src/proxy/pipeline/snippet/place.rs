//! Which location gets a request on a host whose snippet has locations of its own: nginx's search,
//! in which those of the snippet stand before those of the Ingresses.

use super::{Plan, Script, is_allowed, steps::Flow};
use crate::{
    model::{Matching, PathKind, Route, ServerProgram, SnippetLocation},
    proxy::{
        message::{Known, RequestHead},
        respond::{Answer, Failure},
    },
    route::{Found, HostTable},
};

/// What a search comes to.
pub(in super::super) enum Next<'v> {
    /// A location of the snippet answers.
    Own(Answer),
    /// It sends the request elsewhere on this host.
    Again,
    /// A route, as without a snippet.
    Host(Found<'v>),
}

impl<'v> Script<'v> {
    /// Searches for the path as it stands now.
    pub(in super::super) fn place(
        &mut self,
        server: &'v ServerProgram,
        host: &'v HostTable,
        head: &RequestHead,
        plan: &mut Option<Box<Plan<'v>>>,
    ) -> Result<Next<'v>, Failure> {
        let uri = self.uri.clone();
        let found = host.find(&uri);
        let app_root = uri == "/" && host.model().app_root.is_some();
        let own = if app_root { None } else { self.search(server, host, &found, &uri)? };
        match own {
            // Only rewrites and pages get there.
            Some(location) if location.internal && !self.is_page && !self.internal => {
                Err(Failure::NoRoute)
            }
            Some(location) => self.serve(location, head, plan),
            None => Ok(Next::Host(found)),
        }
    }

    /// Goes to the location of this name, `@` included. One that is not there is an error, as in
    /// nginx.
    pub(in super::super) fn go(
        &mut self,
        server: &'v ServerProgram,
        name: &str,
        head: &RequestHead,
        plan: &mut Option<Box<Plan<'v>>>,
    ) -> Result<Next<'v>, Failure> {
        let is_it = |own: &&SnippetLocation| matches!(&own.matching, Matching::Named(own) if **own == *name);
        let own = server.locations.iter().find(is_it).ok_or(Failure::RewriteLoop)?;
        self.serve(own, head, plan)
    }

    fn search(
        &mut self,
        server: &'v ServerProgram,
        host: &HostTable,
        found: &Found<'_>,
        uri: &str,
    ) -> Result<Option<&'v SnippetLocation>, Failure> {
        let exact = |own: &&SnippetLocation| matches!(&own.matching, Matching::Exact(path) if **path == *uri);
        if let Some(own) = server.locations.iter().find(exact) {
            return Ok(Some(own));
        }
        let regex = host.model().regex;
        // How much of the path the Ingresses' best location holds; all of it ends the search.
        let theirs = match found {
            Found::Route(compiled) if !regex => prefix_length(&compiled.route, uri),
            Found::AddSlash(_) => None,
            Found::Route(_) | Found::None => Some(0),
        };
        let Some(theirs) = theirs else { return Ok(None) };
        let prefix = |own: &'v SnippetLocation| match &own.matching {
            Matching::Prefix { path, is_final } if uri.starts_with(&**path) => {
                Some((path.len(), *is_final, own))
            }
            _ => None,
        };
        let best = server.locations.iter().filter_map(prefix).max_by_key(|(length, ..)| *length);
        let best = best.filter(|(length, ..)| *length > theirs);
        if let Some((_, true, own)) = best {
            return Ok(Some(own));
        }
        for own in &server.locations {
            if let Matching::Pattern(pattern) = &own.matching
                && self.find(pattern, uri)?.is_some()
            {
                return Ok(Some(own));
            }
        }
        let by_expression = regex && matches!(found, Found::Route(_));
        Ok(best.filter(|_| !by_expression).map(|(_, _, own)| own))
    }

    /// What a location of the snippet does. One that comes to its end has nothing to show: 404.
    fn serve(
        &mut self,
        own: &'v SnippetLocation,
        head: &RequestHead,
        plan: &mut Option<Box<Plan<'v>>>,
    ) -> Result<Next<'v>, Failure> {
        (self.context, self.changed) = (0, false);
        *plan = self.effects(&own.program).map(|effects| self.plan(effects, &head.fields));
        let flow = self.steps(&own.program.steps, &head.fields)?;
        let effects = self.effects(&own.program);
        *plan = effects.map(|effects| self.plan(effects, &head.fields));
        if !matches!(flow, Flow::Answer { .. }) && self.jumps()? {
            return Ok(Next::Again);
        }
        if let Some(answer) = self.answered(flow, plan) {
            return Ok(Next::Own(answer));
        }
        let rules = effects.and_then(|effects| effects.access.as_deref()).unwrap_or_default();
        let address = self.address.parse();
        match address.is_ok_and(|address| is_allowed(rules, address)) {
            true => Err(Failure::NoRoute),
            false => Err(Failure::Forbidden),
        }
    }
}

/// Gives a text the type that the context says, where its path says none.
pub(super) fn typed(answer: &mut Answer, kind: Option<&str>) {
    if !answer.head.fields.contains(Known::ContentType) && !matches!(answer.head.status, 204 | 304)
    {
        let kind = kind.unwrap_or("text/html");
        answer.head.fields.push_known(Known::ContentType, kind.as_bytes());
    }
}

/// How long the prefix is by which ingress-nginx's location for a route holds the path; `None`: it
/// holds it exactly.
fn prefix_length(route: &Route, uri: &str) -> Option<usize> {
    match route.kind {
        PathKind::Exact => None,
        PathKind::Prefix if route.path.ends_with('/') => Some(route.path.len()),
        PathKind::Prefix if *route.path == *uri => None,
        PathKind::Prefix => Some(route.path.len() + 1),
    }
}

/// The type of a text by the ending of its path, from nginx's `mime.types`, as far as texts have
/// one.
pub(super) fn media_type(uri: &str) -> Option<&'static str> {
    let name = uri.rsplit('/').next().unwrap_or_default();
    let (_, ending) = name.rsplit_once('.')?;
    Some(match &*ending.to_ascii_lowercase() {
        "html" | "htm" | "shtml" => "text/html",
        "css" => "text/css",
        "xml" => "text/xml",
        "js" => "application/javascript",
        "atom" => "application/atom+xml",
        "rss" => "application/rss+xml",
        "mml" => "text/mathml",
        "txt" => "text/plain",
        "jad" => "text/vnd.sun.j2me.app-descriptor",
        "wml" => "text/vnd.wap.wml",
        "htc" => "text/x-component",
        "svg" | "svgz" => "image/svg+xml",
        "json" => "application/json",
        "m3u8" => "application/vnd.apple.mpegurl",
        "kml" => "application/vnd.google-earth.kml+xml",
        "xhtml" => "application/xhtml+xml",
        "xspf" => "application/xspf+xml",
        "gif" => "image/gif",
        "jpeg" | "jpg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "mp4" => "video/mp4",
        "mp3" => "audio/mpeg",
        "bin" | "exe" | "dll" | "deb" | "dmg" | "iso" | "img" | "msi" => "application/octet-stream",
        _ => return None,
    })
}
