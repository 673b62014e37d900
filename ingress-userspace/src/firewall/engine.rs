//! Rules that are compiled, and what they come to for a request.

use std::{collections::HashMap, sync::Arc};

use zentinel_modsec::{
    CompiledRuleset, ModSecurity, Transaction,
    parser::{
        Action, DataAction, Directive, LoggingAction, MetadataAction, RuleEngineMode, SetVarSpec,
        SetVarValue,
    },
    variables::{Collection as _, MutableCollection as _},
};

use super::{
    body,
    request::{Match, Outcome, Request, Verdict},
    settings::{Mode, Settings},
};

/// Compiled rules.
pub(super) struct Engine {
    engine: ModSecurity,
    rules: HashMap<u64, Rule>,
}

/// What the engine does not tell of a rule.
#[derive(Default)]
struct Rule {
    /// `status`, which the engine has no regard for.
    status: Option<u16>,
    /// What is logged about it.
    told: Option<Match>,
    /// It is the first of a chain: it matched only if all of the chain did.
    chained: bool,
}

impl Engine {
    /// Compiles rules. Expressions are compiled when they are first needed.
    pub(super) fn new(mut directives: Vec<Directive>, mode: Mode) -> Result<Self, String> {
        complete_chains(&mut directives);
        let rules = directives.iter().filter_map(rule).collect();
        directives.push(Directive::SecRuleEngine(match mode {
            Mode::On => RuleEngineMode::On,
            Mode::DetectionOnly => RuleEngineMode::DetectionOnly,
            Mode::Off => RuleEngineMode::Off,
        }));
        let rule_set = CompiledRuleset::compile(directives).map_err(|error| error.to_string())?;
        Ok(Self { engine: ModSecurity::new(rule_set), rules })
    }

    /// Runs the rules of both phases of requests. An error: there is no verdict.
    pub(super) fn evaluate(
        &self,
        request: &Request,
        settings: &Settings,
    ) -> Result<Outcome, zentinel_modsec::Error> {
        let mut transaction = self.engine.new_transaction();
        let client = request.client;
        transaction.set_client_addr(&client.ip().to_string(), client.port());
        transaction.set_server_name(&request.host);
        // Each argument is looked at by each rule: their number bounds the time.
        let arguments = body::arguments(request.query().as_bytes());
        let (target, query_fits) = match arguments > settings.most_arguments {
            false => (&*request.target, true),
            true => (request.target.split_once('?').map_or("", |(path, _)| path), false),
        };
        transaction.process_uri(target, &request.method, request.protocol)?;
        // Cookies are arguments too.
        let cookies =
            request.all("cookie").map(|own| own.bytes().filter(|b| *b == b';').count() + 1);
        let cookies_fit = cookies.sum::<usize>() <= settings.most_arguments;
        for (name, value) in &request.fields {
            if cookies_fit || !name.eq_ignore_ascii_case("cookie") {
                transaction.add_request_header(name, value)?;
            }
        }
        transaction.process_request_headers()?;
        if !transaction.has_intervention() {
            let mut fits = query_fits && cookies_fit;
            match body::inspected(request, settings) {
                Ok(body) => transaction.append_request_body(&body)?,
                Err(_uninspectable) => fits = false,
            }
            // The base configuration has a rule for it, which others can except.
            if !fits {
                transaction.tx_mut().set("penstock_body_fault".to_owned(), "1".to_owned());
            }
            transaction.process_request_body()?;
        }
        Ok(self.outcome(&transaction))
    }

    fn outcome(&self, transaction: &Transaction) -> Outcome {
        let matched = self.matched(transaction);
        let matched = matched.filter_map(|id| self.rules.get(&id)?.told.clone()).collect();
        let verdict = match transaction.intervention() {
            None => Verdict::Pass,
            Some(intervention) => match &intervention.url {
                Some(url) => Verdict::Redirect(url.clone()),
                None => {
                    let id = intervention.rule_ids.first().and_then(|id| id.parse().ok());
                    let rule = id.and_then(|id: u64| self.rules.get(&id));
                    let own = rule.and_then(|rule| rule.status);
                    Verdict::Answer(match own {
                        Some(status) if !intervention.drop_connection => status,
                        _ => intervention.status,
                    })
                }
            },
        };
        Outcome { verdict, matched }
    }

    /// The numbers of all rules that match.
    pub(super) fn matching(
        &self,
        request: &Request,
        settings: &Settings,
    ) -> Result<(Verdict, Vec<u64>), zentinel_modsec::Error> {
        let mut transaction = self.engine.new_transaction();
        transaction.process_uri(&request.target, &request.method, request.protocol)?;
        for (name, value) in &request.fields {
            transaction.add_request_header(name, value)?;
        }
        transaction.process_request_headers()?;
        if let Ok(body) = body::inspected(request, settings) {
            transaction.append_request_body(&body)?;
        }
        transaction.process_request_body()?;
        Ok((self.outcome(&transaction).verdict, self.matched(&transaction).collect()))
    }

    /// The numbers of the rules that matched. The engine counts the first of a chain as soon as it
    /// does, whatever becomes of the others.
    fn matched(&self, transaction: &Transaction) -> impl Iterator<Item = u64> {
        let ids = transaction.matched_rules().iter().filter_map(|id| id.parse::<u64>().ok());
        ids.filter(|id| {
            let chained = self.rules.get(id).is_some_and(|rule| rule.chained);
            !chained || transaction.tx().get(&completed(*id)).is_some()
        })
    }
}

/// The variable that says that the whole of a chain matched.
fn completed(id: u64) -> String {
    format!("penstock_chain_{id}")
}

/// A chain that matches does what its first rule says, to the engine; in ModSecurity also what the
/// others set, the score of attacks among it.
fn complete_chains(directives: &mut [Directive]) {
    let mut first = None;
    for index in 0..directives.len() {
        let Some(Directive::SecRule(rule)) = directives.get(index) else { continue };
        let chained = rule.is_chained();
        let moved: Vec<_> = rule.actions.iter().filter(|action| is_set(action)).cloned().collect();
        match first {
            None if chained => {
                first = Some(index);
                if let Some(id) = rule.id()
                    && let Some(Directive::SecRule(rule)) = directives.get_mut(index)
                {
                    let (collection, key) = ("tx".to_owned(), completed(id));
                    let set = SetVarSpec { collection, key, value: SetVarValue::Int(1) };
                    rule.actions.push(Action::Data(DataAction::SetVar(set)));
                }
            }
            None => {}
            Some(start) => {
                if let Some(Directive::SecRule(rule)) = directives.get_mut(start) {
                    rule.actions.extend(moved);
                }
                if !chained {
                    first = None;
                }
            }
        }
    }
}

fn is_set(action: &Action) -> bool {
    matches!(action, Action::Data(DataAction::SetVar(_)) | Action::Control(_))
}

fn rule(directive: &Directive) -> Option<(u64, Rule)> {
    let actions = match directive {
        Directive::SecRule(rule) => &rule.actions,
        Directive::SecAction(action) => &action.actions,
        _ => return None,
    };
    let (mut id, mut status, mut message, mut quiet) = (None, None, None, false);
    let mut tags: Vec<&str> = Vec::new();
    for action in actions {
        match action {
            Action::Metadata(MetadataAction::Id(own)) => id = Some(*own),
            Action::Metadata(MetadataAction::Status(own)) => status = Some(*own),
            Action::Metadata(MetadataAction::Msg(own)) => message = Some(&**own),
            Action::Metadata(MetadataAction::Tag(own)) => tags.push(own),
            Action::Logging(LoggingAction::NoLog) => quiet = true,
            Action::Logging(LoggingAction::Log) => quiet = false,
            _ => {}
        }
    }
    let id = id?;
    let chained = matches!(directive, Directive::SecRule(rule) if rule.is_chained());
    let tag = tags.iter().find(|tag| tag.starts_with("attack-")).or(tags.first());
    // Without a message it is a step of others, or nobody wrote one.
    let is_told = !quiet && (message.is_some() || !tags.is_empty() || is_disruptive(actions));
    let told = is_told.then(|| Match {
        id,
        message: Arc::from(message.unwrap_or_default()),
        tag: Arc::from(tag.copied().unwrap_or_default()),
    });
    Some((id, Rule { status, told, chained }))
}

fn is_disruptive(actions: &[Action]) -> bool {
    use zentinel_modsec::parser::DisruptiveAction::{Allow, AllowPhase, AllowRequest, Pass};
    actions.iter().any(|action| match action {
        Action::Disruptive(own) => !matches!(own, Pass | Allow | AllowPhase | AllowRequest),
        _ => false,
    })
}
