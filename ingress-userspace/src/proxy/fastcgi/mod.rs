//! FastCGI 1.0 towards applications, in the role of the web server that asks responders: one
//! connection for each request, as nginx has it without `fastcgi_keep_conn`. Own code, for both
//! bodies are to flow at once and in constant memory: what there is on crates.io
//! (`fastcgi-client` 0.12) sends the whole of the one before it looks at the other.
//!
//! `record` has the framing, `parameters` what the application is told, `answer` the head of what it
//! says, `complaints` what it says aside; `upstream` joins them to a transport.

mod answer;
mod complaints;
mod parameters;
mod record;
#[cfg(test)]
mod tests;
mod upstream;

pub(crate) use complaints::Complaints;
pub(crate) use upstream::FastCgiUpstream;
