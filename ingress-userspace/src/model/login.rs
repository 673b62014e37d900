//! Who may ask, by name and password (reference section 8.2).

use std::{fmt, sync::Arc};

/// `auth-type` and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The password itself comes with every request (RFC 7617).
    Basic {
        /// What the client is told the password is for. No quotes, no backslashes.
        realm: Arc<str>,
        /// Those who have one.
        users: Arc<Users<Password>>,
    },
    /// What comes proves that the client knows the password (RFC 7616).
    Digest {
        /// As above; also a part of what is stored of a password.
        realm: Arc<str>,
        /// By `name:realm`: the MD5 of `name:realm:password`.
        users: Arc<Users<HashedName>>,
    },
}

/// The MD5 of `name:realm:password`. As good as the password itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashedName(pub [u8; 16]);

impl fmt::Debug for HashedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedName(..)")
    }
}

/// Names and what is known of their passwords.
#[derive(PartialEq, Eq)]
pub struct Users<P> {
    /// Sorted by name, no two equal.
    entries: Box<[(Box<[u8]>, P)]>,
}

impl<P> Users<P> {
    /// Of two users of one name, the first stays.
    #[must_use]
    pub fn new(mut entries: Vec<(Box<[u8]>, P)>) -> Self {
        entries.sort_by(|one, two| one.0.cmp(&two.0));
        entries.dedup_by(|later, first| later.0 == first.0);
        Self { entries: entries.into() }
    }

    /// What is known of this user's password.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&P> {
        let place = self.entries.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        self.entries.get(place).map(|(_, password)| password)
    }

    /// What stands for the password of a name that is none: one of those that are there, the same
    /// for the same number. `None` if there are no users.
    #[must_use]
    pub fn stand_in(&self, number: u64) -> Option<&P> {
        let count = u64::try_from(self.entries.len()).ok()?;
        let place = usize::try_from(number.checked_rem(count)?).ok()?;
        self.entries.get(place).map(|(_, password)| password)
    }

    /// Who they are.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|(name, _)| &**name)
    }
}

impl<P> fmt::Debug for Users<P> {
    /// How many there are: what is stored of a password is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.entries.len())
    }
}

/// What is stored of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// `{PLAIN}`: itself.
    Plain(Box<[u8]>),
    /// `{SHA}` and `{SSHA}`: the SHA-1 of the password and the salt, which is empty for the former.
    Sha1 {
        /// The hash.
        digest: [u8; 20],
        /// What was appended to the password.
        salt: Box<[u8]>,
    },
    /// As `crypt(3)` writes it, method and parameters included: costs from a fraction of a
    /// millisecond to seconds.
    Crypt {
        /// How it was made.
        method: CryptMethod,
        /// The whole text. ASCII.
        text: Box<str>,
    },
}

/// How `crypt(3)` hashes a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptMethod {
    /// `$1$`.
    Md5,
    /// `$apr1$`: the same with Apache's name in it.
    Apache,
    /// `$5$`, `$6$`.
    Sha,
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Sha1 { .. } => "Sha1(..)",
            Self::Crypt { .. } => "Crypt(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[(&str, u8)]) -> Users<u8> {
        Users::new(names.iter().map(|(name, value)| (name.as_bytes().into(), *value)).collect())
    }

    #[test]
    fn the_first_of_a_name_counts() {
        let users = users(&[("b", 1), ("a", 2), ("b", 3)]);
        assert_eq!((users.get(b"b"), users.get(b"a"), users.get(b"c")), (Some(&1), Some(&2), None));
    }

    #[test]
    fn somebody_stands_in_for_a_name_that_is_none() {
        let users = users(&[("a", 1), ("b", 2)]);
        assert_eq!(users.stand_in(7), users.stand_in(7));
        assert_eq!((users.stand_in(0), users.stand_in(u64::MAX)), (Some(&1), Some(&2)));
        assert_eq!(Users::<u8>::new(Vec::new()).stand_in(7), None);
    }

    #[test]
    fn nothing_of_a_password_is_shown() {
        let plain = Password::Plain(b"secret".as_slice().into());
        let users = Users::new(vec![(b"bob".as_slice().into(), plain)]);
        let login = Login::Basic { realm: "here".into(), users: Arc::new(users) };
        assert_eq!(format!("{login:?}"), "Basic { realm: \"here\", users: Users(1) }");
    }
}
