//! From the text of a snippet, or of the base configuration, to directives of the engine. Strict:
//! whatever the engine does not do as ModSecurity does refuses the text with its line.

use std::collections::{BTreeSet, HashSet};

use zentinel_modsec::{
    CompiledRuleset,
    engine::CtlDirective,
    parser::{
        Action, DataAction, Directive, FlowAction, MetadataAction, OperatorName, OperatorSpec,
        Parser, SecRule, Selection, SetVarSpec, SetVarValue, VariableName, VariableSpec, XmlTarget,
    },
};

use super::{
    settings::{LARGEST, Mode, OnLimit, Said},
    tokens::{Piece, actions, pieces, unescaped, words},
};

/// Why rules are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// Completes a sentence about the directive.
    pub why: String,
}

/// What has no effect, and its line.
pub type Note = (usize, String);

/// A part of a rule set, in its order.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Directive(Box<Directive>),
    /// ModSecurity's recommended configuration.
    Base,
    /// The Core Rule Set.
    Core,
}

/// A text of directives that is understood in full.
#[derive(Clone, Debug, Default)]
pub(super) struct Parsed {
    pub(super) items: Vec<Item>,
    pub(super) said: Said,
    pub(super) notes: Vec<Note>,
}

/// The files that snippets for ingress-nginx include: they are in its image. Here they are names.
const BASE: &str = "/etc/nginx/modsecurity/modsecurity.conf";
const CORE: &str = "/etc/nginx/owasp-modsecurity-crs/nginx-modsecurity.conf";

/// What there is nothing to do for: logs and files that are not written, limits of a matcher that
/// needs none, and answers, which are not inspected.
const NO_EFFECT: &[&str] = &[
    "secauditengine",
    "secauditlog",
    "secauditlog2",
    "secauditlogdirmode",
    "secauditlogfilemode",
    "secauditlogformat",
    "secauditlogparts",
    "secauditlogrelevantstatus",
    "secauditlogstoragedir",
    "secauditlogtype",
    "seccollectiontimeout",
    "seccomponentsignature",
    "secdatadir",
    "secdebuglog",
    "secdebugloglevel",
    "secpcrematchlimit",
    "secpcrematchlimitrecursion",
    "secrequestbodyinmemorylimit",
    "secresponsebodylimit",
    "secresponsebodylimitaction",
    "secresponsebodymimetype",
    "secresponsebodymimetypesclear",
    "secstatusengine",
    "sectmpdir",
    "secunicodemapfile",
    "secuploaddir",
];

/// The actions that the engine carries out, or that are about logs.
const ACTIONS: &[&str] = &[
    "accuracy",
    "allow",
    "auditlog",
    "block",
    "capture",
    "chain",
    "ctl",
    "deny",
    "drop",
    "id",
    "log",
    "logdata",
    "maturity",
    "msg",
    "noauditlog",
    "nolog",
    "pass",
    "phase",
    "redirect",
    "rev",
    "setvar",
    "severity",
    "skip",
    "skipafter",
    "status",
    "t",
    "tag",
    "ver",
];

/// As many rules a text has at most: each is run for each request.
const MOST_RULES: usize = 256;

/// How large the program of an expression may be. Bytes.
const LARGEST_EXPRESSION: usize = 1 << 20;

/// Those of ModSecurity where a text has none of its own.
const DEFAULTS: &str = "SecDefaultAction \"phase:1,log,auditlog,pass\"\n\
                        SecDefaultAction \"phase:2,log,auditlog,pass\"\n";

/// Reads a snippet, as it stands in an annotation.
pub(super) fn snippet(text: &str) -> Result<Parsed, Fault> {
    text_of(&unescaped(text))
}

/// Reads a text without nginx's escapes.
pub(super) fn text_of(text: &str) -> Result<Parsed, Fault> {
    let mut reader = Reader::default();
    reader.parser.parse(DEFAULTS).map_err(|error| Fault { line: 0, why: error.to_string() })?;
    let mut last = 1;
    for piece in pieces(text) {
        last = piece.line;
        reader.take(piece).map_err(|why| Fault { line: piece.line, why })?;
    }
    if reader.chain {
        return Err(Fault { line: last, why: "begins a chain that nothing follows".to_owned() });
    }
    if let Some((line, name)) = reader.jumps.iter().find(|(_, name)| !reader.markers.contains(name))
    {
        return Err(Fault { line: *line, why: format!("skips to `{name}`, which is no marker") });
    }
    Ok(reader.parsed)
}

/// A text while it is read.
struct Reader {
    parser: Parser,
    parsed: Parsed,
    ids: HashSet<u64>,
    markers: BTreeSet<String>,
    jumps: Vec<(usize, String)>,
    /// The rule before is one that the next completes.
    chain: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            parser: Parser::new(),
            parsed: Parsed::default(),
            ids: HashSet::new(),
            markers: BTreeSet::new(),
            jumps: Vec::new(),
            chain: false,
        }
    }
}

impl Reader {
    fn take(&mut self, piece: Piece<'_>) -> Result<(), String> {
        let words = words(piece.text).map_err(str::to_owned)?;
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        let one = || match arguments {
            [one] => Ok(&**one),
            _ => Err(format!("`{name}` takes one argument")),
        };
        let lower = name.to_ascii_lowercase();
        if self.chain && lower != "secrule" {
            return Err("stands between the rules of a chain".to_owned());
        }
        match &*lower {
            "secruleengine" => {
                self.parsed.said.mode = Some(match &*one()?.to_ascii_lowercase() {
                    "on" => Mode::On,
                    "off" => Mode::Off,
                    "detectiononly" => Mode::DetectionOnly,
                    _ => return Err("`SecRuleEngine` is On, Off or DetectionOnly".to_owned()),
                });
            }
            "secrequestbodyaccess" => self.parsed.said.inspect_bodies = Some(switch(name, one()?)?),
            "secrequestbodylimit" => self.parsed.said.most = Some(size(name, one()?)?),
            "secrequestbodynofileslimit" => {
                self.parsed.said.most_without_files = Some(size(name, one()?)?);
            }
            "secargumentslimit" => self.parsed.said.most_arguments = Some(size(name, one()?)?),
            "secrequestbodylimitaction" => {
                self.parsed.said.on_limit = Some(match &*one()?.to_ascii_lowercase() {
                    "reject" => OnLimit::Reject,
                    "processpartial" => OnLimit::ProcessPartial,
                    _ => return Err(format!("`{name}` is Reject or ProcessPartial")),
                });
            }
            "secresponsebodyaccess" | "secuploadkeepfiles" => {
                if switch(name, one()?)? {
                    return Err(format!("`{name} On`: answers are not inspected, nor files kept"));
                }
            }
            "include" => self.parsed.items.push(match one()? {
                BASE => Item::Base,
                CORE => Item::Core,
                other => {
                    let why = format!("includes {other}; only {BASE} and {CORE} are known by name");
                    return Err(why);
                }
            }),
            "secrule" | "secaction" => self.rule(piece, arguments)?,
            "secmarker" => {
                self.markers.insert(one()?.to_owned());
                self.parse(piece)?;
            }
            "secdefaultaction" | "secruleremovebyid" | "secruleupdatetargetbyid" => {
                self.parse(piece)?;
            }
            known if NO_EFFECT.contains(&known) => {
                let note = format!("`{name}` has no effect");
                self.parsed.notes.push((piece.line, note));
            }
            _ => return Err(format!("`{name}` is not supported")),
        }
        Ok(())
    }

    /// A rule, judged before and after the engine has read it.
    fn rule(&mut self, piece: Piece<'_>, arguments: &[String]) -> Result<(), String> {
        if self.parsed.items.len() >= MOST_RULES {
            return Err(format!("is one more than {MOST_RULES} directives"));
        }
        let list = match arguments {
            [list] | [_, _, list] => Some(list),
            _ => None,
        };
        // The engine takes two backslashes for one, ModSecurity does not.
        if let [_, operator, ..] = arguments
            && operator.contains("\\\\")
        {
            return Err(
                "has `\\\\` in its operator: `\\x5c` is a backslash to all engines".to_owned()
            );
        }
        let mut said_id = None;
        for (name, value) in list.map(|list| actions(list)).unwrap_or_default() {
            if !ACTIONS.contains(&&*name) || name == "allow" && !value.is_empty() {
                return Err(format!(
                    "has the action `{name}`, which is not supported in this form"
                ));
            }
            if name == "id" {
                said_id = value.trim_matches('\'').parse().ok();
            }
            if name == "skipafter" {
                self.jumps.push((piece.line, value.trim_matches('\'').to_owned()));
            }
        }
        match said_id {
            _ if self.chain => {}
            Some(id) if self.ids.insert(id) => {}
            Some(id) => return Err(format!("has the id {id}, which another rule has")),
            None => return Err("has no id".to_owned()),
        }
        let directive = self.parse(piece)?;
        let actions = match &directive {
            Directive::SecRule(rule) => {
                judge_rule(rule)?;
                self.chain = rule.is_chained();
                &rule.actions
            }
            Directive::SecAction(action) => &action.actions,
            _ => return Ok(()),
        };
        for action in actions {
            if let Some(note) = judge_action(action)? {
                self.parsed.notes.push((piece.line, note));
            }
        }
        Ok(())
    }

    /// Has the engine read one directive, which is then one of the items.
    fn parse(&mut self, piece: Piece<'_>) -> Result<Directive, String> {
        let directive = engine_reads(&mut self.parser, piece.text, None)?;
        // What it refuses only when rules are compiled.
        CompiledRuleset::compile(vec![directive.clone()]).map_err(|error| error.to_string())?;
        self.parsed.items.push(Item::Directive(Box::new(directive.clone())));
        Ok(directive)
    }
}

/// Has the engine read a piece as exactly one directive: it drops what follows something that it
/// does not expect.
pub(super) fn engine_reads(
    parser: &mut Parser,
    text: &str,
    file: Option<&std::path::Path>,
) -> Result<Directive, String> {
    let before = parser.directives().len();
    parser.parse_with_location(text, file).map_err(|error| error.to_string())?;
    match parser.directives().get(before..) {
        Some([one]) => Ok(one.clone()),
        _ => Err("is not one directive".to_owned()),
    }
}

fn switch(name: &str, value: &str) -> Result<bool, String> {
    match &*value.to_ascii_lowercase() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{name}` is On or Off")),
    }
}

fn size(name: &str, value: &str) -> Result<usize, String> {
    let size = value.parse().ok().filter(|size| (1..=LARGEST).contains(size));
    size.ok_or_else(|| format!("`{name}` is a number from 1 to {LARGEST}"))
}

/// The operators that do here what they do in ModSecurity.
fn is_supported(operator: OperatorName) -> bool {
    matches!(
        operator,
        OperatorName::Rx
            | OperatorName::Pm
            | OperatorName::StreQ
            | OperatorName::Contains
            | OperatorName::BeginsWith
            | OperatorName::EndsWith
            | OperatorName::Within
            | OperatorName::StrMatch
            | OperatorName::Eq
            | OperatorName::Ne
            | OperatorName::Gt
            | OperatorName::Ge
            | OperatorName::Lt
            | OperatorName::Le
            | OperatorName::DetectSqli
            | OperatorName::DetectXss
            | OperatorName::ValidateUrlEncoding
            | OperatorName::ValidateUtf8Encoding
            | OperatorName::ValidateByteRange
            | OperatorName::IpMatch
            | OperatorName::NoMatch
            | OperatorName::UnconditionalMatch
    )
}

/// An expression that the engine can compile, and that is not too large: clients do not pay for
/// what an Ingress asks for.
fn expression(pattern: &str) -> Result<(), String> {
    let compiled = regex::RegexBuilder::new(pattern).size_limit(LARGEST_EXPRESSION).build();
    compiled.map(|_| ()).map_err(|error| format!("has a bad expression: {error}"))
}

fn judge_rule(rule: &SecRule) -> Result<(), String> {
    let OperatorSpec { name, argument, .. } = &rule.operator;
    if !is_supported(*name) {
        return Err(format!("has the operator {name:?}, which is not supported"));
    }
    if *name == OperatorName::Rx {
        // It would be compiled anew for each request, of what clients have a say in.
        if argument.contains("%{") {
            return Err("has a variable in a regular expression".to_owned());
        }
        expression(argument)?;
    }
    rule.variables.iter().try_for_each(judge_variable)
}

fn judge_variable(variable: &VariableSpec) -> Result<(), String> {
    let VariableSpec { name, selection, exclusions, .. } = variable;
    let of_answers = matches!(
        name,
        VariableName::ResponseStatus
            | VariableName::ResponseHeaders
            | VariableName::ResponseBody
            | VariableName::ResponseContentType
    );
    let is_xpath =
        *name == VariableName::Xml && XmlTarget::from_selection(selection.as_ref()).is_none();
    let is_group = *name == VariableName::Tx
        && matches!(selection, Some(Selection::Key(key)) if key.parse::<u8>().is_ok());
    if !name.is_implemented() || of_answers || is_xpath || is_group {
        return Err(format!("looks at {name:?}, which is not supported (in this form)"));
    }
    let selected = match selection {
        Some(Selection::Regex(pattern)) => Some(&**pattern),
        _ => None,
    };
    let excluded = exclusions
        .iter()
        .filter_map(|one| one.split_once(':')?.1.strip_prefix('/')?.strip_suffix('/'));
    for pattern in excluded.chain(selected) {
        expression(pattern)?;
    }
    Ok(())
}

/// Refuses, or says what has no effect.
fn judge_action(action: &Action) -> Result<Option<String>, String> {
    match action {
        Action::Metadata(MetadataAction::Phase(1 | 2)) => Ok(None),
        Action::Metadata(MetadataAction::Phase(phase)) => {
            Err(format!("is of phase {phase}: answers are not inspected"))
        }
        Action::Metadata(MetadataAction::Status(status)) if !(300..600).contains(status) => {
            Err(format!("answers {status}: not from 300 to 599"))
        }
        Action::Flow(FlowAction::MultiMatch) => Err("has `multiMatch`".to_owned()),
        Action::Data(DataAction::SetVar(set)) if !set.collection.eq_ignore_ascii_case("tx") => {
            Err(format!("sets a variable of `{}`: only those of `tx` last", set.collection))
        }
        // Twice itself, and that again and again, would be more than there is memory.
        Action::Data(DataAction::SetVar(SetVarSpec {
            value: SetVarValue::Macro(value), ..
        })) if value.matches("%{").count() > 1 => {
            Err("sets a variable to more than one other".to_owned())
        }
        Action::Data(DataAction::SetVar(_) | DataAction::Capture) => Ok(None),
        Action::Data(_) => Err("has an action that is not supported".to_owned()),
        Action::Control(control) => match CtlDirective::parse(control) {
            CtlDirective::Unsupported { directive, .. }
                if directive.to_ascii_lowercase().starts_with("audit") =>
            {
                Ok(Some(format!("`ctl:{directive}` has no effect")))
            }
            CtlDirective::Unsupported { directive, reason, .. } => {
                Err(format!("has `ctl:{directive}`: {reason}"))
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}
