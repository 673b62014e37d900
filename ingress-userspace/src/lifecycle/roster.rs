//! `--members`: the nodes as a file has them, read again when it changes. A file that cannot be
//! understood changes nothing: the nodes that were read last stay. Nor does one that is still being
//! written: what two looks in a row find alike counts.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::Deserialize;

use crate::model::{Diagnostic, Member, ObjectRef, Severity};

/// How often the file is looked at. Looked at rather than watched, for it may be a link that
/// somebody puts elsewhere, as a mounted ConfigMap is.
const LOOK: Duration = Duration::from_millis(250);
/// More than this is no list of nodes. Bytes.
const LONGEST: u64 = 1024 * 1024;

/// Why a file is no list of nodes.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// It cannot be read.
    #[error("--members {}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something else.
    #[error("--members {}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    address: IpAddr,
    weight: Option<u32>,
    #[serde(default)]
    draining: bool,
}

/// The nodes in a file.
pub(super) struct Roster {
    path: PathBuf,
    /// What was read last, whatever it was.
    text: Option<String>,
    /// What the last look found, if that is something else.
    unsettled: Option<String>,
}

impl Roster {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`RosterError`].
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Member>), RosterError> {
        let text = read(path)?;
        let members = parse(path, &text)?;
        Ok((Self { path: path.to_owned(), text: Some(text), unsettled: None }, members))
    }

    /// Tells of each change until `stop` is told or dropped.
    pub(super) fn follow(
        mut self,
        stop: mpsc::Receiver<()>,
        mut tell: impl FnMut(Result<Vec<Member>, Diagnostic>) + Send + 'static,
    ) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("members".to_owned()).spawn(move || {
            while stop.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Some(change) = self.look() {
                    tell(change.map_err(|error| self.diagnostic(&error)));
                }
            }
        })
    }

    /// What the file says, if that is not what it said before, and what it said at the last look.
    fn look(&mut self) -> Option<Result<Vec<Member>, RosterError>> {
        let unsettled = self.unsettled.take();
        match read(&self.path) {
            Ok(text) if self.text.as_ref() == Some(&text) => None,
            // Half a list may be one too: of fewer nodes.
            Ok(text) if unsettled.as_ref() != Some(&text) => {
                self.unsettled = Some(text);
                None
            }
            Ok(text) => {
                let members = parse(&self.path, &text);
                self.text = Some(text);
                Some(members)
            }
            // Told once.
            Err(error) => self.text.take().map(|_read_before| Err(error)),
        }
    }

    fn diagnostic(&self, error: &RosterError) -> Diagnostic {
        let message = match error {
            RosterError::Unreadable { source, .. } => format!("cannot be read: {source}"),
            RosterError::Invalid { problem, .. } => problem.clone(),
        };
        Diagnostic {
            severity: Severity::Error,
            object: ObjectRef::new("File", "", &*self.path.to_string_lossy()),
            field: "--members".to_owned(),
            message: format!("{message}; the nodes that were read last stay"),
        }
    }
}

fn read(path: &Path) -> Result<String, RosterError> {
    let unreadable = |source| RosterError::Unreadable { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > LONGEST {
        let problem = format!("is {length} bytes long; allowed are {LONGEST}");
        return Err(RosterError::Invalid { path: path.to_owned(), problem });
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// A YAML list of `{name, address, weight, draining}`.
fn parse(path: &Path, text: &str) -> Result<Vec<Member>, RosterError> {
    let invalid = |problem: String| RosterError::Invalid { path: path.to_owned(), problem };
    let entries: Vec<Entry> = serde_saphyr::from_str(text).map_err(|error| {
        invalid(format!(
            "{}; it must be a list of nodes, each with name and address, and perhaps weight and \
             draining",
            error.without_snippet()
        ))
    })?;
    if entries.is_empty() {
        return Err(invalid("names no node".to_owned()));
    }
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let mut members = Vec::new();
    for Entry { name, address, weight, draining } in entries {
        if name.is_empty() {
            return Err(invalid("a node's name is empty".to_owned()));
        }
        if !names.insert(name.clone()) {
            return Err(invalid(format!("the name {name:?} is there twice")));
        }
        if !addresses.insert(address) {
            return Err(invalid(format!("the address {address} is there twice")));
        }
        let weight = weight.unwrap_or(Member::WEIGHT);
        if weight > Member::MOST {
            let most = Member::MOST;
            return Err(invalid(format!("weight {weight} of {name:?} must be 0 to {most}")));
        }
        members.push(Member { name: name.into(), address, ready: !draining, weight });
    }
    members.sort();
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Member>, String> {
        parse(Path::new("m.yaml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_are_read_with_what_they_leave_out() {
        let text = "- {name: b, address: 10.0.0.2, weight: 5, draining: true}\n\
                    - {name: a, address: '2001:db8::1'}\n";
        let members = parsed(text).expect("it is right");
        let member = |name: &str, address: &str, ready, weight| Member {
            name: name.into(),
            address: address.parse().expect("an address"),
            ready,
            weight,
        };
        assert_eq!(
            members,
            [member("a", "2001:db8::1", true, 100), member("b", "10.0.0.2", false, 5)]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, what) in [
            ("", "names no node"),
            ("name: a", "list"),
            ("[]", "names no node"),
            ("- {name: a}", "address"),
            ("- {name: a, address: here}", "address"),
            ("- {name: a, address: 10.0.0.1, wieght: 5}", "wieght"),
            ("- {name: '', address: 10.0.0.1}", "empty"),
            ("- {name: a, address: 10.0.0.1, weight: 1001}", "0 to 1000"),
            ("- {name: a, address: 10.0.0.1}\n- {name: a, address: 10.0.0.2}", "twice"),
            ("- {name: a, address: 10.0.0.1}\n- {name: b, address: 10.0.0.1}", "twice"),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(what) && error.contains("m.yaml"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_change_is_told_once_and_so_is_a_fault() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("members.yaml");
        fs::write(&path, "- {name: a, address: 10.0.0.1}").expect("written");
        let (mut roster, members) = Roster::open(&path).expect("it is right");
        assert_eq!(members.len(), 1);
        assert!(roster.look().is_none());
        fs::write(&path, "- nonsense").expect("written");
        assert!(roster.look().is_none());
        let error = roster.look().expect("a change").expect_err("nonsense");
        assert!(roster.diagnostic(&error).message.ends_with("the nodes that were read last stay"));
        assert!(roster.look().is_none());
        fs::remove_file(&path).expect("removed");
        assert!(roster.look().expect("a change").is_err());
        assert!(roster.look().is_none());
        fs::write(&path, "- {name: a, address: 10.0.0.1}\n- {name: b, address: 10.0.0.2}")
            .expect("written");
        assert!(roster.look().is_none());
        assert_eq!(roster.look().expect("a change").expect("it is right").len(), 2);
    }

    #[test]
    fn half_a_file_is_not_taken_for_fewer_nodes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("members.yaml");
        let line = |number: u8| format!("- {{name: n{number}, address: 10.0.0.{number}}}\n");
        let whole = (1..=5).map(line).collect::<String>();
        fs::write(&path, &whole).expect("written");
        let (mut roster, _) = Roster::open(&path).expect("it is right");
        // Written anew, and looked at after each line: a list each time.
        for written in 1..5 {
            fs::write(&path, (1..=written).map(line).collect::<String>()).expect("written");
            assert!(roster.look().is_none());
        }
        fs::write(&path, &whole).expect("written");
        assert!(roster.look().is_none() && roster.look().is_none(), "nothing has changed");
        // The same as long before is no second look in a row.
        fs::write(&path, line(1)).expect("written");
        assert!(roster.look().is_none());
        fs::write(&path, &whole).expect("written");
        assert!(roster.look().is_none());
        fs::write(&path, line(1)).expect("written");
        assert!(roster.look().is_none());
        assert_eq!(roster.look().expect("a change").expect("it is right").len(), 1);
    }
}
