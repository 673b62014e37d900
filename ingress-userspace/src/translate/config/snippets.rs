//! The operator's snippets, and what those of Ingresses may do (reference section 1.11).

use std::sync::Arc;

use super::{Config, Reader};
use crate::{
    model::{Denial, Effects, ServerProgram},
    translate::{
        annotations::{UNSET, said},
        snippet::{self, Directive, Fault, Question},
    },
};

/// What the ConfigMap says about snippets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::translate) struct SharedSnippets {
    /// `allow-snippet-annotations`.
    pub(in crate::translate) allowed: bool,
    /// `serve-without-snippets`: what is not obeyed is left out instead of answering 503.
    pub(in crate::translate) serve_without: bool,
    /// `location-snippet`, for every path.
    pub(in crate::translate) location: Arc<[Directive]>,
    /// `server-snippet`, for every host.
    pub(in crate::translate) server: Arc<[Directive]>,
    /// `http-snippet`.
    pub(in crate::translate) http: Effects,
    /// What a host without a snippet of its own goes by.
    pub(in crate::translate) program: Option<Arc<ServerProgram>>,
}

impl Reader<'_, '_> {
    pub(super) fn snippets(&mut self, config: &mut Config) {
        let mut shared = SharedSnippets::default();
        self.boolean("allow-snippet-annotations", &mut shared.allowed);
        self.boolean("serve-without-snippets", &mut shared.serve_without);
        let mut location = Vec::new();
        let mut server = Vec::new();
        for key in ["http-snippet", "location-snippet", "server-snippet", "global-auth-snippet"] {
            let Some(text) = self.get(key).filter(|text| !text.is_empty()) else { continue };
            let taken = match key {
                _ if !shared.allowed => {
                    Err(vec!["is off: `allow-snippet-annotations` is not `true`".to_owned()])
                }
                _ => snippet::parse(text)
                    .and_then(|directives| match key {
                        "http-snippet" => {
                            snippet::http(&directives).map(|effects| shared.http = effects)
                        }
                        "global-auth-snippet" => {
                            let Question { fields, unset } = snippet::question(&directives)?;
                            for (line, _) in unset {
                                let message = format!("line {line}: {UNSET}");
                                self.report.warning(format!("data.{key}"), message);
                            }
                            if let Some(global) = &mut config.global_auth {
                                let own = std::mem::take(&mut global.auth.request_headers);
                                global.auth.request_headers =
                                    own.into_iter().chain(fields).collect();
                            } else {
                                let message = "has no effect without global-auth-url";
                                self.report.warning(format!("data.{key}"), message.to_owned());
                            }
                            Ok(())
                        }
                        "location-snippet" => {
                            let location_alone =
                                snippet::location(&directives, &Default::default())?;
                            if let Some(line) = location_alone.satisfy_any {
                                return Err(vec![Fault {
                                    instead: Some("the annotation `satisfy`"),
                                    ..Fault::new(line, "`satisfy any` is not supported here")
                                }]);
                            }
                            location = directives;
                            Ok(())
                        }
                        _ => {
                            snippet::server(&directives, &Effects::default())?;
                            server = directives;
                            Ok(())
                        }
                    })
                    .map_err(|faults| faults.iter().map(said).collect()),
            };
            let Err(faults) = taken else { continue };
            let then =
                if shared.serve_without { "it is left out" } else { "everything answers 503" };
            for why in faults {
                self.report.error(format!("data.{key}"), format!("{why}; {then}"));
            }
            if !shared.serve_without {
                config.denial.get_or_insert_with(|| Denial { key: key.into() });
            }
        }
        let program = snippet::server(&server, &shared.http).map(|server| server.program);
        shared.program =
            program.ok().filter(|program| *program != ServerProgram::default()).map(Arc::new);
        shared.location = location.into();
        shared.server = server.into();
        config.snippets = shared;
    }
}
