//! From Secrets to those who have a password (reference section 8.2), each Secret read once: what
//! workers know of users belongs to the allocation.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Secret;

use super::password;
use crate::{
    model::{HashedName, Password, Users},
    stores::{Key, Store},
};

/// `auth-secret-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// The entry `auth` is a file of lines.
    #[default]
    File,
    /// Each entry is a user.
    Map,
}

/// The users of a Secret.
#[derive(Clone, Debug)]
pub(super) struct Listed<P> {
    pub(super) users: Arc<Users<P>>,
    /// Why users cannot get in, or lines are none: sentences.
    pub(super) refused: Arc<[String]>,
}

/// The error completes the sentence "Secret shop/users ...".
type Checked<P> = Result<Listed<P>, &'static str>;

/// A line without its line end: a user, and what it comes to, or a sentence about what is wrong.
type Read<P> = fn(&[u8]) -> Result<(Box<[u8]>, P), String>;

/// All Secrets with users that were asked for.
#[derive(Debug, Default)]
pub(super) struct UserLists {
    passwords: Lists<Password>,
    digests: Lists<HashedName>,
}

type Lists<P> = HashMap<(Key, Form), (Arc<Secret>, Checked<P>)>;

impl UserLists {
    /// Forgets Secrets that are gone.
    pub(super) fn forget_gone(&mut self, secrets: &Store<Secret>) {
        let is_there = |key: &Key| secrets.get(&key.namespace, &key.name).is_some();
        self.passwords.retain(|(key, _), _| is_there(key));
        self.digests.retain(|(key, _), _| is_there(key));
    }

    /// Those of a file of `htpasswd`.
    pub(super) fn passwords(
        &mut self,
        secrets: &Store<Secret>,
        key: Key,
        form: Form,
    ) -> Checked<Password> {
        read(&mut self.passwords, secrets, key, form, password_line)
    }

    /// Those of a file of `htdigest`.
    pub(super) fn digests(
        &mut self,
        secrets: &Store<Secret>,
        key: Key,
        form: Form,
    ) -> Checked<HashedName> {
        read(&mut self.digests, secrets, key, form, digest_line)
    }
}

fn read<P: Clone>(
    lists: &mut Lists<P>,
    secrets: &Store<Secret>,
    key: Key,
    form: Form,
    line: Read<P>,
) -> Checked<P> {
    let secret = secrets.get(&key.namespace, &key.name).ok_or("does not exist")?;
    let place = (key, form);
    if let Some((known, checked)) = lists.get(&place)
        && (Arc::ptr_eq(known, secret) || known.data == secret.data)
    {
        return checked.clone();
    }
    let checked = list(secret, form, line);
    lists.insert(place, (Arc::clone(secret), checked.clone()));
    checked
}

fn list<P>(secret: &Secret, form: Form, line: Read<P>) -> Checked<P> {
    let mut users = Vec::new();
    let mut refused = Vec::new();
    let mut take = |text: &[u8]| match line(text) {
        Ok(user) => users.push(user),
        Err(why) => refused.push(why),
    };
    match form {
        Form::File => {
            let file = secret.data.as_ref().and_then(|data| data.get("auth"));
            let file = file.ok_or("has no entry `auth`")?;
            // As NGINX reads it: a line ends at either character, what begins so is a comment.
            file.0
                .split(|byte| matches!(byte, b'\n' | b'\r'))
                .filter(|text| !text.is_empty() && !text.starts_with(b"#"))
                .for_each(&mut take);
        }
        Form::Map => {
            for (name, value) in secret.data.iter().flatten() {
                // One user each: a second line must not smuggle in another.
                let first = value.0.split(|byte| matches!(byte, b'\n' | b'\r')).next();
                take(&[name.as_bytes(), b":", first.unwrap_or_default()].concat());
            }
        }
    }
    Ok(Listed { users: Arc::new(Users::new(users)), refused: refused.into() })
}

/// `name:hash`, perhaps with more after another colon, which nobody looks at.
fn password_line(line: &[u8]) -> Result<(Box<[u8]>, Password), String> {
    let mut parts = line.split(|byte| *byte == b':');
    let (Some(name @ [_, ..]), Some(hash)) = (parts.next(), parts.next()) else {
        return Err("a line is not `name:hash`".to_owned());
    };
    match password::parse(hash) {
        Ok(password) => Ok((name.into(), password)),
        Err(why) => Err(format!("the password of `{}` {why}", String::from_utf8_lossy(name))),
    }
}

/// `name:realm:hash`. The name holds no colon, the realm may.
fn digest_line(line: &[u8]) -> Result<(Box<[u8]>, HashedName), String> {
    let mut parts = line.rsplitn(2, |byte| *byte == b':');
    let (Some(hash), Some(name)) = (parts.next(), parts.next()) else {
        return Err("a line is not `name:realm:hash`".to_owned());
    };
    if name.starts_with(b":") || !name.contains(&b':') {
        return Err("a line is not `name:realm:hash`".to_owned());
    }
    match password::parse_digest(hash) {
        Ok(password) => Ok((name.into(), password)),
        Err(why) => Err(format!("what follows `{}` {why}", String::from_utf8_lossy(name))),
    }
}
