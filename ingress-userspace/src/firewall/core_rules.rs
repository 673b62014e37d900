//! The OWASP Core Rule Set, from the directory of `--modsecurity-rules`: read once, when the process
//! starts, and taken only if it detects what it must.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use zentinel_modsec::parser::{Directive, OperatorName, Parser};

use super::{
    attacks::{ATTACKS, Attack, HARMLESS, WORST},
    directives::{Fault, Item, engine_reads, text_of},
    engine::Engine,
    request::{Body, Request, Verdict},
    settings::{Mode, Said, Settings},
    tokens::pieces,
};

/// A file of rules is no larger. Bytes.
const LARGEST_FILE: u64 = 4 << 20;

/// ModSecurity's recommended configuration, as far as it is rules.
pub(super) const BASE: &str = include_str!("base.conf");

/// The rules, read and proved.
#[derive(Clone)]
pub struct CoreRules {
    pub(super) directives: Arc<[Directive]>,
}

/// Why the rules of a directory are not used.
#[derive(Debug, thiserror::Error)]
pub enum CoreRulesError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There are none.
    #[error("{0} has no rules/REQUEST-*.conf")]
    Empty(PathBuf),
    /// A directive is not understood.
    #[error("{path}: {fault}")]
    Bad {
        /// In which file.
        path: PathBuf,
        /// Where in it, and why.
        fault: Fault,
    },
    /// They cannot be compiled.
    #[error("the rules cannot be compiled: {0}")]
    NotCompiled(String),
    /// A well-known attack is not detected.
    #[error("the rules do not detect a well-known attack ({0}): they protect nobody")]
    Blind(&'static str),
    /// Attacks are detected, and nothing is blocked.
    #[error("the rules block nothing, not even several attacks at once")]
    Toothless,
    /// An ordinary request is blocked.
    #[error("the rules block an ordinary request ({0})")]
    Overeager(&'static str),
}

impl CoreRules {
    /// Reads `crs-setup.conf` and `rules/*.conf`, and tries them out. Rules about answers are left
    /// out.
    ///
    /// # Errors
    /// [`CoreRulesError`].
    pub fn load(directory: &Path) -> Result<Self, CoreRulesError> {
        let mut files = vec![directory.join("crs-setup.conf")];
        let rules = directory.join("rules");
        let unreadable = |error| CoreRulesError::Unreadable { path: rules.clone(), error };
        let mut found = Vec::new();
        for entry in fs::read_dir(&rules).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".conf") && !name.starts_with("RESPONSE-") {
                found.push(path);
            }
        }
        if found.is_empty() {
            return Err(CoreRulesError::Empty(directory.to_owned()));
        }
        found.sort();
        files.extend(found);
        let mut parser = Parser::new();
        for path in &files {
            read(&mut parser, path)?;
        }
        let own = Self { directives: parser.into_directives().into() };
        own.prove()?;
        Ok(own)
    }

    /// Tries the rules out on known attacks.
    fn prove(&self) -> Result<(), CoreRulesError> {
        let mut directives = base().map_err(CoreRulesError::NotCompiled)?;
        directives.extend(self.directives.iter().cloned());
        let engine = Engine::new(directives, Mode::On).map_err(CoreRulesError::NotCompiled)?;
        let settings = Settings { mode: Mode::On, ..Settings::from(Said::default()) };
        let run = |attack: &Attack| {
            let outcome = engine.matching(&request(attack), &settings);
            outcome.map_err(|error| CoreRulesError::NotCompiled(error.to_string()))
        };
        for attack in ATTACKS {
            let (_, matched) = run(attack)?;
            if !matched.iter().any(|id| attack.rules.contains(id)) {
                return Err(CoreRulesError::Blind(attack.name));
            }
        }
        if run(&WORST)?.0 == Verdict::Pass {
            return Err(CoreRulesError::Toothless);
        }
        match HARMLESS.iter().find(|one| !matches!(run(one), Ok((Verdict::Pass, _)))) {
            Some(blocked) => Err(CoreRulesError::Overeager(blocked.name)),
            None => Ok(()),
        }
    }
}

/// The base configuration as directives.
pub(super) fn base() -> Result<Vec<Directive>, String> {
    let parsed = text_of(BASE).map_err(|fault| fault.to_string())?;
    let directives = parsed.items.into_iter().filter_map(|item| match item {
        Item::Directive(directive) => Some(*directive),
        Item::Base | Item::Core => None,
    });
    Ok(directives.collect())
}

fn read(parser: &mut Parser, path: &Path) -> Result<(), CoreRulesError> {
    let unreadable = |error| CoreRulesError::Unreadable { path: path.to_owned(), error };
    if fs::metadata(path).map_err(unreadable)?.len() > LARGEST_FILE {
        return Err(unreadable(io::Error::other("it is larger than 4 MiB")));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    for piece in pieces(&text) {
        take(parser, piece.text, path).map_err(|why| CoreRulesError::Bad {
            path: path.to_owned(),
            fault: Fault { line: piece.line, why },
        })?;
    }
    Ok(())
}

fn take(parser: &mut Parser, text: &str, path: &Path) -> Result<(), String> {
    match engine_reads(parser, text, Some(path))? {
        Directive::Unknown(name)
            if !["seccomponentsignature", "seccollectiontimeout"]
                .contains(&&*name.to_ascii_lowercase()) =>
        {
            Err(format!("`{name}` is not supported"))
        }
        Directive::Include(_) => Err("`Include` is not supported".to_owned()),
        Directive::SecRule(rule) if rule.operator.name == OperatorName::Rx => {
            let pattern = &rule.operator.argument;
            let checked = pattern.contains("%{") || regex::Regex::new(pattern).is_ok();
            checked.then_some(()).ok_or_else(|| "has a bad expression".to_owned())
        }
        _ => Ok(()),
    }
}

/// A request of an ordinary form.
pub(super) fn harmless() -> Request {
    request(HARMLESS.last().unwrap_or(&WORST))
}

fn request(attack: &Attack) -> Request {
    let mut fields = vec![
        ("Host".to_owned(), "shop.example.com".to_owned()),
        ("User-Agent".to_owned(), attack.user_agent.to_owned()),
        ("Accept".to_owned(), "*/*".to_owned()),
    ];
    let (method, body) = match attack.body {
        "" => ("GET", Body::None),
        form => {
            let kind = "application/x-www-form-urlencoded".to_owned();
            fields.push(("Content-Type".to_owned(), kind));
            fields.push(("Content-Length".to_owned(), form.len().to_string()));
            ("POST", Body::Whole(form.into()))
        }
    };
    Request {
        method: method.to_owned(),
        target: attack.target.to_owned(),
        protocol: "HTTP/1.1",
        client: ([192, 0, 2, 1], 40_000).into(),
        host: "shop.example.com".to_owned(),
        fields,
        body,
    }
}
